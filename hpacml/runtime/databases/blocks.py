"""Memory for calls that are still to be written: one array per dataset, with room for several calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpacml.runtime.databases.groups import RUNTIME, Entry, Group, other_entry, require_same
from hpacml.runtime.databases.hdf5 import CHUNK_CALLS, Array
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.settings import buffer_bytes

if TYPE_CHECKING:
    from hpacml.runtime.databases.writer import Target

FIRST_BYTES, BLOCK_BYTES = 64 << 10, 4 << 20
"""Bytes of a region's first block, and at most; each is twice the one before. When it is written, even the largest is
still in the processor's cache."""


class Block:
    """Calls of one region, up to `capacity` of them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.capacity = recorder.capacity
        self.nbytes = self.capacity * recorder.call_bytes
        self.count = 0
        self.busy = False
        """Whether a call is being copied into it: a signal handler that collects meanwhile takes another block."""
        self._columns = [
            np.empty((self.capacity, *shape), dtype)
            for shape, dtype in zip(recorder.shapes, recorder.dtypes, strict=True)
        ]

    @property
    def ready(self) -> bool:
        """Whether it can take a call."""
        return self.count < self.capacity and not self.busy

    def copy(self, position: int, tensors: Sequence[Array], milliseconds: float) -> None:
        """Make a call the one at a position, converted to the dtypes of the datasets. It is not counted by this."""
        for column, tensor in zip(self._columns, tensors, strict=False):
            if column.dtype == tensor.dtype:
                column[position] = tensor
            else:
                with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
                    column[position] = tensor
        self._columns[-1][position] = milliseconds

    @property
    def columns(self) -> list[Array]:
        """The calls: for each dataset an array of an entry per call."""
        return [column[: self.count] for column in self._columns]


class Recorder:
    """What one region collects into one database: the form of its calls, and their blocks."""

    def __init__(self, target: Target, label: str, schema: Schema, entries: Sequence[Entry], group: Group) -> None:
        self.target = target
        self.label = label
        self.schema = schema
        self.samples: dict[str | None, None] = {schema.sample: None}
        """The clauses that have taken calls, in order."""
        self.group = group
        self.entries = entries
        self.shapes = [*(entry.shape for entry in entries), RUNTIME.shape]
        """Of one call in each dataset."""
        self.dtypes: list[np.dtype[Any]] = group.dtypes
        self.call_bytes = sum(
            math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        )
        self._most = max(1, min(CHUNK_CALLS, min(BLOCK_BYTES, buffer_bytes() // 4) // self.call_bytes))
        self.capacity = max(1, min(self._most, FIRST_BYTES // self.call_bytes))
        """Of the next block."""
        self.blocks: list[Block] = []
        """Those that are not written yet; the last one takes the next call."""
        self.free: list[Block] = []

    def add_block(self) -> None:
        """Have an empty block as the last one."""
        self.blocks.append(self.free.pop() if self.free else Block(self))
        self.capacity = min(self._most, 2 * self.capacity)

    def require(self, schema: Schema, tensors: Sequence[Array]) -> None:
        """Raises DatabaseError unless a call with these is of the form that the database has."""
        if schema is not self.schema:
            require_same(self.label, self.schema, schema)
            self.samples[schema.sample] = None
        for number, (tensor, entry) in enumerate(zip(tensors, self.entries, strict=False)):
            if tensor.shape != entry.shape or tensor.dtype != entry.dtype:
                raise other_entry(self.label, schema.columns[number], entry, Entry(tensor.shape, tensor.dtype))
