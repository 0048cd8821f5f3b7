"""The tensors of a region as they lie in one or several files, read when they are indexed."""

from __future__ import annotations

import math
import operator
import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, cast

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import (
    FAILURES,
    Array,
    first_line,
    h5py,
    open_file,
    require_filters,
)

BLOCK_BYTES = 1 << 23
"""The bytes that are read at once of a tensor that is read from beginning to end."""

_FILTER_CACHE = 1 << 26

_of_parents: list[object] = []
"""Files that were open before a fork. To close them here would end the locks of the parent."""


class Files:
    """The files that a process reads. A copy, which a fork or pickle makes, opens the files for itself.

    Methods raise DatabaseError.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._files: dict[str, Any] = {}
        self._datasets: dict[tuple[str, str], Any] = {}
        self._closed = False

    def file(self, path: str) -> Any:
        """Return the h5py file at `path`, which is opened for reading."""
        if self._process != os.getpid():
            _of_parents.append((self._files, self._datasets))
            self._process, self._files, self._datasets = os.getpid(), {}, {}
        if self._closed:
            raise DatabaseError(f"the database '{path}' is closed: read it before, or open it again")
        if path not in self._files:
            self._files[path] = open_file(path, "r")
        return self._files[path]

    def dataset(self, path: str, name: str) -> Any:
        """Return the h5py dataset of that name in the file at `path`."""
        file = self.file(path)
        if (path, name) not in self._datasets:
            self._datasets[path, name] = _open_dataset(file, name)
        return self._datasets[path, name]

    def close(self) -> None:
        """Close all files. To read is an error after that."""
        if self._process == os.getpid():
            for file in self._files.values():
                file.close()
            self._files, self._datasets = {}, {}
        self._closed = True

    def __reduce__(self) -> tuple[type[Files], tuple[()]]:
        return Files, ()


def _open_dataset(file: Any, name: str) -> Any:
    dataset = file[name]
    if not require_filters(dataset):
        return dataset
    # A compressed chunk has to be read as a whole, so it is kept.
    access = h5py().h5p.create(h5py().h5p.DATASET_ACCESS)
    access.set_chunk_cache(521, _FILTER_CACHE, 0.75)
    return h5py().Dataset(h5py().h5d.open(file.id, name.encode(), access))


@dataclass(frozen=True, slots=True)
class Part:
    """The first `calls` entries of one dataset in one file; `leading` if it has a dimension of 1 before the calls."""

    path: str
    name: str
    calls: int
    leading: bool


class Tensor:
    """One tensor of a region, [calls, *shape]. To index it reads from the files, and gives a NumPy array.

    The first index is a number, a slice, or an array of numbers or truth values; the others are those of h5py.
    """

    def __init__(self, files: Files, name: str, parts: Sequence[Part], shape: tuple[int, ...], dtype: Any):
        self.name = name
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape: tuple[int, ...] = (sum(part.calls for part in parts), *shape)
        self.parts = tuple(parts)
        self._files = files
        self._starts = list(accumulate((part.calls for part in parts), initial=0))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        keys = cast("tuple[Any, ...]", key if isinstance(key, tuple) else (key,))
        if not keys or keys[0] is Ellipsis:
            keys = (slice(None), *keys)
        first, rest = keys[0], keys[1:]
        if isinstance(first, slice):
            calls = range(len(self))[first]
            if calls.step == 1:
                return self._read(calls.start, calls.stop, *rest)
        elif _is_number(first):
            call = range(len(self))[operator.index(first)]
            return self._read(call, call + 1, *rest)[0]
        numbers = np.arange(len(self))[first]
        if numbers.ndim != 1:
            raise IndexError(f"'{self.name}' takes the number of a call, a slice, or an array of numbers first")
        return Rows(self).take(numbers)[(slice(None), *rest)]

    def numpy(self) -> Array:
        """Read all calls."""
        return self[:]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"'{self.name}' is read from a file, which makes an array")
        return np.asarray(self.numpy(), dtype)

    @property
    def blocks(self) -> list[slice]:
        """Slices of the calls, in order, each of a size to be read at once."""
        calls = max(1, BLOCK_BYTES // max(1, self.dtype.itemsize * math.prod(self.shape[1:])))
        return [slice(start, min(start + calls, len(self))) for start in range(0, len(self), calls)]

    def __repr__(self) -> str:
        return f"<{self.name}: {self.dtype}{list(self.shape)}>"

    def _read(self, start: int, stop: int, *rest: Any) -> Array:
        """Read the calls from `start` to `stop`, of each the part that the indices `rest` select."""
        pieces: list[Array] = []
        for part, first in zip(self.parts, self._starts, strict=False):
            a, b = max(0, start - first), min(part.calls, stop - first)
            if a < b or (part is self.parts[-1] and not pieces):
                pieces.append(self._read_part(part, (slice(a, max(a, b)), *rest)))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _read_part(self, part: Part, key: tuple[Any, ...]) -> Array:
        dataset = self._files.dataset(part.path, part.name)
        try:
            return dataset[(0, *key) if part.leading else key]
        except FAILURES as error:
            if isinstance(error, ValueError):  # the index, not the file
                raise
            raise _unreadable(part, error) from error

    def read_boxes(self, corners: Iterable[tuple[int, Sequence[int]]], counts: Sequence[int], out: Array) -> None:
        """Read a box of `counts` elements at each corner (a call, and indices in it) into the rows of `out`."""
        kind = h5py().h5t.py_create(self.dtype)
        memory = h5py().h5s.create_simple((math.prod(counts),))
        opened: dict[int, tuple[Any, Any]] = {}
        for k, (call, start) in enumerate(corners):
            number = bisect_right(self._starts, call) - 1
            part = self.parts[number]
            if number not in opened:
                dataset = self._files.dataset(part.path, part.name).id
                opened[number] = dataset, dataset.get_space()
            dataset, space = opened[number]
            leading = (0,) * part.leading
            space.select_hyperslab((*leading, call - self._starts[number], *start), (*[1] * part.leading, 1, *counts))
            try:
                dataset.read(memory, space, out[k : k + 1], kind)
            except FAILURES as error:
                raise _unreadable(part, error) from error


def _is_number(index: object) -> bool:
    return hasattr(index, "__index__") and not isinstance(index, (bool, np.ndarray))


def _unreadable(part: Part, error: Exception) -> DatabaseError:
    return DatabaseError(
        f"cannot read '{part.name}' of the database '{part.path}': {first_line(error)}; the file is damaged, or its "
        "disk: use a copy of it"
    )


class Rows:
    """A tensor as rows [rows, *features]: one for each call, or one for each point of the dimensions `sweep`."""

    def __init__(self, tensor: Tensor, sweep: Sequence[int] = ()):
        self.tensor = tensor
        self._sweep = tuple(sweep)
        self.sizes = tuple(tensor.shape[1 + d] for d in sweep)
        self.features = tuple(size for d, size in enumerate(tensor.shape[1:]) if d not in self._sweep)
        self.points = math.prod(self.sizes)

    def __len__(self) -> int:
        return len(self.tensor) * self.points

    def range(self, start: int, stop: int) -> Array:
        """Read the rows from `start` to `stop`."""
        if stop <= start:
            return np.empty((0, *self.features), self.tensor.dtype)
        first = start // self.points
        block = self.of_calls(self.tensor[first : -(-stop // self.points)])
        return block[start - first * self.points : stop - first * self.points]

    def of_calls(self, calls: Array) -> Array:
        """Make rows of some calls of the tensor, an array [calls, *shape]."""
        moved = np.moveaxis(calls, [1 + d for d in self._sweep], range(1, 1 + len(self._sweep)))
        return moved.reshape(-1, *self.features) if self._sweep else moved

    def take(self, rows: Any) -> Array:
        """Read the rows of these numbers, which are not negative."""
        rows = np.asarray(rows, np.int64)
        first, last = (int(rows.min()), int(rows.max())) if rows.size else (0, -1)
        if 8 * rows.size > last - first:
            return self.range(first, last + 1)[rows - first]
        out = np.empty((rows.size, *self.features), self.tensor.dtype)
        counts = [1 if d in self._sweep else size for d, size in enumerate(self.tensor.shape[1:])]
        corners = ((row // self.points, self._corner(row % self.points)) for row in rows.tolist())
        self.tensor.read_boxes(corners, counts, out)
        return out

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        """For each dimension of the tensor, the divisor and the modulus that make an index of a point's number."""
        divisors = {d: math.prod(self.sizes[k + 1 :]) for k, d in enumerate(self._sweep)}
        return [(divisors[d], size) if d in divisors else (1, 1) for d, size in enumerate(self.tensor.shape[1:])]

    def _corner(self, point: int) -> list[int]:
        """The indices at which the features of a point begin in its call."""
        return [point // divisor % size for divisor, size in self._places]
