"""Application memory as strided views and as MLIR's memref descriptors. Nothing here copies an element."""

from __future__ import annotations

import ctypes
import functools
import math
import struct
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from hpacml.dtypes import (
    BY_DLPACK_CODE,
    BY_TYPE_CODE,
    SIZES,
    numpy_dtypes,
    numpy_names,
    torch_dtypes,
    torch_names,
)
from hpacml.errors import HpacmlError, MapError

if TYPE_CHECKING:
    import torch

_NUMPY_NAMES = numpy_names()

_DLPACK_HOST_DEVICES = (1, 3, 11)  # CPU, and pinned memory of CUDA and ROCm
_DLPACK_CUDA_DEVICES = (2, 13)  # memory of a device, and managed memory
_DL_TENSOR = struct.Struct("QiiiBBHQQQ")  # data, device, its index, rank, code, bits, lanes, shape, strides, offset
_DL_FLAGS_OFFSET, _DL_VERSIONED_TENSOR_OFFSET = 24, 32

# Memory without an end, to read through: the types of ctypes are one for each length, and costly to make.
_Memory = ctypes.c_char * sys.maxsize

# Our own handle of the Python API: its argument types are nobody else's.
_python = ctypes.PyDLL(None)
_capsule_pointer = _python.PyCapsule_GetPointer
_capsule_pointer.argtypes, _capsule_pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_size_t
_capsule_is_valid = _python.PyCapsule_IsValid
_capsule_is_valid.argtypes, _capsule_is_valid.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int
_ARRAY_STRUCT_DATA = 40  # the offset of `data` in NumPy's PyArrayInterface


@dataclass(slots=True, eq=False)  # not frozen: that would quadruple the time to make one
class ArrayView:
    """An array's memory: `address` of element [0, ..., 0], `strides` in elements, `owner` to keep it alive.

    `dtype` is a name in `hpacml.dtypes`. `readonly` memory must not be written. `device` is the number
    of the CUDA device that it is on, None for the host, and `stream` the one that its owner works on, if it tells.
    `borrowed` memory of a device may have another use as soon as `owner` is gone, not only behind what is under way.
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


def array_view(array: object, name: str, *, write: bool = False, gpu: bool = False) -> ArrayView:
    """The memory of a NumPy array, a Torch tensor, or what has an array interface, DLPack or a buffer.

    Raises MapError, which calls the array `name`, for any other object, for a dtype that kernels do not
    compute with, for memory that is misaligned, or not the CPU's unless `gpu`, and with `write` for read-only memory.
    """
    if type(array) is np.ndarray:
        view = _numpy_view(array, name)
    elif _is_tensor(array):
        view = _torch_view(array, name)
    else:
        view = _foreign_view(array, name, gpu)
    if view.device is not None and not gpu:
        raise _elsewhere(name, f"the memory of cuda:{view.device}", "a copy in host memory")
    if write and view.readonly:
        raise _error(name, f"is written, but its memory is read-only: {_writable_hint(array)}")
    return view


def tensor_view(tensor: torch.Tensor, device: int | None) -> ArrayView:
    """The memory of a tensor of ours, which is dense."""
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
    """What compiled code knows of an array's strides: they choose the code that runs."""

    PACKED = "packed"
    """C order without gaps."""
    ROWS = "rows"
    """The innermost stride is 1, and the others are any, as in `a[1:-1, 1:-1]`."""
    STRIDED = "strided"
    """Any strides."""


def layout_of(view: ArrayView) -> Layout:
    """The layout that tells most; the stride of a dimension of size 1 does not matter, and no elements are packed."""
    return _layout(view.shape, view.strides)


@functools.lru_cache(4096)
def _layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    counted = [n == 1 or s == p for n, s, p in zip(shape, strides, c_strides(shape), strict=True)]
    if all(counted) or 0 in shape:
        return Layout.PACKED
    return Layout.ROWS if counted[-1] else Layout.STRIDED


def extent(view: ArrayView) -> tuple[int, int]:
    """The addresses of the first byte and of the one behind the last; equal if there are no elements."""
    width = SIZES[view.dtype]
    if view.strides == c_strides(view.shape):
        return view.address, view.address + math.prod(view.shape) * width
    if 0 in view.shape:
        return view.address, view.address
    spans = [(size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)]
    low, high = sum(span for span in spans if span < 0), sum(span for span in spans if span > 0)
    return view.address + low * width, view.address + (high + 1) * width


def descriptor(view: ArrayView) -> ctypes.Array[ctypes.c_int64]:
    """The view's memref descriptor in 64-bit words: allocated, aligned, offset 0, sizes, strides."""
    words, layout = _descriptor_layout(len(view.shape))
    result = words()
    layout.pack_into(result, 0, view.address, view.address, 0, *view.shape, *view.strides)
    return result


def view_of_descriptor(address: int, dtype: str, rank: int) -> ArrayView:
    """What the ranked memref descriptor at `address` describes. Nothing keeps the memory alive."""
    words = _descriptor_layout(rank)[0].from_address(address)[:]
    origin = words[1] + words[2] * SIZES[dtype]
    return ArrayView(origin, dtype, tuple(words[3 : 3 + rank]), tuple(words[3 + rank :]), False, None)


def tensor_from_descriptor(address: int, dtype: str, rank: int) -> torch.Tensor:
    """A Torch tensor over the memory of a memref descriptor, as by `tensor_over`."""
    return tensor_over(view_of_descriptor(address, dtype, rank))


def tensor_over(view: ArrayView) -> torch.Tensor:
    """A Torch tensor over memory of the host, valid as long as that memory is.

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
    """Raises MapError for strides that Torch has not."""
    if min(strides, default=0) < 0:
        raise MapError(f"Torch has no negative strides, such as {strides}: pass an array without, such as a copy")


def array_from_descriptor(address: int, dtype: str, rank: int) -> np.ndarray[Any, np.dtype[Any]]:
    """A NumPy array over the memory of a memref descriptor, valid as long as that is; bf16 as uint16 bits."""
    return numpy_array(view_of_descriptor(address, dtype, rank))


def numpy_array(view: ArrayView) -> np.ndarray[Any, np.dtype[Any]]:
    """A NumPy array over the memory of a view, valid as long as that is; bf16 as uint16 bits."""
    kind = numpy_dtypes()[view.dtype]
    strides = [stride * kind.itemsize for stride in view.strides]
    below = sum((n - 1) * s for n, s in zip(view.shape, strides, strict=True) if s < 0 < n)
    memory: Any = _Memory.from_address(view.address + below)
    return np.ndarray(view.shape, kind, memory, -below, strides)


def _is_tensor(array: object) -> TypeGuard[torch.Tensor]:
    loaded: Any = sys.modules.get("torch")  # who has a tensor has imported Torch
    return loaded is not None and isinstance(array, loaded.Tensor)


@functools.cache
def _descriptor_layout(rank: int) -> tuple[type[ctypes.Array[ctypes.c_int64]], struct.Struct]:
    return ctypes.c_int64 * (3 + 2 * rank), struct.Struct(f"QQ{1 + 2 * rank}q")


def _numpy_view(array: np.ndarray[Any, np.dtype[Any]], name: str) -> ArrayView:
    dtype = _NUMPY_NAMES.get(array.dtype) or _custom_dtype(array.dtype, name)
    # A tenth of the time that array.ctypes takes, and documented: the C struct of the array interface.
    capsule = array.__array_struct__
    address = ctypes.c_size_t.from_address(_capsule_pointer(capsule, None) + _ARRAY_STRUCT_DATA).value
    flags, shape = array.flags, array.shape
    if not flags.aligned:
        _element_strides(name, array.strides, array.itemsize)
        raise _misaligned(name, address, dtype)
    if flags.c_contiguous:
        strides = c_strides(shape)
    else:
        strides = _element_strides(name, array.strides, array.itemsize)
    return ArrayView(address, dtype, shape, strides, not flags.writeable, array)


def _custom_dtype(dtype: np.dtype[Any], name: str) -> str:
    if dtype.name == "bfloat16" and dtype.itemsize == 2:  # of the package ml_dtypes
        return "bf16"
    if not dtype.isnative:
        raise _error(
            name,
            f"has dtype {dtype}, of foreign byte order: pass {name}.astype({name}.dtype.newbyteorder('='))",
        )
    if dtype.names is not None:
        raise _error(name, f"has a structured dtype: map its fields one by one, such as {name}[{dtype.names[0]!r}]")
    if dtype.kind == "c":
        raise _error(name, f"has dtype {dtype}: map {name}.real and {name}.imag")
    if dtype.kind == "b":
        raise _error(name, f"has dtype bool: pass {name}.view(numpy.uint8), which is the same memory")
    raise _unsupported_dtype(name, dtype)


def _torch_view(tensor: torch.Tensor, name: str) -> ArrayView:
    if not (tensor.is_cpu or tensor.is_cuda):
        raise _elsewhere(name, str(tensor.device), f"{name}.cpu()")
    if (dtype := torch_names().get(tensor.dtype)) is None:
        raise _unsupported_dtype(name, tensor.dtype)
    if tensor.is_neg():
        raise _error(name, f"is the negation of its memory: pass {name}.resolve_neg()")
    try:
        address, strides = tensor.data_ptr(), tensor.stride()
    except RuntimeError as error:
        raise _error(name, f"has no strided memory ({tensor.layout}): pass {name}.to_dense()") from error
    if address % SIZES[dtype]:
        raise _misaligned(name, address, dtype)
    # Torch would not see a write to memory that gradients depend on.
    device = tensor.device.index if tensor.is_cuda else None
    return ArrayView(address, dtype, tuple(tensor.shape), strides, tensor.requires_grad, tensor, device)


def _foreign_view(array: object, name: str, gpu: bool) -> ArrayView:
    kind = type(array)
    if issubclass(kind, np.ma.MaskedArray):
        raise _error(name, f"is a masked array: pass {name}.data, which is its memory without the mask")
    if issubclass(kind, np.generic):
        raise _error(name, f"is a scalar of type {kind.__name__}: pass an array")
    try:
        if hasattr(array, "__cuda_array_interface__"):
            if not gpu:
                raise _elsewhere(name, "CUDA memory", "a copy in host memory")
            # JAX does not tell the stream on which it computes, unless by DLPack.
            return _dlpack_view(array, name, gpu) if _is_of_jax(array) else _cuda_view(array, name)
        if hasattr(array, "__array_struct__") or hasattr(array, "__array_interface__"):
            return _numpy_view(np.asarray(array), name)
        if hasattr(array, "__dlpack__"):
            return _dlpack_view(array, name, gpu)
    except HpacmlError:
        raise
    except Exception as error:  # whatever somebody's protocol does
        raise _error(name, f"does not give its memory: {type(error).__name__}: {error}") from error
    exporter: Any = array
    try:
        buffer = memoryview(exporter)
    except TypeError:
        raise _error(name, f"is no array but a {kind.__name__}: pass a NumPy array or a Torch tensor") from None
    return _numpy_view(np.asarray(buffer), name)


def _cuda_view(array: Any, name: str) -> ArrayView:
    interface: dict[str, Any] = array.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise _error(name, "has a mask: pass its data without")
    dtype = BY_TYPE_CODE.get(interface["typestr"])
    if dtype is None:
        raise _unsupported_dtype(name, interface["typestr"])
    address, readonly = interface["data"]
    shape = tuple(interface["shape"])
    steps = interface.get("strides")
    strides = c_strides(shape) if steps is None else _element_strides(name, tuple(steps), SIZES[dtype])
    if address % SIZES[dtype]:
        raise _misaligned(name, address, dtype)
    device = _cuda_device(array, address)
    return ArrayView(address, dtype, shape, strides, readonly, array, device, interface.get("stream"))


def _cuda_device(array: Any, address: int) -> int:
    """The number of the device that an array is on."""
    if hasattr(array, "__dlpack_device__"):
        return int(array.__dlpack_device__()[1])
    from hpacml.runtime.gpu import driver

    index = driver.device_of(address)
    return 0 if index is None else index  # an empty array is nowhere


def _dlpack_view(array: Any, name: str, gpu: bool) -> ArrayView:
    kind, index = array.__dlpack_device__()
    on_cuda = kind in _DLPACK_CUDA_DEVICES
    if kind not in _DLPACK_HOST_DEVICES and not (on_cuda and gpu):
        raise _elsewhere(name, f"memory of DLPack device ({int(kind)}, {index})", "a copy in host memory")
    options: dict[str, Any] = {"stream": _dlpack_stream(int(index))} if on_cuda else {}
    try:
        try:
            capsule = array.__dlpack__(max_version=(1, 0), **options)
        except TypeError:  # from before DLPack 1.0
            capsule = array.__dlpack__(**options)
    except (BufferError, RuntimeError) as error:
        raise _error(name, f"does not give its memory through DLPack: {error}") from error
    # The capsule is read, not consumed: as the owner it keeps the memory and releases it in the end.
    if _capsule_is_valid(capsule, b"dltensor_versioned"):
        managed = _capsule_pointer(capsule, b"dltensor_versioned")
        readonly = bool(ctypes.c_uint64.from_address(managed + _DL_FLAGS_OFFSET).value & 1)
        tensor = managed + _DL_VERSIONED_TENSOR_OFFSET
    else:
        tensor, readonly = (
            _capsule_pointer(capsule, b"dltensor"),
            True,
        )  # the old form cannot say that it is writable
    data, _, _, rank, code, bits, lanes, sizes, steps, offset = _DL_TENSOR.unpack(
        ctypes.string_at(tensor, _DL_TENSOR.size)
    )
    dtype = BY_DLPACK_CODE.get((code, bits))
    if dtype is None or lanes != 1:
        raise _unsupported_dtype(name, f"({code}, {bits} bits) of DLPack")
    words = ctypes.c_int64 * rank
    shape = tuple(words.from_address(sizes)) if rank else ()
    strides = tuple(words.from_address(steps)) if rank and steps else c_strides(shape)
    address = data + offset
    if address % SIZES[dtype]:
        raise _misaligned(name, address, dtype)
    readonly |= _is_of_jax(array)
    return ArrayView(
        address, dtype, shape, strides, readonly, capsule, int(index) if on_cuda else None, borrowed=on_cuda
    )


def _is_of_jax(array: object) -> bool:
    """Whether it is an array of JAX, which never changes."""
    return type(array).__module__.partition(".")[0] in ("jax", "jaxlib")


def _dlpack_stream(index: int) -> int:
    """The stream of ours that an array is to be ready for, as DLPack calls it: the default one is 1."""
    from hpacml.runtime.gpu import device as devices

    return devices.device(index).stream or 1


def _element_strides(name: str, strides: tuple[int, ...], size: int) -> tuple[int, ...]:
    if any(stride % size for stride in strides):
        raise _error(
            name,
            f"has strides of {strides} bytes, which are no multiples of its {size}-byte elements: "
            f"pass {name}.copy(), or give the structured dtype align=True",
        )
    return tuple([stride // size for stride in strides])


def _writable_hint(array: object) -> str:
    if getattr(array, "requires_grad", False):
        return "it requires a gradient; pass its .detach()"
    return "pass a writable array"


def _error(name: str, text: str) -> MapError:
    return MapError(f"argument {name!r} {text}")


def _elsewhere(name: str, place: str, instead: str) -> MapError:
    return _error(name, f"lies in {place}, where this cannot reach it: pass {instead}")


def _misaligned(name: str, address: int, dtype: str) -> MapError:
    size = SIZES[dtype]
    return _error(
        name, f"starts at address {address:#x}, which is not aligned to its {size}-byte elements: pass a copy"
    )


def _unsupported_dtype(name: str, dtype: object) -> MapError:
    supported = ", ".join(SIZES)
    return _error(name, f"has dtype {dtype}; maps and kernels work on {supported}: pass it converted to one of these")
