"""Application memory as strided views and as MLIR's memref descriptors. Nothing here copies an element."""

from __future__ import annotations

import ctypes
import functools
import math
import struct
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from hpacml.dtypes import SIZES, numpy_dtypes, torch_dtypes, torch_names
from hpacml.errors import MapError

if TYPE_CHECKING:
    import torch

# Memory without an end: ctypes needs a type for each length, which is costly to make, and this one fits all.
_Memory = ctypes.c_char * sys.maxsize


@dataclass(slots=True, eq=False)  # not frozen: that would quadruple the time to make one
class ArrayView:
    """An array's memory: `address` of element [0, ..., 0], `strides` in elements, `owner` to keep it alive.

    `dtype` is a name in `hpacml.dtypes`. `readonly` memory must not be written. `device` is the number of the CUDA
    device on which it lies, None for the host, and `stream` the stream on which its owner works, if known. `borrowed`
    memory of a device may be reused as soon as `owner` is gone, even if the device has not finished with it.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    readonly: bool
    owner: object
    device: int | None = None
    stream: int | None = None
    borrowed: bool = False


class Foreign(NamedTuple):
    """The owner of a view of an object that is neither NumPy's nor Torch's: it may have other memory at any time.

    `memory` is what keeps that of the view alive, as far as the object tells; `found` is where it was.
    """

    array: object
    name: str
    memory: object
    found: tuple[object, ...]


def tensor_view(tensor: torch.Tensor, device: int | None) -> ArrayView:
    """The memory of a dense tensor."""
    dtype, shape = torch_names()[tensor.dtype], tuple(tensor.shape)
    return ArrayView(tensor.data_ptr(), dtype, shape, c_strides(shape), False, tensor, device)


@functools.lru_cache(4096)
def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a packed array of this shape in C order."""
    strides: list[int] = []
    stride = 1
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return tuple(reversed(strides))


class Layout(StrEnum):
    """What compiled code knows of the strides of an array, which selects the code that runs."""

    PACKED = "packed"
    """C order without gaps."""
    ROWS = "rows"
    """The innermost stride is 1, and the others are any, as in `a[1:-1, 1:-1]`."""
    STRIDED = "strided"
    """Any strides."""


def layout_of(view: ArrayView) -> Layout:
    """The most specific layout. Strides of dimensions of size 1 do not matter; an array without elements is packed."""
    return _layout(view.shape, view.strides)


@functools.lru_cache(4096)
def _layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    counted = [n == 1 or s == p for n, s, p in zip(shape, strides, c_strides(shape), strict=True)]
    if all(counted) or 0 in shape:
        return Layout.PACKED
    return Layout.ROWS if counted[-1] else Layout.STRIDED


def extent(view: ArrayView) -> tuple[int, int]:
    """The addresses of the first byte and of the byte after the last; equal if there are no elements."""
    width = SIZES[view.dtype]
    if view.strides == c_strides(view.shape):
        return view.address, view.address + math.prod(view.shape) * width
    if 0 in view.shape:
        return view.address, view.address
    spans = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
    low, high = sum(span for span in spans if span < 0), sum(span for span in spans if span > 0)
    return view.address + low * width, view.address + (high + 1) * width


Words: TypeAlias = "ctypes.Array[ctypes.c_int64]"
"""A memref descriptor in 64-bit words: allocated, aligned, offset, sizes, strides."""


def descriptor(view: ArrayView) -> Words:
    """The view's memref descriptor in 64-bit words: allocated, aligned, offset 0, sizes, strides."""
    words, layout = _descriptor_layout(len(view.shape))
    result = words()
    layout.pack_into(result, 0, view.address, view.address, 0, *view.shape, *view.strides)
    return result


def moved(words: Words, address: int) -> Words:
    """A descriptor of other memory of the same form."""
    result = type(words).from_buffer_copy(words)
    result[0] = result[1] = address
    return result


def descriptor_bytes(rank: int) -> int:
    """The bytes of a descriptor."""
    return 8 * (3 + 2 * rank)


def words_at(address: int, rank: int) -> Words:
    """The ranked memref descriptor at `address`."""
    return _descriptor_layout(rank)[0].from_address(address)


def view_of_descriptor(address: int, dtype: str, rank: int) -> ArrayView:
    """The view that the ranked memref descriptor at `address` describes. Nothing keeps the memory alive."""
    words = words_at(address, rank)[:]
    origin = words[1] + words[2] * SIZES[dtype]
    return ArrayView(origin, dtype, tuple(words[3 : 3 + rank]), tuple(words[3 + rank :]), False, None)


def tensor_over(view: ArrayView) -> torch.Tensor:
    """A Torch tensor over memory of the host, valid as long as the memory is.

    Raises MapError for negative strides, which Torch cannot express.
    """
    import torch

    shape, strides, kind = view.shape, view.strides, torch_dtypes()[view.dtype]
    if 0 in shape:
        return torch.empty_strided(shape, strides, dtype=kind, device="cpu")
    memory = _Memory.from_address(view.address)
    if strides == c_strides(shape):
        return torch.frombuffer(memory, dtype=kind, count=math.prod(shape)).view(shape)
    require_no_negative(strides)
    span = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    return torch.frombuffer(memory, dtype=kind, count=1 + span).as_strided(shape, strides)


def require_no_negative(strides: tuple[int, ...]) -> None:
    """Raise MapError for negative strides, which Torch cannot express."""
    if min(strides, default=0) < 0:
        raise MapError(f"Torch has no negative strides, such as {strides}: pass an array without, such as a copy")


def array_from_descriptor(address: int, dtype: str, rank: int) -> np.ndarray[Any, np.dtype[Any]]:
    """A NumPy array over the memory of a memref descriptor, valid as long as the memory is; bf16 as uint16 bits."""
    return numpy_array(view_of_descriptor(address, dtype, rank))


def numpy_array(view: ArrayView) -> np.ndarray[Any, np.dtype[Any]]:
    """A NumPy array over the memory of a view, valid as long as the memory is; bf16 as uint16 bits."""
    kind, strides, below = _numpy_form(view.dtype, view.shape, view.strides)
    memory: Any = _Memory.from_address(view.address + below)
    return np.ndarray(view.shape, kind, memory, -below, strides)


@functools.lru_cache(4096)
def _numpy_form(
    dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """NumPy's dtype and strides, in bytes, and the place of the lowest element, from the first one on."""
    kind = numpy_dtypes()[dtype]
    in_bytes = tuple(stride * kind.itemsize for stride in strides)
    return kind, in_bytes, sum((n - 1) * s for n, s in zip(shape, in_bytes, strict=True) if s < 0 < n)


@functools.cache
def _descriptor_layout(rank: int) -> tuple[type[ctypes.Array[ctypes.c_int64]], struct.Struct]:
    return ctypes.c_int64 * (3 + 2 * rank), struct.Struct(f"QQ{1 + 2 * rank}q")
