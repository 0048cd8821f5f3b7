"""Files that HDF5 reads through a descriptor of ours: it opens nothing, and looks at no locks."""

from __future__ import annotations

import errno
import os
import stat
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Any

from hpacml.runtime.databases.hdf5 import cannot_read


def open_descriptor(path: str) -> int:
    """Return a descriptor of a regular file. Raises DatabaseError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for a writer
    except (OSError, ValueError) as error:
        raise cannot_read(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise cannot_read(path, OSError(errno.EINVAL, "Invalid argument"))
    return descriptor


class Descriptor:
    """A descriptor that is read, for HDF5's driver for file objects."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._position}.get(whence)
        if whence == SEEK_END:
            start = os.fstat(self._descriptor).st_size
        self._position = (start or 0) + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def read(self, size: int) -> bytes:
        content = bytearray(size)
        return bytes(content[: self.readinto(content)])

    def flush(self) -> None:
        """Do nothing: nothing is written."""
