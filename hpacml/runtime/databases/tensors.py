"""The tensors of a region as they lie in one or several files, read when they are indexed."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.indexing import BLOCK_BYTES, Box, LazyArray
from hpacml.runtime.databases.parts import FixedRows, Part, PointRows, offsets_of
from hpacml.runtime.databases.reading import Files
from hpacml.runtime.databases.sweeps import Sizes

BYTES_OF_A_ROW = 1 << 14
"""To read a row by itself takes as long as to read so many bytes in passing."""


class Tensor(LazyArray):
    """One tensor of a region, [calls, *shape]. To index it reads from the files, and gives a NumPy array.

    A size is None where it differs from call to call; then an index takes one call, or calls that agree, and `shapes`
    has the shape of each. Raises DatabaseError for calls that differ, and where a file cannot be read.
    """

    def __init__(self, files: Files, name: str, parts: Sequence[Part], shape: Sizes, dtype: Any):
        self.name = name
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape: tuple[Any, ...] = (sum(part.calls for part in parts), *shape)
        self.parts = tuple(parts)
        self.files = files
        self._starts = offsets_of(np.array([part.calls for part in parts], np.int64)).tolist()

    @cached_property
    def shapes(self) -> Array:
        """The shape of each call, an array [calls, rank]."""
        return np.concatenate([part.shapes for part in self.parts])

    @property
    def size(self) -> int:
        return int(self.shapes.prod(1).sum()) if self.varies else super().size

    def numpy(self) -> Array:
        """Read all calls."""
        return super().numpy()

    @property
    def blocks(self) -> list[slice]:
        """Slices of the calls, in order, each of a size to be read at once, and of calls that agree."""
        if not self.varies:
            return super().blocks
        changes = 1 + np.flatnonzero((self.shapes[1:] != self.shapes[:-1]).any(1))
        cuts = [0, *changes.tolist(), len(self)]
        blocks: list[slice] = []
        for first, last in pairwise(cuts):
            calls = self._calls_at_once(self.shapes[first])
            blocks += [slice(start, min(start + calls, last)) for start in range(first, last, calls)]
        return blocks

    def read(self, start: int, stop: int, box: Box = ()) -> Array:
        stop = max(start, stop)
        if stop == start + 1:
            number = bisect_right(self._starts, start) - 1
            begin = self._starts[number]
            return self.parts[number].read(self.files, start - begin, stop - begin, box)
        shape = self._shape_of(slice(start, stop))
        calls = self._calls_at_once(shape)
        pieces = list(self._pieces(start, stop, calls))
        if len(pieces) == 1:
            part, first, last, _ = pieces[0]
            return part.read(self.files, first, last, box)
        taken = [len(range(size)[index]) for size, index in zip(shape, box, strict=False)]
        out = np.empty((stop - start, *taken, *shape[len(taken) :]), self.dtype)
        for part, first, last, place in pieces:
            out[place : place + last - first] = part.read(self.files, first, last, box)
        return out

    def take(self, rows: Any) -> Array:
        rows = np.asarray(rows, np.int64)
        if not self.varies:
            return Rows(self).take(rows)
        shape = self._shape_of(rows)
        out = np.empty((len(rows), *shape), self.dtype)
        for k, row in enumerate(rows.tolist()):
            out[k] = self.read(row, row + 1)[0]
        return out

    def _pieces(self, start: int, stop: int, calls: int) -> Iterator[tuple[Part, int, int, int]]:
        """The parts with the calls from `start` to `stop`: the first and the last call in each, and its place."""
        for part, begin in zip(self.parts, self._starts, strict=False):
            low, high = max(0, start - begin), min(part.calls, stop - begin)
            for first in range(low, high, calls):
                yield part, first, min(first + calls, high), first + begin - start

    def _calls_at_once(self, shape: Sequence[int] | Array) -> int:
        return max(1, BLOCK_BYTES // max(1, self.dtype.itemsize * math.prod(map(int, shape))))

    def _shape_of(self, calls: slice | Array) -> tuple[int, ...]:
        """The shape of each of these calls. Raises DatabaseError if they differ."""
        if not self.varies:
            return self.shape[1:]
        shapes = self.shapes[calls]
        if (shapes != shapes[:1]).any():
            other = shapes[np.flatnonzero((shapes != shapes[0]).any(1))[0]]
            raise DatabaseError(
                f"calls of '{self.name}' differ in their points (one has {shapes[0].tolist()}, another "
                f"{other.tolist()}), so they are no one array: take one call, or read the points of all, "
                "region.points(tensor)[:] or region.dataset(rows='points')"
            )
        return tuple(shapes[0].tolist()) if len(shapes) else tuple(size or 0 for size in self.shape[1:])


class Rows(LazyArray):
    """A tensor as rows [rows, *features]: one for each call, or one for each point of the dimensions `sweep`.

    `counts` is the number of rows in each call, and `offsets` has that of the first row of each call, and that of all
    rows. Raises DatabaseError where the features differ from call to call.
    """

    def __init__(self, tensor: Tensor, sweep: Sequence[int] = ()):
        self.tensor = tensor
        self.name = tensor.name
        self.dtype = tensor.dtype
        self.sweep = tuple(sweep)
        self.sizes: Sizes = tuple(tensor.shape[1 + d] for d in sweep)
        self.features: tuple[Any, ...] = tuple(size for d, size in enumerate(tensor.shape[1:]) if d not in sweep)
        if None in self.features:
            raise DatabaseError(
                f"the calls of '{tensor.name}' differ in more than their number of points: its features are of "
                f"{list(self.features)}, where None is a size that varies; read call by call"
            )
        self._parts: list[FixedRows | PointRows] = [part.rows(sweep) for part in tensor.parts]
        self._starts = offsets_of(np.array([part.counts.sum() for part in self._parts], np.int64)).tolist()
        self.shape: tuple[int, ...] = (self._starts[-1], *self.features)

    @cached_property
    def counts(self) -> Array:
        """The number of rows in each call, [calls]."""
        return np.concatenate([part.counts for part in self._parts])

    @cached_property
    def offsets(self) -> Array:
        """The number of the first row of each call, and that of all rows, [calls + 1]."""
        return offsets_of(self.counts)

    def read(self, start: int, stop: int, box: Box = ()) -> Array:
        stop = max(start, stop)
        pieces = list(self._pieces(start, stop))
        if len(pieces) == 1:
            part, first, last, _ = pieces[0]
            return part.read(self.tensor.files, first, last)[(slice(None), *box)]
        out = np.empty((stop - start, *self.features), self.dtype)
        for part, first, last, place in pieces:
            out[place : place + last - first] = part.read(self.tensor.files, first, last)
        return out[(slice(None), *box)]

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[FixedRows | PointRows, int, int, int]]:
        """The parts with the rows from `start` to `stop`: the first and the last row in each, and its place."""
        most = max(1, BLOCK_BYTES // max(1, self.dtype.itemsize * math.prod(self.features)))
        for part, begin, end in zip(self._parts, self._starts, self._starts[1:], strict=False):
            low, high = max(0, start - begin), min(end, stop) - begin
            rows = max(1, most // part.unit) * part.unit
            while low < high:
                first, low = low, min((low // rows + 1) * rows, high)
                yield part, first, low, first + begin - start

    def take(self, rows: Any) -> Array:
        rows = np.asarray(rows, np.int64)
        first, last = (int(rows.min()), int(rows.max())) if rows.size else (0, -1)
        nbytes = (last + 1 - first) * self.dtype.itemsize * math.prod(self.features)
        if 8 * rows.size > last - first or nbytes <= min(rows.size * BYTES_OF_A_ROW, BLOCK_BYTES):
            return self.read(first, last + 1)[rows - first]
        out = np.empty((rows.size, *self.features), self.dtype)
        numbers = np.array([bisect_right(self._starts, row) - 1 for row in rows.tolist()])
        for number in sorted(set(cast("list[int]", numbers.tolist()))):
            own = numbers == number
            block = np.empty((int(own.sum()), *self.features), self.dtype)
            self._parts[number].take(self.tensor.files, (rows[own] - self._starts[number]).tolist(), block)
            out[own] = block
        return out
