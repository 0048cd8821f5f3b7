"""Commits and readers of a file take turns, so that a reader does not find half of a commit.

A reader has a shared lock while it reads, some milliseconds, and a commit an exclusive one while it changes the file.
They are locks of open files (`F_OFD_SETLK`) on a byte that no file has, which others do not look at. Where there are no
such locks, or a reader keeps its lock, commits go on: the reader then sees that the file has changed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Generator
from contextlib import contextmanager

PATIENCE = 1.0
"""Seconds that a commit or a reader waits for its turn."""

_BYTE = (1 << 62) + 16

_PAUSE = 0.0005


@contextmanager
def reading(descriptor: int) -> Generator[None]:
    """Have no commit change the file with this descriptor meanwhile."""
    with _locked(descriptor, fcntl.F_RDLCK):
        yield


@contextmanager
def committing(descriptor: int) -> Generator[None]:
    """Have nobody read the file with this descriptor meanwhile, who keeps to `reading`."""
    with _locked(descriptor, fcntl.F_WRLCK):
        yield


@contextmanager
def _locked(descriptor: int, kind: int) -> Generator[None]:
    locked = _lock(descriptor, kind)
    try:
        yield
    finally:
        if locked:
            with contextlib.suppress(OSError):
                _set(descriptor, fcntl.F_UNLCK)


def _lock(descriptor: int, kind: int) -> bool:
    end = None
    while True:
        try:
            _set(descriptor, kind)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return False
        now = time.monotonic()
        if end is None:
            end = now + PATIENCE
        elif now > end:
            return False
        time.sleep(_PAUSE)


def _set(descriptor: int, kind: int) -> None:
    # struct flock: type, whence, start, length, process (0 for locks of open files).
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, _BYTE, 1, 0))
