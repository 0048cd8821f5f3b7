"""Calls in memory that another process can read: how they lie there, and what it needs to write them.

A block has a head of numbers and then its calls. Those of one shape are a column for each dataset; calls that differ in
their points follow one another, each with its shapes before its tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from hpacml.runtime.databases.commits.finisher import BLOCK
from hpacml.runtime.databases.groups import CallShape
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.runs import Run
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.varying import Calls, Layout

RECORDER, FIRST, COUNT, CAPACITY = range(BLOCK.size // 8)
"""The numbers in the head of a block, which `finisher.BLOCK` describes; the capacity is 0 for calls that differ."""
DESCRIPTION, ORIGIN = range(2)
"""Those of a recorder: the offset of its description, and how many calls its group has beside the recorder's."""
HEAD = 64
"""The bytes of a head."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a process needs to write the calls of a recorder of another process, which has died."""

    path: str
    number: int
    """Of the file, for the process that finishes commits."""
    label: str
    schema: Schema
    samples: tuple[str | None, ...]
    call_shapes: tuple[CallShape, ...]
    dtypes: tuple[np.dtype[Any], ...]
    layouts: tuple[Layout, ...]
    run: Run
    dtype: str
    compress: str
    """The variables that say how a new group is stored."""


def column_bytes(capacity: int, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype[Any]]) -> int:
    """The bytes that columns take, which `columns_of` makes."""
    return sum(_aligned(capacity * math.prod(s) * d.itemsize) for s, d in zip(shapes, dtypes, strict=True))


def columns_of(
    memory: Array, capacity: int, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype[Any]]
) -> list[Array]:
    """Arrays [capacity, *shape], one after the other in some bytes of memory."""
    columns: list[Array] = []
    start = 0
    for shape, dtype in zip(shapes, dtypes, strict=True):
        size = capacity * math.prod(shape) * dtype.itemsize
        columns.append(memory[start : start + size].view(dtype).reshape(capacity, *shape))
        start += _aligned(size)
    return columns


def varying_columns(
    memory: Array, count: int, layouts: Sequence[Layout], dtypes: Sequence[np.dtype[Any]], skip: int = 0
) -> list[Calls | Array]:
    """The first calls in the memory of a `VaryingBlock`, in numbers of 64 bits, for each dataset; some are skipped."""
    pieces: list[list[Array]] = [[] for _ in layouts]
    ranks = [len(layout.dims) for layout in layouts]
    heads = np.empty((count, sum(ranks) + 1), np.int64)
    place = 0
    for call in range(count):
        heads[call] = memory[place : place + heads.shape[1]]
        sizes = heads[call].tolist()
        place += heads.shape[1]
        for own, rank, dtype, layout in zip(pieces, ranks, dtypes, layouts, strict=False):
            points = math.prod([sizes[d] for d in layout.swept])
            own.append(np.ndarray((points, *layout.features), dtype, memory, 8 * place))
            place += padded(own[-1].nbytes) // 8
            del sizes[:rank]
    ends = list(accumulate(ranks, initial=0))
    columns = [own[skip] if len(own) == skip + 1 else np.concatenate(own[skip:]) for own in pieces]
    heads = heads[skip:]
    shapes = [heads[:, first:last] for first, last in pairwise(ends)]
    return [*map(Calls, columns, shapes), heads[:, -1].copy().view(np.float64).astype(dtypes[-1])]


def padded(nbytes: int) -> int:
    """The bytes that a tensor takes among calls that differ."""
    return (nbytes + 7) & ~7


def _aligned(size: int) -> int:
    return -(-size // HEAD) * HEAD
