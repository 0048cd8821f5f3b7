"""The rows of a region, which are its points or its calls, and parts of them in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from hpacml.directives.recorded import read_map
from hpacml.errors import ConfigError, DatabaseError
from hpacml.runtime.databases.indexing import LazyArray
from hpacml.runtime.databases.reader import Region
from hpacml.runtime.models.survey import swept
from hpacml.training.splits import Numbers

BLOCK_BYTES = 1 << 26
"""The bytes of rows that are read at once."""

Tensors = tuple[torch.Tensor, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """The inputs and outputs of a region as rows. `counts` has the number of rows in each call.

    `example` is an input as the region gives it, cut to few points: of rows that are calls, a batch of one. `same` are
    the pairs of an input and an output that are one map of one array. `sweep` has the sizes of the dimensions of which
    the rows of a call are the points, if all calls have the same.
    """

    region: Region
    kind: Literal["points", "calls"]
    inputs: tuple[LazyArray, ...]
    outputs: tuple[LazyArray, ...]
    counts: Numbers
    example: Tensors
    same: tuple[tuple[int, int], ...]
    sweep: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The arrays of each input and output, or the tensors' names where files do not tell."""
        tensors = (*self.inputs, *self.outputs)
        maps = self.region.maps
        found = tuple(each.name for each in tensors) if maps is None else tuple(map(_arrays, maps))
        return found[: len(self.inputs)], found[len(self.inputs) :]

    @property
    def swept(self) -> list[tuple[int, ...]]:
        """Which dimensions of the rows of each input, [rows, *features], are points of the region."""
        if self.kind == "points":
            return [(0,) for _ in self.inputs]
        return swept(self.region.maps or (), [len(each.shape) for each in self.inputs])

    @property
    def row_bytes(self) -> int:
        """The bytes of a row, of all tensors."""
        return sum(each.dtype.itemsize * math.prod(each.shape[1:]) for each in (*self.inputs, *self.outputs))

    def take(self, numbers: Numbers) -> tuple[Tensors, Tensors]:
        """Read rows, ascending: tensors [rows, *features] of the dtypes that are stored."""
        return _read(self.inputs, numbers), _read(self.outputs, numbers)


@dataclass(frozen=True)
class Part:
    """Rows of a table, by their ascending numbers. `held` has all their tensors, of those that are in memory."""

    table: Table
    numbers: Numbers
    held: tuple[Tensors, Tensors] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What the inputs and outputs are called."""
        return self.table.names

    @property
    def inputs(self) -> tuple[Shape, ...]:
        """The shape of a row of each input."""
        return tuple(tuple(each.shape[1:]) for each in self.table.inputs)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        """The shape of a row of each output."""
        return tuple(tuple(each.shape[1:]) for each in self.table.outputs)

    def place(self, row: int) -> str:
        """Say which call has a row of this part, and which of its rows it is."""
        number = int(self.numbers[row])
        ends = np.cumsum(self.table.counts)
        call = int(np.searchsorted(ends, number, side="right"))
        within = number - int(ends[call] - self.table.counts[call])
        return f"call {call}" if self.table.kind == "calls" else f"point {within} of call {call}"

    @property
    def nbytes(self) -> int:
        """The bytes of all rows."""
        return len(self) * self.table.row_bytes

    def in_memory(self) -> Part:
        """Read all rows."""
        x, y = (tuple(map(torch.cat, zip(*side, strict=True))) for side in zip(*self.blocks(), strict=True))
        return replace(self, held=(x, y))

    def take(self, index: Numbers) -> tuple[Tensors, Tensors]:
        """Read the rows of these numbers, of which 0 is the first of this part, in any order: inputs and outputs."""
        if self.held is not None:
            numbers = torch.as_tensor(index)
            return tuple(each[numbers] for each in self.held[0]), tuple(each[numbers] for each in self.held[1])
        rows, places = np.unique(index, return_inverse=True)
        x, y = self.table.take(self.numbers[rows])
        order = torch.as_tensor(places)
        return tuple(each[order] for each in x), tuple(each[order] for each in y)

    def blocks(self) -> Iterator[tuple[Tensors, Tensors]]:
        """Yield the rows in order: inputs and outputs, tensors [rows, *features] of the dtypes that are stored."""
        most = max(1, BLOCK_BYTES // max(1, self.table.row_bytes))
        for start in range(0, len(self), most):
            part = slice(start, start + most)
            if self.held is None:
                yield self.table.take(self.numbers[part])
            else:
                x, y = self.held
                yield tuple(each[part] for each in x), tuple(each[part] for each in y)


def table(region: Region, kind: Literal["points", "calls"] | None) -> Table:
    """Take the data of a region as rows: points where all its tensors share them, else calls, unless `kind` says so.

    Raises DatabaseError for data that has no such rows.
    """
    if not region.calls:
        raise DatabaseError(f"the region '{region.label}' in '{region.shards[0].path}' has no calls")
    if not region.inputs or not region.outputs:
        raise DatabaseError(f"the region '{region.label}' has {'no outputs' if region.inputs else 'no inputs'}")
    if kind != "calls":
        try:
            found = _points(region)
        except DatabaseError:
            if kind:
                raise
            found = None
        if found is not None:
            return found
        if kind:
            raise ConfigError(
                f"the points of the region '{region.label}' are not the first dimensions of its tensors, or its inputs "
                "have no features, so that a network of points has nothing to act on: write functors as in "
                "[i, j, 0:1] = ([i, j]), or use rows: calls"
            )
    tensors = (*region.inputs, *region.outputs)
    if any(each.varies for each in tensors):
        raise DatabaseError(f"the calls of '{region.label}' differ in their shapes, so they are no rows: use points")
    example = tuple(_tensor(each.read(0, 1)) for each in region.inputs)
    return Table(region, "calls", region.inputs, region.outputs, np.ones(region.calls, np.int64), example, same(region))


def _points(region: Region) -> Table | None:
    """The points of a region as rows; None unless they are the first dimensions of all tensors, and have features."""
    region.require_points()
    rows = [region.points(each) for each in (*region.inputs, *region.outputs)]
    leading = all(each.sweep and each.sweep == tuple(range(len(each.sweep))) for each in rows)
    if not leading or not all(each.features for each in rows[: len(region.inputs)]):
        return None
    inputs, outputs = tuple(rows[: len(region.inputs)]), tuple(rows[len(region.inputs) :])
    few = (slice(0, 2),) * len(rows[0].sweep)
    first = next((call for call, count in enumerate(rows[0].counts) if count), 0)
    example = tuple(_tensor(np.ascontiguousarray(each[first][few])) for each in region.inputs)
    sizes = rows[0].sizes
    sweep = () if None in sizes else tuple(int(size or 0) for size in sizes)
    return Table(region, "points", inputs, outputs, rows[0].counts, example, same(region), sweep)


def same(region: Region) -> tuple[tuple[int, int], ...]:
    """Find the inputs and outputs that are one map of one array, as `inout` makes them."""
    if region.maps is None:
        return ()
    count = len(region.inputs)
    texts = [text.partition(": ")[2] for text in region.maps]
    return tuple(
        (i, o)
        for o, text in enumerate(texts[count:])
        for i, other in enumerate(texts[:count])
        if text == other and region.inputs[i].shape == region.outputs[o].shape
    )


def _arrays(text: str) -> str:
    """The arrays and numbers of a map's text, as in `to: f: [i, 0:2] = ([i], [0]) | f(a[0:n], dt)`."""
    known = read_map(text)
    if known is None or known.targets is None:
        return text.rpartition(" | ")[2].partition("(")[2].rstrip(")")
    return ", ".join(target.array for target in known.targets)


def _read(sources: Sequence[LazyArray], numbers: Numbers) -> Tensors:
    whole = len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers)
    first = int(numbers[0]) if len(numbers) else 0
    return tuple(_tensor(each.read(first, first + len(numbers)) if whole else each.take(numbers)) for each in sources)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), device="cpu")
