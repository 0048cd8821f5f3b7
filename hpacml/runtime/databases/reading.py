"""Files that are read, also while a process collects into them."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.commits import turns
from hpacml.runtime.databases.commits.locks import await_rescue
from hpacml.runtime.databases.descriptors import Descriptor, open_descriptor
from hpacml.runtime.databases.hdf5 import FAILURES, cannot_read, first_line, h5py, opened_here, require_filters
from hpacml.runtime.databases.own_objects import own_dataset

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds for which something is read again until no change of the file came between: a loaded machine reads slowly."""

_PAUSE = 0.02
"""The longest seconds between two attempts."""

_SETTLED = 50_000_000
"""The nanoseconds after a change within which another one may leave the time of the file as it is."""

_FILTER_CACHE = 1 << 26

_of_parents: list[object] = []
"""Files that were open before a fork. To close them here would end the locks of the parent."""

Version = tuple[int, ...]
"""The size of a file and the time of its last change, in nanoseconds; then those of the sources of virtual datasets."""


class Files:
    """The files that a process reads. A copy, which a fork or pickle makes, opens the files for itself.

    A file may grow meanwhile: what is read once lies where it lay, but HDF5 remembers where it found it, and a commit
    can change that. So a file that has changed is opened anew, and read again if that happened while it was read.
    Methods raise DatabaseError.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._files: dict[str, _Opened] = {}
        self._closed = False

    def file(self, path: str) -> Any:
        """Return the h5py file at `path`, as it is now."""
        return self._read(path, lambda opened: opened.file)

    def read_file(self, path: str, action: Callable[[Any], T]) -> T:
        """Return what a function gives for the h5py file at `path`."""
        return self._read(path, lambda opened: action(opened.file))

    def read(self, path: str, name: str, action: Callable[[Any], T]) -> T:
        """Return what a function gives for the h5py dataset of that name in the file at `path`."""
        try:
            return self._read(path, lambda opened: action(opened.dataset(name)))
        except FAILURES as error:
            raise DatabaseError(
                f"cannot read '{name}' of the database '{path}': {first_line(error)}; the file is damaged, or its "
                "disk: use a copy of it"
            ) from error
        except MemoryError as error:
            raise DatabaseError(
                f"cannot read '{name}' of the database '{path}': what is read at once does not fit the memory ({error})"
            ) from error

    def close(self) -> None:
        """Close all files. To read is an error after that."""
        if self._process == os.getpid():
            for opened in self._files.values():
                opened.close()
            self._files = {}
        self._closed = True

    def __reduce__(self) -> tuple[type[Files], tuple[()]]:
        return Files, ()

    def _opened(self, path: str) -> _Opened:
        if self._process != os.getpid():
            _of_parents.append(self._files)
            self._process, self._files = os.getpid(), {}
        if self._closed:
            raise DatabaseError(f"the database '{path}' is closed: read it before, or open it again")
        if (opened := self._files.get(path)) is None:
            await_rescue(path)
            opened = self._files[path] = _Opened(path, open_descriptor(path))
        return opened

    def _read(self, path: str, action: Callable[[_Opened], T]) -> T:
        opened = self._opened(path)
        latest = time.monotonic() + PATIENCE
        for attempt in itertools.count():
            failure: Exception | None = None
            result: T | None = None
            with opened.lock:
                locked = turns.begin_reading(opened.descriptor)
                version = opened.version()
                try:
                    opened.refresh(version)
                    result = action(opened)
                except Exception as error:
                    failure = error
                finally:
                    unchanged = opened.version() == version
                    if locked:
                        turns.end(opened.descriptor)
            if unchanged:
                if failure is not None:
                    raise failure
                return cast(T, result)
            if time.monotonic() > latest:
                break
            time.sleep(min(_PAUSE, 0.001 * attempt))
        raise DatabaseError(
            f"the database '{path}' changes faster than it can be read: set HPACML_DB_FLUSH to more in the program "
            "that collects, or read it later"
        )


@dataclass(slots=True)
class _Opened:
    """One file of h5py, and a descriptor of the same file, whose times tell when to open it anew."""

    path: str
    descriptor: int
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held by the thread that reads."""
    _file: Any = None
    _by_default: Any = None
    _datasets: dict[str, Any] = field(default_factory=dict[str, Any])
    _sources: set[str] = field(default_factory=set[str])
    _seen: Version | None = None
    """The version that h5py has opened; None if a later one might look the same."""

    @property
    def file(self) -> Any:
        return self._file

    def version(self) -> Version:
        status = os.fstat(self.descriptor)
        own = status.st_size, status.st_mtime_ns
        return own if not self._sources else (*own, *(n for path in sorted(self._sources) for n in _version_of(path)))

    def refresh(self, version: Version) -> None:
        """Open the file anew if this version is not the one that is open. Raises DatabaseError."""
        if self._file is not None and version == self._seen:
            return
        first = self._file is None
        self._close_file()
        try:
            self._file = self._open(first and not opened_here(self.path, self.descriptor))
        except FAILURES as error:
            raise cannot_read(self.path, error) from error
        self._seen = version if time.time_ns() - max(version[1::2]) > _SETTLED else None

    def _open(self, alone: bool) -> Any:
        # Without a cache: HDF5 then reads the elements that are asked for, not the chunks around them, and the system
        # caches the file.
        if alone:
            # Not by HDF5's default driver, by which the program may open it too, with locks.
            return h5py().File(self.path, "r", driver="stdio", rdcc_nbytes=0, locking=False)
        # HDF5 would go on with what it remembers of a file that it has open already.
        return h5py().File(Descriptor(self.descriptor), "r", rdcc_nbytes=0)

    def dataset(self, name: str) -> Any:
        """Return the h5py dataset of that name."""
        if name not in self._datasets:
            self._datasets[name] = self._open_dataset(name)
        return self._datasets[name]

    def _open_dataset(self, name: str) -> Any:
        dataset = own_dataset(self._file, name, self.path)
        if dataset.is_virtual:
            folder = os.path.dirname(self.path)
            self._sources |= {os.path.join(folder, source.file_name) for source in dataset.virtual_sources()}
            return self._virtual[name]
        if not require_filters(dataset):
            return dataset
        # A compressed chunk has to be read as a whole, so it is kept.
        access = h5py().h5p.create(h5py().h5p.DATASET_ACCESS)
        access.set_chunk_cache(521, _FILTER_CACHE, 0.75)
        return h5py().Dataset(h5py().h5d.open(self._file.id, name.encode(), access))

    @property
    def _virtual(self) -> Any:
        """The same file by HDF5's default driver: with others, it cannot open the sources of virtual datasets."""
        if self._by_default is None:
            options = {"name": self.path, "mode": "r", "rdcc_nbytes": 0}
            try:
                self._by_default = h5py().File(**options, locking=False)
            except OSError:  # the program has it open with locks
                self._by_default = h5py().File(**options)
        return self._by_default

    def close(self) -> None:
        self._close_file()
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            os.close(descriptor)

    def __del__(self) -> None:
        try:  # noqa: SIM105 (at the end of the interpreter even contextlib is gone)
            self.close()
        except Exception:
            pass

    def _close_file(self) -> None:
        files = self._file, self._by_default
        self._file, self._by_default, self._datasets = None, None, {}
        for file in files:
            if file is not None:
                file.close()


def _version_of(path: str) -> Version:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
