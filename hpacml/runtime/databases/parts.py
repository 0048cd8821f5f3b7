"""The calls of one tensor as they lie in one file: all of one shape, or point after point (`varying.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpacml.runtime.databases.hdf5 import Array, h5py
from hpacml.runtime.databases.indexing import Box
from hpacml.runtime.databases.reading import Files


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """The first `calls` entries of a dataset [calls, *shape]; `leading` if it has a dimension of 1 before the calls."""

    path: str
    name: str
    calls: int
    shape: tuple[int, ...]
    leading: bool = False

    @property
    def shapes(self) -> Array:
        """The shape of each call, [calls, rank]."""
        return np.broadcast_to(np.array(self.shape, np.int64), (self.calls, len(self.shape)))

    def read(self, files: Files, start: int, stop: int, box: Box = ()) -> Array:
        """Read calls, of each a box."""
        key = (*[0] * self.leading, slice(start, stop), *box)
        return files.read(self.path, self.name, lambda dataset: dataset[key])

    def rows(self, sweep: Sequence[int]) -> FixedRows:
        """The rows of the calls, one for each point of these dimensions."""
        return FixedRows(self, tuple(sweep))


class FixedRows:
    """Rows [rows, *features], equally many in each call."""

    def __init__(self, part: Fixed, sweep: tuple[int, ...]) -> None:
        self._part = part
        self._sweep = sweep
        sizes = tuple(part.shape[d] for d in sweep)
        self._points = math.prod(sizes)
        self.unit = max(1, self._points)
        """The rows that are read at once in any case: those of a call."""
        self._features = tuple(size for d, size in enumerate(part.shape) if d not in sweep)
        self.counts = np.full(part.calls, self._points, np.int64)
        divisors = {d: math.prod(sizes[k + 1 :]) for k, d in enumerate(sweep)}
        self._places = [(divisors[d], size) if d in divisors else (1, 1) for d, size in enumerate(part.shape)]
        """For each dimension, the divisor and the modulus that make an index of a point's number."""

    def read(self, files: Files, start: int, stop: int) -> Array:
        first = start // self._points
        block = self.of_calls(self._part.read(files, first, -(-stop // self._points)))
        return block[start - first * self._points : stop - first * self._points]

    def of_calls(self, calls: Array) -> Array:
        moved = np.moveaxis(calls, [1 + d for d in self._sweep], range(1, 1 + len(self._sweep)))
        return moved.reshape(len(calls) * self._points, *self._features) if self._sweep else moved

    def take(self, files: Files, rows: Sequence[int], out: Array) -> None:
        """Read rows one by one."""
        leading = (0,) * self._part.leading
        counts = (*[1] * self._part.leading, 1, *(1 if d in self._sweep else n for d, n in enumerate(self._part.shape)))
        starts = [
            (*leading, row // self._points, *(row % self._points // divisor % size for divisor, size in self._places))
            for row in rows
        ]
        files.read(self._part.path, self._part.name, lambda dataset: _read_boxes(dataset, starts, counts, out))


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The first calls of a dataset [points, *features], the points of one call after those of the other.

    `shapes` are those of the calls, [calls, rank], and `offsets` the numbers of their first points and that of all
    points, [calls + 1]; `dims` are the dimensions of a call in the order of the dataset, first those `swept`, which are
    its points.
    """

    path: str
    name: str
    shapes: Array
    offsets: Array
    dims: tuple[int, ...]
    swept: int

    @property
    def calls(self) -> int:
        return len(self.shapes)

    def read(self, files: Files, start: int, stop: int, box: Box = ()) -> Array:
        """Read calls that have the same shape, of each a box."""
        shape = self.shapes[start].tolist()
        first, last = map(int, self.offsets[[start, stop]])
        block = files.read(self.path, self.name, lambda dataset: dataset[first:last])
        block = block.reshape(stop - start, *(shape[d] for d in self.dims))
        return block.transpose(0, *(1 + k for k in inverse(self.dims)))[(slice(None), *box)]

    def rows(self, sweep: Sequence[int]) -> PointRows:
        """The rows of the calls, one for each point of these dimensions, which are the first of `dims`."""
        return PointRows(self, len(sweep))


class PointRows:
    """Rows [rows, *features], each of as many points of the dataset as the other dimensions of the sweep have."""

    unit = 1

    def __init__(self, part: Points, count: int) -> None:
        self._part = part
        self.counts = part.shapes[:, list(part.dims[:count])].prod(1)
        shape = part.shapes[0].tolist() if part.calls else [0] * len(part.dims)
        rest = part.dims[count:]
        self._stored = tuple(shape[d] for d in rest)
        self._order = (0, *(1 + int(k) for k in np.argsort(rest)))
        self._inner = math.prod(shape[d] for d in part.dims[count : part.swept])
        self._features = tuple(shape[d] for d in part.dims[part.swept :])

    def read(self, files: Files, start: int, stop: int) -> Array:
        first, last = start * self._inner, stop * self._inner
        block = files.read(self._part.path, self._part.name, lambda dataset: dataset[first:last])
        return block.reshape(stop - start, *self._stored).transpose(self._order)

    def take(self, files: Files, rows: Sequence[int], out: Array) -> None:
        """Read rows one by one."""
        block = np.empty((len(rows), *self._stored), out.dtype)
        counts = self._inner, *self._features
        starts = [(row * self._inner, *[0] * len(self._features)) for row in rows]
        files.read(self._part.path, self._part.name, lambda dataset: _read_boxes(dataset, starts, counts, block))
        out[...] = block.transpose(self._order)


Part = Fixed | Points


def offsets_of(counts: Array) -> Array:
    """The sums of the first counts, beginning with 0."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def inverse(order: Sequence[int]) -> list[int]:
    """The order that undoes this one."""
    return [order.index(k) for k in range(len(order))]


def _read_boxes(dataset: Any, starts: Iterable[tuple[int, ...]], counts: Sequence[int], out: Array) -> None:
    """Read a box of `counts` elements at each start into the rows of `out`."""
    if not out.size:
        return
    kind = h5py().h5t.py_create(out.dtype)
    memory = h5py().h5s.create_simple((math.prod(counts),))
    source, space = dataset.id, dataset.id.get_space()
    for k, start in enumerate(starts):
        space.select_hyperslab(start, tuple(counts))
        source.read(memory, space, out[k : k + 1], kind)
