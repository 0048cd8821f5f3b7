"""A file that goes from one state to the next by commits, for HDF5's driver for file objects.

HDF5 leaves a file unreadable if it is killed while it updates its metadata. Here what it writes beyond the end of the
committed file goes there at once, as nothing refers to it yet; what it writes below is kept back until the commit,
which is atomic. Thus a file, read at any time, has all of the last commit and nothing that came after it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET
from itertools import groupby
from typing import TYPE_CHECKING

from hpacml.runtime.commit_process import PAGE, write_all
from hpacml.runtime.committer import Change

if TYPE_CHECKING:
    from hpacml.runtime.committer import Committer

    Buffer = bytearray | memoryview


class TransactionalFile:
    """A file open for reading and writing. `descriptor` is owned by this object from now on.

    HDF5's driver goes on after an exception, as if nothing had happened, and so it sees none: `failure` has the first
    OSError, after which nothing is written any more.
    """

    def __init__(self, descriptor: int, committer: Committer) -> None:
        self._descriptor = descriptor
        self._committer = committer
        self._position = 0
        self._size = self._committed = os.fstat(descriptor).st_size
        self._kept: dict[tuple[int, int], bytes] = {}
        self._discarding = False
        self.failure: OSError | None = None

    def commit(self) -> None:
        """Make what HDF5 has written since the last commit, and flushed, the content of the file. Raises OSError."""
        if self.failure is not None:
            raise self.failure
        if self._kept:
            self._committer.commit(self._descriptor, self._changes())
            self._kept.clear()
        if self._size < self._committed:
            os.ftruncate(self._descriptor, self._size)
        self._committed = self._size

    def discard(self) -> None:
        """Go back to the last commit, and from now on ignore what is written. Raises OSError."""
        self._discarding = True
        self._kept.clear()
        os.ftruncate(self._descriptor, self._committed)

    def close(self) -> None:
        """Close the file, which ends a lock on it. What is not committed is lost. Raises OSError."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    # What HDF5's driver calls.

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        start = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        content = bytearray(size)
        return bytes(content[: self.readinto(content)])

    def readinto(self, buffer: Buffer) -> int:
        view, start = memoryview(buffer).cast("B"), self._position
        size = max(0, min(view.nbytes, self._size - start))
        filled = 0
        with self._recording():
            while filled < size and (count := os.preadv(self._descriptor, [view[filled:size]], start + filled)):
                filled += count
        view[filled:] = bytes(view.nbytes - filled)  # beyond the end of the file, which HDF5 takes for zeros
        self._patch(view, start)
        self._position += size
        return size

    def write(self, content: bytes | memoryview) -> int:
        view, start = memoryview(content).cast("B"), self._position
        if not self._discarding and self.failure is None:
            below = max(0, min(view.nbytes, self._committed - start))
            if below:
                self._keep(start, bytes(view[:below]))
            with self._recording():
                write_all(self._descriptor, [(start + below, view[below:])])
        self._position += view.nbytes
        self._size = max(self._size, self._position)
        return view.nbytes

    def truncate(self, size: int) -> int:
        if not self._discarding and self.failure is None:
            if size < self._committed:
                self._keep(size, bytes(self._committed - size))  # what it has if it grows again
            with self._recording():
                os.ftruncate(self._descriptor, max(size, self._committed))
        self._size = size
        return size

    def flush(self) -> None:
        """Nothing: HDF5 says by it that it has flushed, but what is to be committed the caller says."""

    def _keep(self, offset: int, content: bytes) -> None:
        place = offset, len(content)
        self._kept.pop(place, None)  # so that it comes last: what is kept may overlap
        self._kept[place] = content

    def _changes(self) -> list[Change]:
        """What is kept back, as few writes of whole pages, in which a kill is less likely to fall."""
        spans = (range(start // PAGE, -(-(start + size) // PAGE)) for start, size in self._kept)
        pages = sorted({page for span in spans for page in span})
        changes: list[Change] = []
        for _, run in groupby(enumerate(pages), lambda each: each[1] - each[0]):
            numbers = [page for _, page in run]
            start, stop = numbers[0] * PAGE, min((numbers[-1] + 1) * PAGE, self._committed, self._size)
            if stop <= start:
                break
            new = bytearray(old := os.pread(self._descriptor, stop - start, start))
            self._patch(memoryview(new), start)
            changes.append(Change(start, old, bytes(new)))
        return changes

    def _patch(self, view: memoryview, start: int) -> None:
        """Put what is kept back into what was read from an offset."""
        for (offset, length), content in self._kept.items():
            first, last = max(start, offset), min(start + view.nbytes, offset + length)
            if first < last:
                view[first - start : last - start] = content[first - offset : last - offset]

    @contextmanager
    def _recording(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error


def lock(descriptor: int) -> None:
    """Keep other processes from opening a file with HDF5, as HDF5 itself does. Raises OSError if one has it open."""
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0"):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
