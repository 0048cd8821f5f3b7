"""Arrays that are read from files when they are indexed, with NumPy's indexing."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.sweeps import shown

BLOCK_BYTES = 1 << 23
"""The bytes that are read at once of what is read from beginning to end."""

Box = tuple[slice, ...]
"""A slice of each dimension behind the first, with positive numbers; those that are missing are whole."""


class LazyArray(ABC):
    """An array [rows, *sizes] in files. To index it reads the rows that are asked for, and gives what NumPy gives.

    A size is None where it differs from row to row; then an index takes one row, or rows that agree.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def varies(self) -> bool:
        """Whether rows differ in their sizes."""
        return None in cast("tuple[int | None, ...]", self.shape)

    @abstractmethod
    def read(self, start: int, stop: int, box: Box = ()) -> Array:
        """Read the rows from `start` to `stop`, of each the elements in a box."""

    @abstractmethod
    def take(self, rows: Any) -> Array:
        """Read the rows of these numbers, which are not negative."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of the elements."""
        return self.size * self.dtype.itemsize

    @property
    def blocks(self) -> list[slice]:
        """Slices of the rows, in order, each of a size to be read at once."""
        rows = max(1, BLOCK_BYTES // max(1, self.dtype.itemsize * math.prod(size or 1 for size in self.shape[1:])))
        return [slice(start, min(start + rows, len(self))) for start in range(0, len(self), rows)]

    def numpy(self) -> Array:
        """Read all rows."""
        return self.read(0, len(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"'{self.name}' is read from a file, which makes an array")
        return np.asarray(self.numpy(), dtype)

    def __iter__(self) -> Iterator[Any]:
        for block in self.blocks:
            yield from self.read(block.start, block.stop)

    def __getitem__(self, key: Any) -> Any:
        if type(key) is int and -len(self) <= key < len(self):  # the shortest way, for loops over rows
            row = key % len(self)
            return self.read(row, row + 1)[0]
        keys, place = _found_first(key, self.shape)
        first = keys[place]
        if place == 0 and (index := _Basic.of(keys[1:], self.shape[1:])) is not None:
            if isinstance(first, slice):
                rows = range(len(self))[first]
                if rows.step == 1:
                    return index.finish(self.read(rows.start, rows.stop, index.box))
            elif is_number(first):
                row = range(len(self))[operator.index(first)]
                return index.finish(self.read(row, row + 1, index.box))[0]
        keys[place : place + 1], rows = _rows_of(first, self.shape)
        block = self.read(rows.start, rows.stop) if isinstance(rows, range) else self.take(rows)
        return block[tuple(keys)]

    def __repr__(self) -> str:
        return f"<{self.name}: {self.dtype}{shown(self.shape)}>"


class _Basic:
    """Numbers and slices of the dimensions behind the first, as a box and what is to be done with its elements."""

    def __init__(self, box: list[slice], rest: list[Any]) -> None:
        self.box = tuple(box)
        self._rest = (slice(None), *rest)
        self._whole = all(index == slice(None) for index in rest)

    @staticmethod
    def of(keys: Sequence[Any], sizes: Sequence[int | None]) -> _Basic | None:
        """None if there are other keys than numbers and slices, too many, or sizes that nobody knows."""
        if not keys:
            return _Basic([], [])
        if len(keys) > len(sizes) or None in sizes or not all(isinstance(k, slice) or is_number(k) for k in keys):
            return None
        box: list[slice] = []
        rest: list[Any] = []
        for key, size in zip(keys, cast("Sequence[int]", sizes), strict=False):
            if not isinstance(key, slice):
                index = range(size)[operator.index(key)]
                box.append(slice(index, index + 1))
                rest.append(0)
                continue
            taken = range(size)[key]
            if not taken:
                box.append(slice(0, 0))
            elif taken.step > 0:
                box.append(slice(taken.start, taken[-1] + 1, taken.step))
            else:
                box.append(slice(taken[-1], taken.start + 1, -taken.step))
            rest.append(slice(None, None, -1) if taken.step < 0 else slice(None))
        return _Basic(box, rest)

    def finish(self, block: Array) -> Array:
        """Give the elements of a box their order and shape."""
        return block if self._whole else block[self._rest]


def _found_first(key: Any, shape: tuple[int, ...]) -> tuple[list[Any], int]:
    """Return the keys, with arrays in place of lists, and the place among them of the key for the rows."""
    keys = [_key(each) for each in cast("tuple[Any, ...]", key if isinstance(key, tuple) else (key,))]
    places = [place for place, each in enumerate(keys) if each is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    missing = len(shape) - sum(map(_dimensions, keys))
    if missing < 0:
        raise IndexError(f"{len(shape) - missing} dimensions are indexed, and the array has {len(shape)}")
    if places and missing:  # else it stays, since with it NumPy gives an array of no dimensions in place of a number
        keys[places[0] : places[0] + 1] = [slice(None)] * missing
    elif not any(map(_dimensions, keys)):
        keys.append(slice(None))
    return keys, next(place for place, each in enumerate(keys) if _dimensions(each))


def _key(key: Any) -> Any:
    """Make an array of what is an array or a list."""
    if key is None or key is Ellipsis or isinstance(key, slice) or is_number(key):
        return cast(Any, key)
    array = np.asarray(key)
    if not array.size and not isinstance(key, np.ndarray):
        array = array.astype(np.intp)
    if array.dtype.kind not in "biu":
        raise IndexError("only numbers, slices, '...', None and arrays of integers or truth values are indices")
    return array


def _dimensions(key: Any) -> int:
    """How many dimensions a key takes the place of."""
    if key is None or key is Ellipsis:
        return 0
    return key.ndim if isinstance(key, np.ndarray) and cast(Array, key).dtype.kind == "b" else 1


def _rows_of(key: Any, shape: tuple[int, ...]) -> tuple[list[Any], Array | range]:
    """Return the rows that a key takes, and the keys that take the same from these alone."""
    if isinstance(key, slice):
        rows = range(shape[0])[key]
        return [slice(None)], rows if rows.step == 1 else np.arange(rows.start, rows.stop, rows.step)
    if is_number(key):
        row = range(shape[0])[operator.index(key)]
        return [0], range(row, row + 1)
    rest: list[Any] = []
    if key.dtype.kind == "b":
        given = cast(Array, key).shape
        if len(given) > len(shape) or any(n not in (0, size) for n, size in zip(given, shape, strict=False)):
            raise IndexError(f"the truth values are of shape {key.shape}, and the dimensions of {shape[: key.ndim]}")
        key, *rest = key.nonzero()
    numbers = key.astype(np.int64)
    if numbers.size and not -shape[0] <= int(numbers.min()) <= int(numbers.max()) < shape[0]:
        raise IndexError(f"an index of {numbers.min()} to {numbers.max()} is out of bounds for {shape[0]} rows")
    rows, places = np.unique(numbers % max(1, shape[0]), return_inverse=True)
    return [places.reshape(numbers.shape), *rest], rows


def is_number(index: object) -> bool:
    """Whether an index takes one entry, unlike a truth value, which makes a dimension."""
    if type(index) is int:
        return True
    if not hasattr(index, "__index__") or isinstance(index, bool):
        return False
    array = np.asarray(index)
    return not array.ndim and array.dtype.kind != "b"
