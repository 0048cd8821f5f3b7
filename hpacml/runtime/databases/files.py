"""The file of a database that is being collected into: it is opened, grown, and committed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.commits.committer import Committer
from hpacml.runtime.databases.commits.locks import lock
from hpacml.runtime.databases.commits.transaction import TransactionalFile
from hpacml.runtime.databases.groups import CallShape, Group
from hpacml.runtime.databases.hdf5 import CACHE, FAILURES, Array, cannot_open, first_line, h5py
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.varying import Calls

_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)
"""The errors of file systems without hard links, and of directories that cannot be written."""


class File:
    """A database that is open for writing, and is made if it does not exist.

    `descriptor` is one of a process that has opened and locked it, and is gone. The file on disk is always that of the
    last commit. Methods raise DatabaseError; after that, `discard` the file.
    """

    def __init__(self, path: str, committer: Committer, descriptor: int | None = None) -> None:
        self._path = path
        self._groups: dict[str, Group] = {}
        self.uncommitted = 0
        """The number of calls that have been written since the last commit."""
        self.committed = 0
        """The number of calls that this process has committed."""
        try:
            self._storage = TransactionalFile(_open(path) if descriptor is None else descriptor, committer)
        except (OSError, ValueError) as error:  # the latter if no file can have such a name
            raise cannot_open(path, error) from error
        try:
            self._file = h5py().File(self._storage, "r+", **CACHE)
        except FAILURES as error:
            self._end()
            raise cannot_open(path, error) from error
        try:
            self.commit()  # which cuts off what a process has left that was killed between two commits
        except DatabaseError:
            self.discard()
            raise

    def group(self, label: str, schema: Schema, call_shapes: Sequence[CallShape]) -> Group:
        """Return the group of a region, which is made if it does not exist."""
        with self._failing():
            if (group := self._groups.get(label)) is None:
                group = self._groups[label] = Group(self._file, label, schema, call_shapes)
            return group

    def write(self, group: Group, columns: Sequence[Array | Calls], samples: Iterable[str | None]) -> None:
        """Append calls to a group, as `Group.write` does."""
        self.uncommitted += len(columns[-1])
        with self._failing():
            self._storage.require_unchanged()
            group.write(columns, samples)

    def commit(self) -> None:
        """Make all that was written the content of the file on disk."""
        if self.moved:
            calls = f"the {self.committed} calls" if self.committed != 1 else "the one call"
            gone = f"; {calls} that it had got from this program went with it" if self.committed else ""
            raise DatabaseError(
                f"the database '{self._path}' was removed or replaced while it was collected into{gone}"
            )
        with self._failing():
            self._storage.require_unchanged()
            self._file.flush()
            self._storage.commit()
        self.committed, self.uncommitted = self.committed + self.uncommitted, 0

    def discard(self) -> None:
        """Close the file without a commit. Raises nothing."""
        with contextlib.suppress(OSError):
            self._storage.discard()
        with contextlib.suppress(Exception):
            self._file.close()
        self._end()

    def abandon(self) -> None:
        """Leave the file and its lock to the parent process, from which this one was forked. Raises nothing."""
        with contextlib.suppress(OSError):
            self._storage.abandon()
        with contextlib.suppress(Exception):
            self._file.close()

    def close(self) -> None:
        """Commit, and close the file."""
        self.commit()
        with contextlib.suppress(Exception):  # it tidies up; all data are in the file
            self._file.close()
            self._storage.commit()
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # some file systems tell only here of what went wrong before
            self._storage.close()

    @property
    def number(self) -> int:
        """The number of the file for the process that finishes commits."""
        return self._storage.number

    @property
    def moved(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._storage.identity

    @contextmanager
    def _failing(self) -> Generator[None]:
        try:
            yield
            if self._storage.failure is not None:
                raise self._storage.failure
        except DatabaseError as error:
            raise DatabaseError(f"in the database '{self._path}': {error}") from error.__cause__
        except FAILURES as error:
            cause = self._storage.failure or error
            raise DatabaseError(f"cannot write the database '{self._path}': {first_line(cause)}") from cause


def _open(path: str) -> int:
    """Open and lock the HDF5 file at `path`; returns a descriptor. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        _create(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        lock(descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        if not status.st_size:
            os.pwrite(descriptor, _empty(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _create(path: str) -> None:
    """Make an empty database, unless there is a file by now. Raises OSError.

    It appears whole, so that others can open it at any time; without hard links it has no bytes for a moment.
    """
    temporary = os.path.join(os.path.dirname(path), f".hpacml.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(_empty())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _empty() -> bytes:
    """The bytes of an HDF5 file without groups."""
    content = io.BytesIO()
    h5py().File(content, "w").close()
    return content.getvalue()
