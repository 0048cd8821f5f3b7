"""Open databases, and the calls that are still to be written into them: blocks of one array per dataset."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpacml.runtime.databases.files import File
from hpacml.runtime.databases.groups import RUNTIME, CallShape, Group, other_shape, require_same
from hpacml.runtime.databases.hdf5 import CHUNK_CALLS, Array
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.settings import Loss, buffer_bytes

FIRST_BYTES, BLOCK_BYTES = 64 << 10, 4 << 20
"""The bytes of a region's first block, and of its largest; each is twice the one before. Even the largest is still in
the processor's cache when it is written."""


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
                with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
                    column[position] = tensor
        self._columns[-1][position] = milliseconds

    @property
    def columns(self) -> list[Array]:
        """The counted calls, as an array [calls, *shape] for each dataset."""
        return [column[: self.count] for column in self._columns]


class Recorder:
    """One region that collects into one database: the form of its calls, and their blocks."""

    def __init__(
        self, database: OpenDatabase, label: str, schema: Schema, call_shapes: Sequence[CallShape], group: Group
    ) -> None:
        self.database = database
        self.label = label
        self.schema = schema
        self.samples: dict[str | None, None] = {schema.sample: None}
        """The clauses `sample` that have taken calls, in order."""
        self.group = group
        self.call_shapes = call_shapes
        """The shapes and dtypes of the tensors of one call."""
        self.shapes = [*(each.shape for each in call_shapes), RUNTIME.shape]
        """The shapes of one call in all datasets."""
        self.dtypes: list[np.dtype[Any]] = group.dtypes
        self.call_bytes = sum(
            math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        )
        self._most = max(1, min(CHUNK_CALLS, min(BLOCK_BYTES, buffer_bytes() // 4) // self.call_bytes))
        self.capacity = max(1, min(self._most, FIRST_BYTES // self.call_bytes))
        """The number of calls that the next block can take."""
        self.blocks: list[Block] = []
        """The blocks that are not written yet; the last one takes the next call."""
        self.free: list[Block] = []
        """Empty blocks."""

    @property
    def has_room(self) -> bool:
        """Whether the last block can take a call."""
        return bool(self.blocks) and self.blocks[-1].count < self.blocks[-1].capacity

    def add_block(self) -> None:
        """Append an empty block."""
        self.blocks.append(self.free.pop() if self.free else Block(self))
        self.capacity = min(self._most, 2 * self.capacity)

    def require(self, schema: Schema, tensors: Sequence[Array]) -> None:
        """Raise DatabaseError unless the database can take a call with this schema and these tensors."""
        if schema is not self.schema:
            require_same(self.label, self.schema, schema)
            self.samples[schema.sample] = None
        for number, (tensor, has) in enumerate(zip(tensors, self.call_shapes, strict=False)):
            if tensor.shape != has.shape or tensor.dtype != has.dtype:
                raise other_shape(self.label, schema.columns[number], has, CallShape(tensor.shape, tensor.dtype))
