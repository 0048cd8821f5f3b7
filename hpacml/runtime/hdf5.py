"""HDF5 files that grow by one entry per call: opening them, and what can go wrong with that."""

from __future__ import annotations

import importlib
import math
import os
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError

Array = np.ndarray[Any, np.dtype[Any]]

FAILURES = (OSError, RuntimeError, ValueError)
"""What h5py raises when HDF5 fails."""

CHUNK_BYTES = 1 << 20
"""What a chunk has at most. Appending a large tensor and reading it all wants large ones."""
CALLS_BYTES = 1 << 18
"""What a chunk of several calls has at most. Reading a random call wants small ones, which are read as a whole."""
CHUNK_CALLS = 4096
"""As many calls has a chunk at most."""


def h5py() -> Any:
    """h5py, loaded when it is needed; it has no type stubs."""
    return importlib.import_module("h5py")


def open_file(path: str, mode: str) -> Any:
    """The HDF5 file at `path`, opened as by `h5py.File`. Raises DatabaseError, which says what would mend it."""
    try:
        # Chunks that are full are not needed again. A reader has no cache: HDF5 then reads the elements that are asked
        # for, not the chunks around them, and the system caches the file.
        return h5py().File(path, mode, rdcc_nbytes=0 if mode == "r" else 4 * CHUNK_BYTES, rdcc_w0=1.0)
    except FAILURES as error:
        raise DatabaseError(f"cannot open the database '{path}': {_explain(path, error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, else its type."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _explain(path: str, error: Exception) -> str:
    text = first_line(error)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"the directory '{directory}' does not exist; make it"
    if os.path.isdir(path):
        return "it is a directory; name a file"
    if "unable to lock file" in text:
        if "errno = 11," in text:
            return "another process has it open; wait until it closes it, or collect into another file"
        return f"its file system has no locks ({text}); set HDF5_USE_FILE_LOCKING=FALSE if only one process writes"
    if "already open" in text:
        return "this program itself has it open; close it first"
    if isinstance(error, PermissionError) or "Permission denied" in text or "Read-only" in text:
        return "it cannot be written here; collect into another file"
    if os.path.exists(path) and not h5py().is_hdf5(path):
        return "it is no HDF5 file; collect into another file"
    return text


class Column:
    """A dataset with one entry per call, through the part of h5py that takes no detours."""

    def __init__(self, dataset: Any) -> None:
        self.shape: tuple[int, ...] = dataset.shape[1:]
        self.dtype: np.dtype[Any] = dataset.dtype
        self.calls: int = dataset.shape[0]
        self._id = dataset.id
        self._type = h5py().h5t.py_create(self.dtype)
        self._entry = (1, *self.shape)
        self._space = h5py().h5s.create_simple(self._entry)
        self._zeros = (0,) * len(self.shape)

    @staticmethod
    def create(group: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        """A new dataset for entries of this shape and dtype."""
        dataset = group.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *(size or None for size in shape)),  # HDF5 has no chunks for a fixed size of 0
            chunks=_chunks(shape, dtype.itemsize),
            dtype=dtype,
        )
        return Column(dataset)

    def write(self, call: int, entry: Array) -> None:
        """Make `entry` the last one, of number `call`."""
        self.resize(call + 1)
        if entry.size:
            target = self._id.get_space()
            target.select_hyperslab((call, *self._zeros), self._entry)
            self._id.write(self._space, target, np.ascontiguousarray(entry), self._type)

    def resize(self, calls: int) -> None:
        """Have `calls` entries."""
        self._id.set_extent((calls, *self.shape))


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks of several small calls, of one call, or of equal parts of one along its first dimensions."""
    sizes = [max(1, size) for size in shape]
    entry = itemsize * math.prod(sizes)
    if entry <= CHUNK_BYTES:
        return (max(1, min(CHUNK_CALLS, CALLS_BYTES // entry)), *sizes)
    for d, size in enumerate(sizes):
        entry //= size
        if entry <= CHUNK_BYTES:
            # Equal parts: the last chunk takes as much of the file as the others, be it full or not.
            parts = math.ceil(size / (CHUNK_BYTES // entry))
            sizes[d] = math.ceil(size / parts)
            break
        sizes[d] = 1
    return (1, *sizes)
