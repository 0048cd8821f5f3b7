"""Collected data as a map-style Torch dataset."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import torch
from torch.utils.data import Dataset

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.indexing import LazyArray, is_number

Tensors = torch.Tensor | tuple[torch.Tensor, ...]


class RegionDataset(Dataset[tuple[Tensors, Tensors]]):
    """Pairs (input, output); `hpacml.open_database(...)[label].dataset(...)` makes and describes it.

    An index is a number, a slice, or a list or an array of numbers or of one truth value for each row; but for a number
    the tensors have the rows first. `chosen` tells for each row whether it is one of the dataset.
    """

    def __init__(
        self,
        inputs: Sequence[LazyArray],
        outputs: Sequence[LazyArray],
        dtype: torch.dtype | None,
        split: Literal["train", "test"] | None,
        fraction: float,
        seed: int,
        chosen: Array | None = None,
    ):
        self._inputs = inputs
        self._outputs = outputs
        self._dtype = dtype
        count = len((*inputs, *outputs)[0]) if inputs or outputs else 0
        rows = range(count) if chosen is None else np.flatnonzero(chosen)
        self._rows = rows if split is None else np.asarray(rows)[_part(len(rows), split, fraction, seed)]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | Sequence[int] | Array) -> tuple[Tensors, Tensors]:
        if isinstance(index, slice):
            return self._read(self._rows[index])
        if not is_number(index):
            rows = np.arange(len(self), dtype=np.int64)[_several(index)]
            return self._read(rows if isinstance(self._rows, range) else self._rows[rows])
        row = int(self._rows[operator.index(cast("int", index))])
        x, y = self._read(range(row, row + 1))
        return _at(x, 0), _at(y, 0)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensors, Tensors]]:
        """Read the items of a batch at once, which a DataLoader calls."""
        if any(source.varies for source in (*self._inputs, *self._outputs)):
            return [self[index] for index in indices]
        x, y = self._read(np.array([self._rows[index] for index in indices], np.int64))
        return [(_at(x, k), _at(y, k)) for k in range(len(indices))]

    def _read(self, rows: range | Array) -> tuple[Tensors, Tensors]:
        return self._tensors(self._inputs, rows), self._tensors(self._outputs, rows)

    def _tensors(self, sources: Sequence[LazyArray], rows: range | Array) -> Tensors:
        tensors = tuple(torch.as_tensor(np.ascontiguousarray(_of(source, rows)), device="cpu") for source in sources)
        if self._dtype is not None:
            tensors = tuple(tensor.to(self._dtype) for tensor in tensors)
        return tensors[0] if len(tensors) == 1 else tensors


def _several(index: object) -> Array:
    """Make an array of an index that is a list of numbers or truth values. Raises DatabaseError for another one."""
    array = None if isinstance(index, tuple) else np.asarray(index)
    if array is not None and array.ndim == 1 and not array.size and not isinstance(index, np.ndarray):
        array = array.astype(np.int64)
    if array is None or array.ndim != 1 or array.dtype.kind not in "biu":
        raise DatabaseError(
            f"{index!r} is no index of a dataset, whose items are pairs: use a number, a slice, or a list of numbers, "
            "and index the tensors of the pair"
        )
    return array


def _of(source: LazyArray, rows: range | Array) -> Array:
    if isinstance(rows, range) and rows.step == 1:
        return source.read(rows.start, rows.stop)
    return source.take(rows)


def _at(tensors: Tensors, k: int) -> Tensors:
    return tensors[k] if isinstance(tensors, torch.Tensor) else tuple(tensor[k] for tensor in tensors)


def _part(count: int, split: str, fraction: float, seed: int) -> Array:
    if split not in ("train", "test") or not 0 <= fraction <= 1:
        raise DatabaseError(f"split={split!r}, fraction={fraction!r}: use 'train' or 'test', and 0 to 1")
    shuffled = np.random.default_rng(seed).permutation(count)
    cut = round(fraction * count)
    # In the order of the file, which is the faster one to read; a DataLoader shuffles.
    return np.sort(shuffled[:cut] if split == "train" else shuffled[cut:])
