"""Open databases, and the calls that are still to be written into them, in blocks of memory."""

from __future__ import annotations

import math
import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpacml import environment
from hpacml.runtime.databases import origins
from hpacml.runtime.databases.commits.arena import Arena, Memory
from hpacml.runtime.databases.files import File
from hpacml.runtime.databases.groups import RUNTIME, CallShape, Group, require_points, require_same
from hpacml.runtime.databases.hdf5 import CHUNK_CALLS, Array
from hpacml.runtime.databases.pending import (
    CAPACITY,
    COUNT,
    DESCRIPTION,
    FIRST,
    HEAD,
    ORIGIN,
    RECORDER,
    Description,
    column_bytes,
    columns_of,
    padded,
    varying_columns,
)
from hpacml.runtime.databases.runs import this_run
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.settings import Loss, buffer_bytes
from hpacml.runtime.databases.varying import Calls

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
    written: list[Block | VaryingBlock] = field(default_factory=list["Block | VaryingBlock"])
    """The blocks that are written, and not committed yet."""
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

    def release(self) -> None:
        """Give the memory of the calls back, which are committed, or lost."""
        for block in self.written:
            block.release()
        self.written = []
        for recorder in self.recorders:
            recorder.release()

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


class _Shared:
    """Memory for calls of one region that another process can read, of which it has `count`, and then these bytes."""

    def __init__(self, recorder: Recorder, nbytes: int, capacity: int) -> None:
        self.recorder = recorder
        self.count = 0
        self._memory = recorder.arena.allocate(HEAD + nbytes)
        self.body = self._memory.array[HEAD : HEAD + nbytes]
        self.shared = self._memory.head
        """Where the other process finds the number of calls, and the numbers beside it."""
        self.shared[RECORDER], self.shared[CAPACITY] = recorder.memory.offset, capacity
        if recorder.memory.offset:
            recorder.arena.enter(self._memory)

    def begin(self, first: int) -> None:
        """Have no calls, and take those from the number `first` on."""
        self.count = self.shared[COUNT] = 0
        self.shared[FIRST] = first

    def release(self) -> None:
        """Give the memory back."""
        self.count = self.shared[COUNT] = 0
        self.recorder.arena.release(self._memory)


class Block(_Shared):
    """Memory for up to `capacity` calls of one region, a column for each dataset."""

    def __init__(self, recorder: Recorder) -> None:
        self.capacity = recorder.capacity
        self.nbytes = self.capacity * recorder.call_bytes
        super().__init__(recorder, column_bytes(self.capacity, recorder.shapes, recorder.dtypes), self.capacity)
        self._columns = columns_of(self.body, self.capacity, recorder.shapes, recorder.dtypes)

    def copy(self, position: int, tensors: Sequence[Array], milliseconds: float) -> None:
        """Copy a call to a position, converted to the dtypes of the datasets, without counting it."""
        for column, tensor in zip(self._columns, tensors, strict=False):
            if (dtype := tensor.dtype) is column.dtype or dtype == column.dtype:  # the first is less work
                column[position] = tensor
            else:
                _convert(tensor, column[position : position + 1])
        self._columns[-1][position] = milliseconds

    @property
    def columns(self) -> list[Array]:
        """The counted calls, as an array [calls, *shape] for each dataset."""
        return [column[: self.count] for column in self._columns]


class VaryingBlock(_Shared):
    """Memory for calls that differ in their points, of which it has `count`: `nbytes` bytes, one call after the other.

    A call begins with the shapes of its tensors, in numbers of 64 bits, and its milliseconds; the tensors follow,
    points first, each at a multiple of 8 bytes.
    """

    def __init__(self, recorder: Recorder, nbytes: int) -> None:
        self.nbytes = nbytes
        super().__init__(recorder, nbytes, 0)
        self._numbers: Array = self.body.view(np.int64)
        self._times = self._numbers.view(np.float64)
        self.begin(0)

    def begin(self, first: int) -> None:
        super().begin(first)
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
                self._numbers[place] = size
                place += 1
        self._times[place] = milliseconds
        place = 8 * (place + 1)
        for tensor, dtype, layout in zip(tensors, self.recorder.dtypes, self.recorder.layouts, strict=False):
            points = tensor if layout.order is None else tensor.transpose(layout.order)
            _convert(points, np.ndarray(points.shape, dtype, self._numbers, place))
            place += padded(points.size * dtype.itemsize)
        self._ends.append(place)
        self.capacity = MANY if 4 * place < 3 * self.nbytes else position + 1

    @property
    def columns(self) -> list[Calls | Array]:
        """The counted calls, for each dataset."""
        return varying_columns(self._numbers, self.count, self.recorder.layouts, self.recorder.dtypes)


class Recorder:
    """One region that collects into one database: the form of its calls, and their blocks."""

    def __init__(self, database: OpenDatabase, label: str, schema: Schema, group: Group, arena: Arena) -> None:
        self.database = database
        self.arena = arena
        self.label = label
        self.schema = schema
        self.samples: dict[str | None, None] = {schema.sample: None}
        """The clauses `sample` that have taken calls, in order."""
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
            padded(math.prod(each.shape) * dtype.itemsize) for each, dtype in pairs
        )
        """The bytes of a call as they were before, among those that differ."""
        self._most_bytes = min(BLOCK_BYTES, buffer_bytes() // 4)
        self._most = max(1, min(CHUNK_CALLS, self._most_bytes // self.call_bytes))
        self.capacity = max(1, min(self._most, FIRST_BYTES // self.call_bytes))
        """The number of calls that the next block can take."""
        self.block_bytes = min(FIRST_BYTES, padded(self._most_bytes))
        """The bytes of the next block of calls that differ."""
        self.blocks: list[Block | VaryingBlock] = []
        """The blocks that are not written yet; the last one takes the next call."""
        self.free: list[Block | VaryingBlock] = []
        """Empty blocks."""
        self._taken = 0
        """The number of calls in blocks that are no longer in `blocks`."""
        self.written = 0
        """The number of calls that are written."""
        self.memory = arena.allocate(HEAD)
        """Where another process finds the description of the recorder, and the origin of its calls."""
        self._described = self._describe()
        self.place(group)

    @property
    def has_room(self) -> bool:
        """Whether the last block can take a call."""
        if not self.blocks:
            return False
        last = self.blocks[-1]
        return last.count < last.capacity

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
            self.varies = True
            self.release_free()
        block = self.free.pop() if not size else VaryingBlock(self, size) if self.varies else Block(self)
        block.begin(self._taken + sum(each.count for each in self.blocks))
        self.blocks.append(block)
        self.capacity = min(self._most, 2 * self.capacity)
        self.block_bytes = max(self.block_bytes, min(padded(self._most_bytes), 2 * self.block_bytes))

    def recycle(self, block: Block | VaryingBlock) -> None:
        """Keep a written block for new calls, unless there are larger ones by now."""
        varies = isinstance(block, VaryingBlock)
        if varies == self.varies and (block.nbytes == self.block_bytes if varies else block.capacity == self.capacity):
            block.begin(0)
            self.free.append(block)
        else:
            block.release()

    def take(self, count: int) -> list[Block | VaryingBlock]:
        """Return the first blocks, which are to be written, and keep the others."""
        taken, self.blocks = self.blocks[:count], self.blocks[count:]
        self._taken += sum(block.count for block in taken)
        return taken

    def place(self, group: Group) -> None:
        """Have the calls that are not written yet go to a group."""
        self.group = group
        self.memory.head[ORIGIN] = group.calls - self.written

    def describe(self) -> None:
        """Describe the recorder to another process, as it is now."""
        before, self._described = self._described, self._describe()
        self.arena.release(before)

    def _describe(self) -> Memory:
        description = Description(
            path=self.database.path,
            number=self.database.file.number,
            label=self.label,
            schema=self.schema,
            samples=tuple(self.samples),
            call_shapes=tuple(self.call_shapes),
            dtypes=tuple(self.dtypes),
            layouts=tuple(self.layouts),
            run=this_run(),
            dtype=environment.DB_DTYPE.text(),
            compress=environment.DB_COMPRESS.text(),
        )
        memory = self.arena.keep(pickle.dumps(description))
        self.memory.head[DESCRIPTION] = memory.offset
        return memory

    def release_free(self) -> None:
        """Give the memory of empty blocks back."""
        while self.free:
            self.free.pop().release()

    def release_blocks(self) -> None:
        """Give the memory of calls back, but for those that `take` has given."""
        self.release_free()
        for block in self.blocks:
            block.release()
        self.blocks = []

    def release(self) -> None:
        """Give all memory back."""
        self.release_blocks()
        for memory in (self.memory, self._described):
            self.arena.release(memory)

    def require(self, schema: Schema, tensors: Sequence[Array]) -> int:
        """Raise DatabaseError unless the database can take a call with this schema and these tensors.

        Returns the bytes of a call that differs in its points, 0 for one that does not.
        """
        if schema is not self.schema:
            require_same(self.label, self.schema, schema)
            origins.require(self.label, self.group.origin, schema.origin)
            if schema.sample not in self.samples:
                self.samples[schema.sample] = None
                self.describe()
        differs = self.varies
        for tensor, (shape, dtype) in zip(tensors, self.call_shapes, strict=False):
            if tensor.shape != shape or ((given := tensor.dtype) is not dtype and given != dtype):
                differs = True
                break
        if not differs:
            return 0
        nbytes = self._head_bytes
        for tensor, has, layout, dtype in zip(tensors, self.call_shapes, self.layouts, self.dtypes, strict=False):
            if tensor.dtype != has.dtype or not layout.takes(tensor.shape):
                given = [CallShape(tensor.shape, tensor.dtype) for tensor in tensors]
                require_points(self.label, self.schema.columns, self.call_shapes, given, self.layouts)
            nbytes += padded(tensor.size * dtype.itemsize)
        return nbytes


def _convert(tensor: Array, target: Array) -> None:
    """Copy numbers; what is too large for float32 becomes infinite."""
    if target.dtype == tensor.dtype:
        target[...] = tensor
    else:
        with np.errstate(over="ignore"):
            target[...] = tensor
