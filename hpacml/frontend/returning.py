"""Makes Python objects of what compiled code returns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hpacml.frontend.python.bundles import fields_of
from hpacml.frontend.python.result_types import ArrayResult, ConstantResult, RecordResult, Result
from hpacml.frontend.python.types import ScalarType
from hpacml.runtime.arrays.views import ArrayView, extent
from hpacml.runtime.shim import runtime


@dataclass(frozen=True)
class Given:
    """The arguments of a call, and the views of those that are arrays by their positions."""

    objects: Sequence[Any]
    views: Mapping[int, ArrayView]


Read = Callable[[Any, Sequence[Any], Sequence[ArrayView]], object]
"""Makes the result of a call of the words that compiled code returns, its arguments, and the views of its arrays."""

_Reader = Callable[[Iterator[Any], Given], object]


def reader(result: Result, positions: Sequence[int]) -> Read:
    """What makes the results of calls. `positions` has the positions of the arguments that are arrays."""
    if isinstance(result, ScalarType):
        convert = _converter(result)
        return lambda word, objects, views: convert(word)
    read = _reader(result)

    def read_all(words: Any, objects: Sequence[Any], views: Sequence[ArrayView]) -> object:
        several = isinstance(words, tuple)
        given: Sequence[Any] = () if words is None else cast("Sequence[Any]", words) if several else (words,)
        return read(iter(given), Given(objects, dict(zip(positions, views, strict=True))))

    return read_all


def _reader(result: Result) -> _Reader:
    match result:
        case ScalarType():
            return _number(result)
        case ArrayResult():
            return _view(result) if result.parameters else _array(result)
        case ConstantResult(object=found):
            return lambda words, given: found
        case tuple():
            readers = list(map(_reader, result))
            return lambda words, given: tuple([read(words, given) for read in readers])
        case RecordResult(type=type, items=items):
            fields = dict(zip(fields_of(type), map(_reader, items), strict=True))
            return lambda words, given: type(**{name: read(words, given) for name, read in fields.items()})


def has_arrays(result: Result | None) -> bool:
    """Whether arrays are returned."""
    if isinstance(result, RecordResult):
        return any(map(has_arrays, result.items))
    return isinstance(result, ArrayResult) or (isinstance(result, tuple) and any(map(has_arrays, result)))


def _number(type: ScalarType) -> _Reader:
    convert = _converter(type)
    return lambda words, given: convert(next(words))


def _converter(type: ScalarType) -> Callable[[Any], object]:
    """What makes a number of one that compiled code returns."""
    if type.kind == "u":
        mask = (1 << type.bits) - 1
        return lambda word: type.python(word & mask)
    return type.python


@dataclass(frozen=True)
class _Words:
    """The descriptor of an array: the address of its memory, that of its first element, sizes, and strides in bytes."""

    memory: int
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @staticmethod
    def read(words: Iterator[Any], result: ArrayResult) -> _Words:
        rank, size = result.rank, result.element.dtype.itemsize
        memory, aligned, offset, *extents = (next(words) for _ in range(3 + 2 * rank))
        mask = (1 << 64) - 1
        strides = tuple(stride * size for stride in extents[rank:])
        return _Words(memory & mask, (aligned & mask) + offset * size, tuple(extents[:rank]), strides)

    def interface(self, dtype: np.dtype[Any], readonly: bool = False) -> dict[str, Any]:
        """The array interface of NumPy, version 3."""
        data = self.address, readonly
        return {"version": 3, "typestr": dtype.str, "data": data, "shape": self.shape, "strides": self.strides}


class _Memory:
    """Memory that compiled code has allocated. It is freed with this object."""

    def __init__(self, words: _Words, dtype: np.dtype[Any]):
        self._address, self._drop = words.memory, runtime().drop
        self.__array_interface__ = words.interface(dtype)

    def __del__(self) -> None:
        self._drop(self._address)


def _array(result: ArrayResult) -> _Reader:
    def read(words: Iterator[Any], given: Given) -> npt.NDArray[Any]:
        return np.asarray(_Memory(_Words.read(words, result), result.element.dtype))

    return read


class _Part:
    """Elements of an array of the application, which it keeps alive."""

    def __init__(self, interface: dict[str, Any], owner: object):
        self.__array_interface__ = interface
        self._owner = owner


def _view(result: ArrayResult) -> _Reader:
    """What finds the argument whose memory an array is in, and makes a view of it."""

    def read(words: Iterator[Any], given: Given) -> object:
        found = _Words.read(words, result)
        candidates = [(given.objects[k], given.views[k]) for k in sorted(result.parameters)]
        for argument, view in candidates:
            if _is_all(view, found, result.element.dtype.itemsize):
                return argument
        argument, view = min(candidates, key=lambda each: _distance(each[1], found.address))
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(argument, torch.Tensor):
            size = result.element.dtype.itemsize
            before = max(0, found.address - argument.data_ptr()) // size  # an array without elements may lie anywhere
            start = argument.storage_offset() + before
            return argument.as_strided(found.shape, tuple(stride // size for stride in found.strides), start)
        return np.asarray(_Part(found.interface(result.element.dtype, view.readonly), argument))

    return read


def _is_all(view: ArrayView, found: _Words, size: int) -> bool:
    """Whether this is an argument, and not a part of it."""
    strides = tuple(stride * size for stride in view.strides)
    return (view.address, view.shape, strides) == (found.address, found.shape, found.strides)


def _distance(view: ArrayView, address: int) -> int:
    """How far an address is from the memory of an argument, 0 inside. Only arrays without elements lie beside it."""
    low, high = extent(view)
    return max(low - address, address - high + 1, 0)
