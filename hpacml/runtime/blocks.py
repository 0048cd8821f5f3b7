"""Memory for calls that are still to be written: one array per dataset, with room for several calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpacml.runtime.groups import RUNTIME, Entry, Group, other_entry, require_same
from hpacml.runtime.hdf5 import CHUNK_CALLS, Array
from hpacml.runtime.schema import Schema
from hpacml.runtime.settings import buffer_bytes

if TYPE_CHECKING:
    from hpacml.runtime.database import Target

BLOCK_BYTES = 4 << 20
"""Bytes of a block of several calls. It is still in the processor's cache when it is written."""


class Block:
    """Calls of one region, up to `capacity` of them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.count = 0
        self._columns = [
            np.empty((recorder.capacity, *shape), dtype)
            for shape, dtype in zip(recorder.shapes, recorder.dtypes, strict=True)
        ]

    def add(self, tensors: Sequence[Array], milliseconds: float) -> None:
        """Copy a call into the block, converted to the dtypes of the datasets."""
        position = self.count
        for column, tensor in zip(self._columns, tensors, strict=False):
            if column.dtype == tensor.dtype:
                column[position] = tensor
            else:
                with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
                    column[position] = tensor
        self._columns[-1][position] = milliseconds
        self.count = position + 1

    @property
    def full(self) -> bool:
        return self.count == self.recorder.capacity

    @property
    def columns(self) -> list[Array]:
        """The calls: for each dataset an array of an entry per call."""
        return [column[: self.count] for column in self._columns]


class Recorder:
    """What one region collects into one database: the form of its calls, and the block that takes the next ones."""

    def __init__(self, target: Target, label: str, schema: Schema, entries: Sequence[Entry], group: Group) -> None:
        self.target = target
        self.label = label
        self.schema = schema
        self.samples: dict[str | None, None] = {schema.sample: None}
        """The clauses that have taken calls, in order."""
        self.group = group
        self.dtypes: list[np.dtype[Any]] = group.dtypes
        self.entries = entries
        call = sum(math.prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True))
        self.capacity = max(1, min(CHUNK_CALLS, min(BLOCK_BYTES, buffer_bytes() // 4) // call))
        self.nbytes = self.capacity * call
        """Of a block."""
        self.block: Block | None = None
        self.free: list[Block] = []

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of one call in each dataset."""
        return [*(entry.shape for entry in self.entries), RUNTIME.shape]

    def require(self, schema: Schema, tensors: Sequence[Array]) -> None:
        """Raises DatabaseError unless a call with these is of the form that the database has."""
        if schema is not self.schema:
            require_same(self.label, self.schema, schema)
            self.samples[schema.sample] = None
        for number, (tensor, entry) in enumerate(zip(tensors, self.entries, strict=False)):
            if tensor.shape != entry.shape or tensor.dtype != entry.dtype:
                raise other_entry(self.label, schema.columns[number], entry, Entry(tensor.shape, tensor.dtype))
