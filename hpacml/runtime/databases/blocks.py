"""Open databases, and the calls that are still to be written into them, in blocks of memory."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from hpacml.runtime.databases import origins
from hpacml.runtime.databases.files import File
from hpacml.runtime.databases.groups import RUNTIME, CallShape, Group, require_points, require_same
from hpacml.runtime.databases.hdf5 import CHUNK_CALLS, Array
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.settings import Loss, buffer_bytes
from hpacml.runtime.databases.varying import Calls, Layout

FIRST_BYTES, BLOCK_BYTES = 64 << 10, 4 << 20
"""The bytes of a region's first block, and of its largest; each is twice the one before. Even the largest is still in
the processor's cache when it is written."""

MANY = sys.maxsize


@dataclass(eq=False, slots=True)
class OpenDatabase:
    """A database that is open for writing, and its calls that are not committed yet."""

    path: str
    file: File
    loss: Loss
    recorders: list[Recorder] = field(default_factory=list["Recorder"])
    closed: bool = False
    """Whether the database takes no more calls."""
    queued: int = 0
    """The number of calls since the last commit began."""
    since: float = 0.0
    """When the first of them came."""
    committing: int = 0
    """The number of calls that are being committed."""
    committing_since: float = 0.0
    """When the first of them came."""

    @property
    def due(self) -> float:
        """The time at which a commit is to begin: early enough to end before the database is `full`."""
        if not self.queued:
            return math.inf
        if self.loss.calls is not None:
            return self.since if 2 * self.queued >= self.loss.calls else math.inf
        return self.since + self.loss.seconds / 2

    @property
    def full(self) -> bool:
        """Whether one more call would let a kill lose more than HPACML_DB_FLUSH allows."""
        if self.loss.calls is not None:
            return self.queued + self.committing >= self.loss.calls
        if not self.queued and not self.committing:
            return False
        return time.monotonic() - (self.committing_since if self.committing else self.since) > self.loss.seconds


class Block:
    """Memory for up to `capacity` calls of one region, of which it has `count`."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.capacity = recorder.capacity
        self.nbytes = self.capacity * recorder.call_bytes
        self.count = 0
        self._columns = [
            np.empty((self.capacity, *shape), dtype)
            for shape, dtype in zip(recorder.shapes, recorder.dtypes, strict=True)
        ]

    def copy(self, position: int, tensors: Sequence[Array], milliseconds: float) -> None:
        """Copy a call to a position, converted to the dtypes of the datasets, without counting it."""
        for column, tensor in zip(self._columns, tensors, strict=False):
            if column.dtype == tensor.dtype:
                column[position] = tensor
            else:
                _convert(tensor, column[position : position + 1])
        self._columns[-1][position] = milliseconds

    @property
    def columns(self) -> list[Array]:
        """The counted calls, as an array [calls, *shape] for each dataset."""
        return [column[: self.count] for column in self._columns]


class VaryingBlock:
    """Memory for calls that differ in their points, of which it has `count`: `nbytes` bytes, one call after the other.

    A call begins with the shapes of its tensors, in numbers of 64 bits, and its milliseconds; the tensors follow,
    points first, each at a multiple of 8 bytes.
    """

    def __init__(self, recorder: Recorder, nbytes: int) -> None:
        self.recorder = recorder
        self.nbytes = nbytes
        self._memory = np.empty(nbytes // 8, np.int64)
        self._times = self._memory.view(np.float64)
        self.clear()

    def clear(self) -> None:
        """Have no calls."""
        self.count = 0
        self.capacity = MANY
        """The number of calls that it can take: unknown, until there is little room."""
        self._ends = [0]
        """Where in the memory each call ends."""

    def fits(self, nbytes: int) -> bool:
        """Whether there is room for a call of so many bytes."""
        return self.count < self.capacity and self._ends[self.count] + nbytes <= self.nbytes

    def copy(self, position: int, tensors: Sequence[Array], milliseconds: float) -> None:
        """Copy a call to a position, as `Block.copy` does."""
        del self._ends[position + 1 :]  # of a call that an interrupt has stopped
        place = self._ends[position] // 8
        for tensor in tensors:
            for size in tensor.shape:
                self._memory[place] = size
                place += 1
        self._times[place] = milliseconds
        place = 8 * (place + 1)
        for tensor, dtype, layout in zip(tensors, self.recorder.dtypes, self.recorder.layouts, strict=False):
            points = tensor if layout.order is None else tensor.transpose(layout.order)
            _convert(points, np.ndarray(points.shape, dtype, self._memory, place))
            place += _padded(points.size * dtype.itemsize)
        self._ends.append(place)
        self.capacity = MANY if 4 * place < 3 * self.nbytes else position + 1

    @property
    def columns(self) -> list[Calls | Array]:
        """The counted calls, for each dataset."""
        return varying_columns(self._memory, self.count, self.recorder.layouts, self.recorder.dtypes)


class Recorder:
    """One region that collects into one database: the form of its calls, and their blocks."""

    def __init__(self, database: OpenDatabase, label: str, schema: Schema, group: Group) -> None:
        self.database = database
        self.label = label
        self.schema = schema
        self.samples: dict[str | None, None] = {schema.sample: None}
        """The clauses `sample` that have taken calls, in order."""
        self.group = group
        self.call_shapes = group.call_shapes
        """The shapes and dtypes of the tensors of one call, as long as calls do not differ."""
        self.shapes = [*(each.shape for each in self.call_shapes), RUNTIME.shape]
        """The shapes of such a call in all datasets."""
        self.dtypes: list[np.dtype[Any]] = group.dtypes
        self.layouts = group.layouts
        self._head_bytes = 8 + 8 * sum(len(layout.dims) for layout in self.layouts)
        """The bytes of a call that differs, before its tensors."""
        self.varies = group.varies
        """Whether calls have begun to differ in their points."""
        self.call_bytes = sum(
            math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        )
        pairs = list(zip(self.call_shapes, self.dtypes, strict=False))
        self._usual_bytes = self._head_bytes + sum(
            _padded(math.prod(each.shape) * dtype.itemsize) for each, dtype in pairs
        )
        """The bytes of a call as they were before, among those that differ."""
        self._most_bytes = min(BLOCK_BYTES, buffer_bytes() // 4)
        self._most = max(1, min(CHUNK_CALLS, self._most_bytes // self.call_bytes))
        self.capacity = max(1, min(self._most, FIRST_BYTES // self.call_bytes))
        """The number of calls that the next block can take."""
        self.block_bytes = min(FIRST_BYTES, _padded(self._most_bytes))
        """The bytes of the next block of calls that differ."""
        self.blocks: list[Block | VaryingBlock] = []
        """The blocks that are not written yet; the last one takes the next call."""
        self.free: list[Block | VaryingBlock] = []
        """Empty blocks."""

    @property
    def has_room(self) -> bool:
        """Whether the last block can take a call."""
        return bool(self.blocks) and self.blocks[-1].count < self.blocks[-1].capacity

    def has_room_for(self, nbytes: int) -> bool:
        """Whether the last block can take a call of so many bytes that differs, or with 0 one that does not."""
        if not (nbytes or self.varies):
            return self.has_room
        last = self.blocks[-1] if self.blocks else None
        return isinstance(last, VaryingBlock) and last.fits(nbytes or self._usual_bytes)

    def bytes_for(self, nbytes: int) -> int:
        """The bytes of the block that such a call makes necessary, 0 if there is an empty one."""
        if not (nbytes or self.varies):
            return 0 if self.free else self.capacity * self.call_bytes
        needed = max(nbytes or self._usual_bytes, self.block_bytes)
        return 0 if self.varies and self.free and self.free[-1].nbytes >= needed else needed

    def add_block(self, nbytes: int) -> None:
        """Append an empty block for such a call."""
        size = self.bytes_for(nbytes)
        if nbytes and not self.varies:
            self.varies, self.free = True, []
        block = self.free.pop() if not size else VaryingBlock(self, size) if self.varies else Block(self)
        self.blocks.append(block)
        self.capacity = min(self._most, 2 * self.capacity)
        self.block_bytes = max(self.block_bytes, min(_padded(self._most_bytes), 2 * self.block_bytes))

    def recycle(self, block: Block | VaryingBlock) -> None:
        """Keep a written block for new calls, unless there are larger ones by now."""
        if isinstance(block, VaryingBlock):
            if block.nbytes == self.block_bytes:
                block.clear()
                self.free.append(block)
        elif block.capacity == self.capacity and not self.varies:
            block.count = 0
            self.free.append(block)

    def require(self, schema: Schema, tensors: Sequence[Array]) -> int:
        """Raise DatabaseError unless the database can take a call with this schema and these tensors.

        Returns the bytes of a call that differs in its points, 0 for one that does not.
        """
        if schema is not self.schema:
            require_same(self.label, self.schema, schema)
            origins.require(self.label, self.group.origin, schema.origin)
            self.samples[schema.sample] = None
        differs = self.varies
        for tensor, has in zip(tensors, self.call_shapes, strict=False):
            if tensor.shape != has.shape or tensor.dtype != has.dtype:
                differs = True
                break
        if not differs:
            return 0
        nbytes = self._head_bytes
        for tensor, has, layout, dtype in zip(tensors, self.call_shapes, self.layouts, self.dtypes, strict=False):
            if tensor.dtype != has.dtype or not layout.takes(tensor.shape):
                given = [CallShape(tensor.shape, tensor.dtype) for tensor in tensors]
                require_points(self.label, self.schema.columns, self.call_shapes, given, self.layouts)
            nbytes += _padded(tensor.size * dtype.itemsize)
        return nbytes


def _convert(tensor: Array, target: Array) -> None:
    """Copy numbers; what is too large for float32 becomes infinite."""
    if target.dtype == tensor.dtype:
        target[...] = tensor
    else:
        with np.errstate(over="ignore"):
            target[...] = tensor


def varying_columns(
    memory: Array, count: int, layouts: Sequence[Layout], dtypes: Sequence[np.dtype[Any]]
) -> list[Calls | Array]:
    """The first calls in the memory of a `VaryingBlock`, in numbers of 64 bits, for each dataset."""
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
            place += _padded(own[-1].nbytes) // 8
            del sizes[:rank]
    ends = list(accumulate(ranks, initial=0))
    columns = [own[0] if len(own) == 1 else np.concatenate(own) for own in pieces]
    shapes = [heads[:, first:last] for first, last in pairwise(ends)]
    return [*map(Calls, columns, shapes), heads[:, -1].copy().view(np.float64).astype(dtypes[-1])]


def _padded(nbytes: int) -> int:
    return (nbytes + 7) & ~7
