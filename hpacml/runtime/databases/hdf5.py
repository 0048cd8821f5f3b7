"""HDF5 files that grow by one entry per call: opening them, and what can go wrong with that."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, ParamSpec, TypeVar, cast

import numpy as np

from hpacml.errors import DatabaseError

P = ParamSpec("P")
T = TypeVar("T")

Array = np.ndarray[Any, np.dtype[Any]]

FAILURES = (OSError, RuntimeError, ValueError, KeyError)
"""The exceptions of h5py when HDF5 fails: KeyError where an object exists and cannot be opened."""

CHUNK_BYTES = 1 << 20
"""The most bytes of a chunk. Large chunks suit appending a large tensor and reading all of it."""
CALLS_BYTES = 1 << 18
"""The most bytes of a chunk of several calls. Small ones suit reading a random call, as chunks are read as a whole."""
CHUNK_CALLS = 4096
"""The most calls of a chunk."""

CACHE = {"rdcc_nbytes": 4 * CHUNK_BYTES}
"""h5py's options for datasets that are written. With an rdcc_w0 of 1, HDF5 would keep chunks at edges, never full."""

ZSTD = 32015
"""HDF5's number of the filter for Zstandard."""

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def h5py() -> Any:
    """Return the module h5py, which is loaded by the first use, and has no type stubs."""
    return importlib.import_module("h5py")


def without_lock(action: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function without h5py's lock, so that other threads can use h5py meanwhile.

    This thread has the lock inside `for ... in file.items()`, for example.
    """
    h5py = sys.modules.get("h5py._objects")
    count = 0
    try:
        while h5py is not None and h5py.phil._is_owned():
            count += 1
            h5py.phil.release()
        return action(*arguments, **named)
    finally:
        for _ in range(count):
            cast(Any, h5py).phil.acquire()


def open_file(path: str, mode: Literal["r", "w"]) -> Any:
    """Open the HDF5 file at `path` as `h5py.File` does. Raises DatabaseError, which says what would mend it."""
    try:
        # A reader has no cache: HDF5 then reads the elements that are asked for, not the chunks around them, and the
        # system caches the file.
        return h5py().File(path, mode, **(CACHE if mode == "w" else {"rdcc_nbytes": 0}))
    except FAILURES as error:
        raise cannot_open(path, error) from error


def cannot_open(path: str, error: Exception) -> DatabaseError:
    """The error for a database that HDF5 or the system cannot open to collect into it."""
    return DatabaseError(f"cannot open the database '{path}': {_explain(path, error)}")


def cannot_read(path: str, error: Exception) -> DatabaseError:
    """The error for a database that HDF5 or the system cannot open to read it."""
    return DatabaseError(f"cannot open the database '{path}': {_explain_reading(path, error)}")


def first_line(error: BaseException) -> str:
    """The first line of an error's text, else its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # else it is quoted
    return (str(error).splitlines() or [type(error).__name__])[0]


def _explain_reading(path: str, error: Exception) -> str:
    text = first_line(error)
    if os.path.isdir(path):
        return "it is a directory; name a file"
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is no regular file; name a database"
    if isinstance(error, PermissionError) or "Permission denied" in text:
        return "you may not read it; have its owner allow that, or read a copy"
    if os.path.exists(path) and not h5py().is_hdf5(path):
        return "it is no HDF5 file; name a database"
    return text


def _explain(path: str, error: Exception) -> str:
    text = first_line(error)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"the directory '{directory}' does not exist; make it"
    if os.path.isdir(path):
        return "it is a directory; name a file"
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is no regular file; collect into another one"
    if isinstance(error, BlockingIOError) or "errno = 11," in text:
        if opened_here(path):
            return "this program itself has it open; close it first"
        if _is_read(path):
            return (
                "another process reads it with HDF5's lock; close it there, or have that read it without: "
                "hpacml.open_database(...) or h5py.File(..., locking=False)"
            )
        return (
            "another process has it open; wait until it closes it, collect into another file, or set HPACML_RANK to "
            "another number in each process, which then has a file of its own (to read it meanwhile, use "
            "hpacml.open_database)"
        )
    if "unable to lock file" in text or getattr(error, "errno", None) in _NO_LOCKS:
        return f"its file system has no locks ({text}); set HDF5_USE_FILE_LOCKING=FALSE if only one process writes"
    if "already open" in text:
        return "this program itself has it open; close it first"
    if isinstance(error, PermissionError) or "Permission denied" in text or "Read-only" in text:
        return "it cannot be written here; collect into another file"
    if os.path.exists(path) and not h5py().is_hdf5(path):
        return "it is no HDF5 file; collect into another file"
    return text


def _is_read(path: str) -> bool:
    """Whether all those that have locked a file only read it."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    return False


def opened_here(path: str, apart: int = -1) -> bool:
    """Whether this process has the file open, apart from one descriptor."""
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if number != apart and os.path.samestat(os.fstat(number), os.stat(path)):
                return True
    return False


def zstd() -> Any:
    """Return the module that has HDF5's filter for Zstandard. Raises DatabaseError if it is not installed."""
    try:
        return importlib.import_module("hdf5plugin")
    except ImportError as error:
        raise DatabaseError("Zstandard in HDF5 needs a package: pip install 'hpacml[zstd]'") from error


def require_filters(dataset: Any) -> bool:
    """Return whether a dataset has filters. Raises DatabaseError if one of them cannot be used."""
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(number) for number in range(plist.get_nfilters())]
    for number, _, _, name in filters:
        if number == ZSTD:
            zstd()
        elif not h5py().h5z.filter_avail(number):
            raise DatabaseError(
                f"the dataset '{dataset.name}' is compressed by {name.decode(errors='replace') or 'the filter'} "
                f"({number}), which HDF5 does not find here: install its plugin, and import it first"
            )
    return bool(filters)


class Column:
    """A dataset with one entry per call, written through h5py's low-level interface, which takes less time per call."""

    def __init__(self, dataset: Any) -> None:
        self.shape: tuple[int, ...] = dataset.shape[1:]
        self.dtype: np.dtype[Any] = dataset.dtype
        self.calls: int = dataset.shape[0]
        self._id = dataset.id
        self._type = h5py().h5t.py_create(self.dtype)
        self._zeros = (0,) * len(self.shape)
        self._whole = dataset.chunks == (1, *self.shape) and not dataset.id.get_create_plist().get_nfilters()

    @staticmethod
    def create(
        group: Any,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        filters: Mapping[str, Any] | None = None,
        most: int = CHUNK_CALLS,
    ) -> Column:
        """Make a dataset for entries of this shape and dtype; `filters` are options of h5py's `create_dataset`.

        A chunk has at most so many entries.
        """
        dataset = group.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *(size or None for size in shape)),  # HDF5 has no chunks for a fixed size of 0
            chunks=_chunks(shape, dtype.itemsize, most),
            dtype=dtype,
            **(filters or {}),
        )
        return Column(dataset)

    @staticmethod
    def create_like(group: Any, name: str, shape: tuple[int, ...], like: Any, entries: int) -> None:
        """Make a dataset for entries of this shape, about so many at once, with dtype and filters of another one."""
        nbytes = entries * math.prod(shape) * like.dtype.itemsize
        chunk = _chunks(
            shape,
            like.dtype.itemsize,
            max(CHUNK_CALLS, entries),
            CALLS_BYTES if nbytes <= CALLS_BYTES else CHUNK_BYTES,
        )
        options = like.id.get_create_plist()
        options.set_chunk(chunk)
        sizes = (0, *shape), (h5py().h5s.UNLIMITED, *(size or h5py().h5s.UNLIMITED for size in shape))
        h5py().h5d.create(group.id, name.encode(), like.id.get_type(), h5py().h5s.create_simple(*sizes), options)

    def append(self, entries: Array) -> None:
        """Append calls: `entries` is an array [calls, *shape]."""
        first, self.calls = self.calls, self.calls + len(entries)
        self._id.set_extent((self.calls, *self.shape))
        if not entries.size:
            return
        entries = np.ascontiguousarray(entries)
        if self._whole:  # the entries are chunks: HDF5 need not copy them
            for number, entry in enumerate(entries, first):
                self._id.write_direct_chunk((number, *self._zeros), entry)
            return
        space = h5py().h5s.create_simple(entries.shape)
        target = self._id.get_space()
        target.select_hyperslab((first, *self._zeros), entries.shape)
        self._id.write(space, target, entries, self._type)


def _chunks(
    shape: tuple[int, ...], itemsize: int, most: int = CHUNK_CALLS, nbytes: int = CALLS_BYTES
) -> tuple[int, ...]:
    """The shape of a chunk: several small entries, one entry, or equal parts of one along its first dimensions.

    Several are at most so many, and of so many bytes.
    """
    sizes = [max(1, size) for size in shape]
    entry = itemsize * math.prod(sizes)
    if entry <= CHUNK_BYTES:
        return (max(1, min(most, nbytes // entry)), *sizes)
    for d, size in enumerate(sizes):
        entry //= size
        if entry <= CHUNK_BYTES:
            # Equal parts: the last chunk takes as much of the file as the others, be it full or not.
            parts = math.ceil(size / (CHUNK_BYTES // entry))
            sizes[d] = math.ceil(size / parts)
            break
        sizes[d] = 1
    return (1, *sizes)
