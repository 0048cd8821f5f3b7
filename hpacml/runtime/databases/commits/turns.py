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

# struct flock: type, whence, start, length, process (0 for locks of open files).
_READ, _WRITE, _NONE = (
    struct.pack("hhqqi4x", kind, os.SEEK_SET, _BYTE, 1, 0) for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK)
)


def begin_reading(descriptor: int) -> bool:
    """Have no commit change the file with this descriptor until `end`. False if that cannot be had."""
    return _begin(descriptor, _READ)


def end(descriptor: int) -> None:
    """End what `begin_reading` has begun."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _NONE)


@contextmanager
def committing(descriptor: int) -> Generator[None]:
    """Have nobody read the file with this descriptor meanwhile, who keeps to `begin_reading`."""
    locked = _begin(descriptor, _WRITE)
    try:
        yield
    finally:
        if locked:
            end(descriptor)


def _begin(descriptor: int, lock: bytes) -> bool:
    latest = None
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
            return True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return False
        now = time.monotonic()
        if latest is None:
            latest = now + PATIENCE
        elif now > latest:
            return False
        time.sleep(_PAUSE)
