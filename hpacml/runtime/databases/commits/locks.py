"""Locks on databases, and waiting for the process that writes what a killed one has left.

A process that collects has two locks on its database. One is HDF5's, which ends with the process, so that others can
open the file. The other, on a byte far beyond its end, is shared with the process that finishes commits: while that is
there and HDF5's is not, there may be calls that are still to be written.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time

from hpacml import environment
from hpacml.runtime.databases.commits.finisher import PENDING, RESCUING, mark, marked

_log = logging.getLogger("hpacml")

PATIENCE = 30.0
"""Seconds for which calls of a killed process may be still to be written."""
GRACE = 0.1
"""Seconds for which others may have a lock only to look whether they can have it."""


def is_locking() -> bool:
    """Whether files are to be locked."""
    return environment.HDF5_USE_FILE_LOCKING.text().upper() not in ("FALSE", "0")


def lock(descriptor: int) -> None:
    """Lock a file as HDF5 does, so that other processes cannot open it. Raises OSError if one has it open."""
    if not is_locking():
        return
    try:
        _lock(descriptor)
    except OSError as error:
        if isinstance(error, BlockingIOError) or environment.HDF5_USE_FILE_LOCKING.text().upper() != "BEST_EFFORT":
            raise


def share(descriptor: int) -> int:
    """Return another descriptor of a file, with the lock for the process that finishes commits. Raises OSError."""
    shared = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    if is_locking():
        mark(shared, PENDING)
    return shared


def await_rescue(path: str) -> None:
    """Return when a database has the calls that a killed process has left, if there was one. Raises nothing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            start = time.monotonic()
            while is_locking() and _is_left(descriptor) and not _late(start):
                time.sleep(0.002)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    start = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - start > GRACE and (not marked(descriptor, RESCUING) or _late(start)):
                raise
        else:
            if not marked(descriptor, PENDING) or _late(start):
                return
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(0.002)


def _is_left(descriptor: int) -> bool:
    """Whether a process is dead that has collected into a file, and the one that writes the rest is not done."""
    if marked(descriptor, RESCUING):
        return True
    if not marked(descriptor, PENDING):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # it lives
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _late(start: float) -> bool:
    if time.monotonic() - start < PATIENCE:
        return False
    _log.warning(
        "a process that collected was killed %g seconds ago, and its last calls are still not written", PATIENCE
    )
    return True
