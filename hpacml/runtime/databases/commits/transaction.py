"""A file that goes from one state to the next by commits, for HDF5's driver for file objects.

HDF5 leaves a file unreadable if it is killed while it updates its metadata. Here what it writes beyond the end of the
committed file goes there at once, as nothing refers to it yet; what it writes before the end is kept back until the
commit, which is atomic. So a file, read at any time, has all of the last commit and nothing that came after it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import TYPE_CHECKING

from hpacml.runtime.databases.commits.committer import Change
from hpacml.runtime.databases.commits.finisher import PAGE, PENDING, mark, write_all
from hpacml.runtime.databases.commits.locks import share
from hpacml.runtime.databases.commits.turns import committing

if TYPE_CHECKING:
    from hpacml.runtime.databases.commits.committer import Committer

    Buffer = bytearray | memoryview


MARKS = 8
"""The most pages of the last commit that are compared before the next one."""


class TransactionalFile:
    """A file that is open for reading and writing. It owns `descriptor`.

    HDF5's driver ignores exceptions, so it sees none: `failure` has the first one, after which nothing is written.
    """

    def __init__(self, descriptor: int, committer: Committer) -> None:
        self._descriptor = descriptor
        self._committer = committer
        self._shared = share(descriptor)
        self.number = committer.keep(self._shared)
        """The file's number for the process that finishes commits."""
        self._position = 0
        self._size = self._committed = self._end = os.fstat(descriptor).st_size
        self._marks = {0: os.pread(descriptor, PAGE, 0)}
        """Pages as they are on disk, by their offsets: others have changed the file if it has other ones."""
        self._cut = self._committed
        """The smallest size since the last commit: what the file has behind it counts as zeros."""
        self._pages: dict[int, bytearray] = {}
        """The pages that are kept back, by their numbers: they begin before `_committed`."""
        self._discarding = False
        self.failure: Exception | None = None

    def commit(self) -> None:
        """Make what HDF5 has written and flushed since the last commit the content of the file. Raises OSError."""
        if self.failure is not None:
            raise self.failure
        if changes := self._changes():
            with committing(self._descriptor):
                self._committer.commit(self._descriptor, changes)
            self._mark(changes)
        self._pages.clear()
        if self._size < self._committed:
            os.ftruncate(self._descriptor, self._size)
            self._end = self._size
            self._marks = {at: page for at, page in self._marks.items() if at + len(page) <= self._end}
        self._cut = self._committed = self._size

    def require_unchanged(self) -> None:
        """Raise OSError if others have changed the file on disk. Nothing is written to it from then on."""
        size = os.fstat(self._descriptor).st_size
        if size == self._end and all(self._has(at, page) for at, page in self._marks.items()):
            return
        how = "overwritten it" if size == self._end else f"changed its size from {self._end} to {size} bytes"
        self._discarding = True
        self.failure = OSError(
            f"another program has {how} while it was open, so nothing more is written to it: use a copy of it, and "
            "let no other program write databases that are collected into"
        )
        raise self.failure

    def discard(self) -> None:
        """Go back to the last commit, and ignore what is written from now on. Raises OSError."""
        self._pages.clear()
        if not self._discarding:
            self._discarding = True
            os.ftruncate(self._descriptor, self._committed)

    def abandon(self) -> None:
        """Close the descriptor of this process, and ignore what is written from now on. Raises OSError."""
        self._discarding = True
        self._pages.clear()
        self._close_descriptors()

    def close(self) -> None:
        """Close the file, which ends its lock. What is not committed is lost. Raises OSError."""
        if self._descriptor >= 0:
            mark(self._shared, PENDING, fcntl.F_UNLCK)
            self._committer.drop(self.number)
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        descriptors, self._descriptor, self._shared = (self._shared, self._descriptor), -1, -1
        for descriptor in descriptors:
            os.close(descriptor)

    @property
    def identity(self) -> tuple[int, int]:
        """The device and the inode of the file."""
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
        view[size:] = bytes(view.nbytes - size)  # beyond the end, which HDF5 takes for zeros
        with self._recording():
            self._read(view[:size], start)
        self._position += size
        return size

    def write(self, content: bytes | memoryview) -> int:
        view, start = memoryview(content).cast("B"), self._position
        if not self._discarding and self.failure is None:
            with self._recording():
                below = max(0, min(view.nbytes, self._committed - start))
                self._keep(view[:below], start)
                if below < view.nbytes:
                    write_all(self._descriptor, [(start + below, view[below:])])
                    self._end = max(self._end, start + view.nbytes)
        self._position += view.nbytes
        self._size = max(self._size, self._position)
        return view.nbytes

    def truncate(self, size: int) -> int:
        if not self._discarding and self.failure is None:
            with self._recording():
                if size < self._committed:
                    self._cut = min(self._cut, size)
                    for number in [number for number in self._pages if number * PAGE >= size]:
                        del self._pages[number]
                    if (page := self._pages.get(size // PAGE)) is not None:
                        page[size % PAGE :] = bytes(PAGE - size % PAGE)
                self._end = max(size, self._committed)
                os.ftruncate(self._descriptor, self._end)
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: HDF5 calls it when it has flushed, but when to commit, `commit` says."""

    def _read(self, view: memoryview, start: int) -> None:
        """Fill `view` with the content at an offset."""
        filled = 0
        while filled < view.nbytes and (count := os.preadv(self._descriptor, [view[filled:]], start + filled)):
            filled += count
        view[filled:] = bytes(view.nbytes - filled)
        first, last = max(start, self._cut), min(start + view.nbytes, self._committed)
        if first < last:
            view[first - start : last - start] = bytes(last - first)
        for number in range(start // PAGE, -(-(start + view.nbytes) // PAGE)) if self._pages else ():
            if (page := self._pages.get(number)) is not None:
                first, last = max(start, number * PAGE), min(start + view.nbytes, (number + 1) * PAGE, self._committed)
                if first < last:
                    view[first - start : last - start] = page[first - number * PAGE : last - number * PAGE]

    def _keep(self, view: memoryview, start: int) -> None:
        """Keep back new content for an offset before `_committed`."""
        done = 0
        while done < view.nbytes:
            number, inside = divmod(start + done, PAGE)
            size = min(PAGE - inside, view.nbytes - done)
            self._page(number)[inside : inside + size] = view[done : done + size]
            done += size

    def _page(self, number: int) -> bytearray:
        """Return the page of that number, which is kept back from now on."""
        if (page := self._pages.get(number)) is None:
            page = bytearray(PAGE)
            self._read(memoryview(page), number * PAGE)
            self._pages[number] = page
        return page

    def _changes(self) -> list[Change]:
        """The kept pages that differ from the file, joined to few writes, which a kill is less likely to interrupt."""
        end = min(self._committed, self._size)
        for number in range(self._cut // PAGE, -(-end // PAGE)) if self._cut < end else ():
            self._page(number)  # it was cut off, and is there again
        changes: list[Change] = []
        for number in sorted(self._pages):
            start = number * PAGE
            stop = min(start + PAGE, end)
            new = self._pages[number][: max(0, stop - start)]
            old = bytearray(os.pread(self._descriptor, len(new), start))
            if old == new:
                continue
            if changes and changes[-1].offset + len(changes[-1].new) == start:
                changes[-1].old.extend(old)
                changes[-1].new.extend(new)
            else:
                changes.append(Change(start, old, new))
        return changes

    def _has(self, offset: int, content: bytes) -> bool:
        return os.pread(self._descriptor, len(content), offset) == content

    def _mark(self, changes: list[Change]) -> None:
        """Remember pages that were written: the first one of the file, and the last ones, which say how it goes on."""
        pages = {
            change.offset + start: bytes(change.new[start : start + PAGE])
            for change in changes
            for start in range(0, len(change.new), PAGE)
        }
        first = pages.get(0, self._marks.get(0, b""))
        self._marks = {0: first, **dict(list(pages.items())[-MARKS:])}

    @contextmanager
    def _recording(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error
