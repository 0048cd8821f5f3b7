"""Reads files that decide what code runs: regular ones, in folders and with modes that let nobody else write them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator

_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_ROOT = 0
"""The superuser, who can do anything anyway. What is theirs, as in a container, is as good as one's own."""


class NotPrivateError(OSError):
    """A file or folder that another user owns or may write. `strerror` says which of the two, and what mends it."""


def read(
    path: str | os.PathLike[str], folder: int | None = None, *, private: bool = False, most: int | None = None
) -> bytes:
    """Read a regular file; a relative `path` is looked for in the open directory `folder`.

    Raises OSError, also for a FIFO or a device, for which it does not wait, and for a file of more than `most` bytes;
    `private` raises NotPrivateError for a file that other users own or may write. What is looked at is the file that is
    read, whatever its name stands for later.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        if private:
            _require_private(status, os.fspath(path))
        if most is None:
            return file.read()
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and more than {most} are not read", str(path))
        return file.read(most)


@contextlib.contextmanager
def private_folder(path: str | os.PathLike[str]) -> Generator[int]:
    """Open a directory, to use files in it. Raises NotPrivateError if other users own it or may write it; OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _require_private(os.fstat(descriptor), os.fspath(path))
        yield descriptor
    finally:
        os.close(descriptor)


def _require_private(status: os.stat_result, path: str) -> None:
    if status.st_uid not in (os.geteuid(), _ROOT):
        reason = f"it belongs to another user, number {status.st_uid}: use one of your own"
    elif status.st_mode & _OTHERS:
        reason = f"other users may write it (its mode is {stat.S_IMODE(status.st_mode):o}): run chmod go-w on it"
    else:
        return
    raise NotPrivateError(errno.EPERM, reason, path)
