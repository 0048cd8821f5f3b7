"""Views of the memory of NumPy arrays, Torch tensors, and objects with an array interface, DLPack or a buffer."""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

from hpacml.dtypes import (
    BRAIN,
    BY_DLPACK_CODE,
    BY_TYPE_CODE,
    SIZES,
    numpy_names,
)
from hpacml.errors import HpacmlError, MapError
from hpacml.runtime.arrays.refusals import (
    complex_pairs,
    elsewhere,
    misaligned,
    no_memory,
    refusal,
    tracer_of,
    unit_of,
    unsupported_dtype,
    with_unit,
)
from hpacml.runtime.arrays.torch_memory import ORDINARY, require_ordinary, torch_view
from hpacml.runtime.arrays.views import ArrayView, Foreign, c_strides, extent

if TYPE_CHECKING:
    import torch

_NUMPY_NAMES = numpy_names()

_DLPACK_HOST_DEVICES = (1, 3, 11)  # CPU, and pinned memory of CUDA and ROCm
_DLPACK_CUDA_DEVICES = (2, 13)  # memory of a device, and managed memory
_DL_TENSOR = struct.Struct("QiiiBBHQQQ")  # data, device, its index, rank, code, bits, lanes, shape, strides, offset
_DL_FLAGS_OFFSET, _DL_VERSIONED_TENSOR_OFFSET = 24, 32
_DL_READ_ONLY, _DL_COPIED = 1, 2
_NO_STREAM = -1  # an array need not be ready

# A handle of the Python API on which nobody else sets argument types.
_python = ctypes.PyDLL(None)
_capsule_pointer = _python.PyCapsule_GetPointer
_capsule_pointer.argtypes, _capsule_pointer.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_size_t
_capsule_is_valid = _python.PyCapsule_IsValid
_capsule_is_valid.argtypes, _capsule_is_valid.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int
_ARRAY_STRUCT_DATA = 40  # the offset of `data` in NumPy's PyArrayInterface


def array_view(array: object, name: str, *, write: bool = False, gpu: bool = False) -> ArrayView:
    """The memory of a NumPy array, a Torch tensor, or an object with an array interface, DLPack or a buffer.

    Raises MapError, which calls the array `name`, for any other object, for an unsupported dtype, for misaligned
    memory, without `gpu` for memory that is not the CPU's, and with `write` for read-only memory.
    """
    if type(array) is np.ndarray:
        view = _numpy_view(array, name)
    elif type(array) in ORDINARY:
        tensor: Any = array
        view = torch_view(tensor, name)
    elif is_tensor(array):
        require_ordinary(array, name)
        view = torch_view(array, name)
    else:
        view = _foreign_view(array, name, gpu)
    if view.device is not None and not gpu:
        raise elsewhere(name, f"the memory of cuda:{view.device}", "a copy in host memory")
    if write and view.readonly:
        raise refusal(name, f"is written, but its memory is read-only: {_writable_hint(array)}")
    return view


def is_still_there(owner: Foreign) -> bool:
    """Ask an object again for its memory, and tell whether that is still where it was. Raises MapError."""
    try:
        return _place(_foreign_memory(owner.array, owner.name, True, _NO_STREAM)[0]) == owner.found
    except MapError as error:
        raise refusal(owner.name, f"was an array when the call began, and is none any more: {error}") from error


def _place(view: ArrayView) -> tuple[object, ...]:
    address = 0 if 0 in view.shape else view.address
    return address, view.dtype, view.shape, view.strides, view.device


def is_tensor(array: object) -> TypeGuard[torch.Tensor]:
    """Tell whether an object is a tensor of Torch, of any class."""
    loaded: Any = sys.modules.get("torch")  # a tensor exists only once Torch is imported
    return loaded is not None and isinstance(array, loaded.Tensor)


def _numpy_view(array: np.ndarray[Any, np.dtype[Any]], name: str) -> ArrayView:
    dtype = _NUMPY_NAMES.get(array.dtype) or _custom_dtype(array.dtype, name)
    address = numpy_address(array)
    flags, shape = array.flags, array.shape
    if not address and 0 not in shape:
        raise no_memory(name, shape)
    if not flags.aligned:
        _element_strides(name, array.strides, array.itemsize)
        raise misaligned(name, address, dtype)
    if flags.c_contiguous:
        strides = c_strides(shape)
    else:
        strides = _element_strides(name, array.strides, array.itemsize)
    return ArrayView(address, dtype, shape, strides, not flags.writeable, array)


def _numpy_bounds(array: Any) -> tuple[int, int]:
    """The addresses of an array's first byte and of the byte after its last, for any dtype and strides."""
    spans = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    address = numpy_address(array)
    if not array.size:
        return address, address
    return (
        address + sum(span for span in spans if span < 0),
        address + sum(span for span in spans if span > 0) + array.itemsize,
    )


def _address_in_object(array: np.ndarray[Any, np.dtype[Any]]) -> int:
    """The address of element [0, ..., 0].

    It is the first field behind those of any object, where also C code that was compiled for NumPy reads it
    (`PyArray_DATA`). This takes a fifth of the time of the array interface.
    """
    return _word_at(id(array) + _HEAD).value


def _address_in_struct(array: np.ndarray[Any, np.dtype[Any]]) -> int:
    """The address of element [0, ..., 0], by the C struct of the array interface."""
    capsule = array.__array_struct__  # which owns the struct
    return _word_at(_capsule_pointer(capsule, None) + _ARRAY_STRUCT_DATA).value


_word_at = ctypes.c_size_t.from_address
_HEAD = object.__basicsize__


def _is_in_object() -> bool:
    """Whether arrays have their addresses where NumPy's headers say; another interpreter may have other objects."""
    samples = np.zeros(8), np.zeros((3, 4), np.int8)[1:, ::-1]
    if sys.implementation.name != "cpython":  # where id() need not be an address
        return False
    return all(_address_in_object(array) == _address_in_struct(array) for array in samples)


numpy_address = _address_in_object if _is_in_object() else _address_in_struct


def _custom_dtype(dtype: np.dtype[Any], name: str) -> str:
    if dtype.name == "bfloat16" and dtype.itemsize == 2:  # of the package ml_dtypes
        return BRAIN
    if not dtype.isnative:
        raise refusal(
            name,
            f"has dtype {dtype}, of foreign byte order: pass {name}.astype({name}.dtype.newbyteorder('='))",
        )
    if dtype.names is not None:
        raise refusal(name, f"has a structured dtype: map its fields one by one, such as {name}[{dtype.names[0]!r}]")
    if dtype.kind == "c":
        raise complex_pairs(name, dtype, f"{name}.view(numpy.float{4 * dtype.itemsize})")
    raise unsupported_dtype(name, dtype)


def _foreign_view(array: object, name: str, gpu: bool) -> ArrayView:
    kind = type(array)
    if (unit := unit_of(array)) is not None:
        raise with_unit(name, kind.__name__, unit)
    if issubclass(kind, np.ma.MaskedArray):
        raise refusal(name, f"is a masked array: pass {name}.data, which is its memory without the mask")
    if (tracer := tracer_of(kind)) is not None:  # before it is asked for attributes, all of which it has
        raise refusal(
            name,
            f"is a {kind.__name__} of {tracer}, which stands for what is there later and cannot record this: call it "
            "in a function of which torch.fx.wrap knows, or trace with torch.export, which records gather and scatter "
            "of an hpacml.functor",
        )
    if _is_of_jax(array) and kind.__name__.endswith("Tracer"):
        raise refusal(
            name,
            "is traced by JAX, which knows its elements only when the program runs: make the region with "
            "hpacml.jax.region, and call a kernel by hpacml.jax.call",
        )
    if issubclass(kind, np.generic):
        raise refusal(name, f"is a scalar of type {kind.__name__}: pass an array")
    view, stays = _foreign_memory(array, name, gpu)
    if not stays:
        view.owner = Foreign(array, name, view.owner, _place(view))
    return view


def _foreign_memory(array: object, name: str, gpu: bool, stream: int | None = None) -> tuple[ArrayView, bool]:
    """The memory of an object of others, ready on a stream, and whether it stays the same whatever the object does."""
    kind = type(array)
    try:
        if hasattr(array, "__cuda_array_interface__"):
            if not gpu:
                raise elsewhere(name, "CUDA memory", "a copy in host memory")
            # JAX tells the stream on which it computes only through DLPack.
            return _dlpack_view(array, name, gpu, stream) if _is_of_jax(array) else (_cuda_view(array, name), False)
        if hasattr(array, "__array_struct__") or hasattr(array, "__array_interface__"):
            return _interface_view(array, name), False
        if hasattr(array, "__dlpack__"):
            return _dlpack_view(array, name, gpu, stream)
    except HpacmlError:
        raise
    except Exception as error:  # a foreign protocol may raise anything
        raise refusal(name, f"does not give its memory: {type(error).__name__}: {error}") from error
    exporter: Any = array
    try:
        buffer = memoryview(exporter)
    except TypeError:
        if isinstance(array, complex):
            raise refusal(name, f"is a complex number: pass {name}.real and {name}.imag") from None
        raise refusal(name, f"is no array but a {kind.__name__}: pass a NumPy array or a Torch tensor") from None
    return _numpy_view(np.asarray(buffer), name), False


def _interface_view(array: object, name: str) -> ArrayView:
    """The memory of NumPy's array over an object, which does not look how long the buffer is that an interface names.

    It does not keep that buffer from being resized, either.
    """
    found: Any = np.asarray(array)
    view = _numpy_view(found, name)
    if isinstance(array, np.ndarray) or (buffer := _buffer(found.base)) is None:
        return view
    if found.base is array and isinstance(_interface_data(array), tuple):
        return view  # the interface gives an address, which need not be that of the object's buffer
    low, high = extent(view)
    whole = _numpy_bounds(buffer)
    if low < high and not whole[0] <= low < high <= whole[1]:
        raise refusal(
            name,
            f"has the shape {list(view.shape)}, whose elements take the bytes {low - whole[0]} to {high - whole[0]} of "
            f"its buffer, but that has {whole[1] - whole[0]} bytes: give it a buffer that is as long",
        )
    view.owner = found, buffer
    return view


def _buffer(base: Any) -> Any:
    """An array over the whole buffer that an array has as its base, which keeps it from being resized, else None."""
    if isinstance(base, np.ndarray):
        return cast(Any, base)
    try:
        return np.frombuffer(base, np.uint8)
    except TypeError:  # an object that gives an address: nobody knows how far the memory goes
        return None
    except (ValueError, BufferError):  # an object's own buffer, with strides
        return np.asarray(base)


def _interface_data(array: Any) -> object:
    interface: dict[str, object] = getattr(array, "__array_interface__", {"data": ()})
    return interface.get("data")


def _cuda_view(array: Any, name: str) -> ArrayView:
    interface: dict[str, Any] = array.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise refusal(name, "has a mask: pass its data without")
    dtype = BY_TYPE_CODE.get(interface["typestr"])
    if dtype is None:
        raise unsupported_dtype(name, interface["typestr"])
    address, readonly = interface["data"]
    shape = tuple(interface["shape"])
    steps = interface.get("strides")
    strides = c_strides(shape) if steps is None else _element_strides(name, tuple(steps), SIZES[dtype])
    if address % SIZES[dtype]:
        raise misaligned(name, address, dtype)
    if not address and 0 not in shape:
        raise no_memory(name, shape)
    device = _cuda_device(array, address)
    return ArrayView(address, dtype, shape, strides, readonly, array, device, interface.get("stream"))


def _cuda_device(array: Any, address: int) -> int:
    """The number of the device on which an array lies."""
    if hasattr(array, "__dlpack_device__"):
        return int(array.__dlpack_device__()[1])
    from hpacml.runtime.gpu import driver

    index = driver.device_of(address)
    return 0 if index is None else index  # an empty array lies on no device


def _dlpack_view(array: Any, name: str, gpu: bool, stream: int | None = None) -> tuple[ArrayView, bool]:
    """Reads DLPack by hand: NumPy lacks bf16 and GPUs; Torch drops read-only flags and aborts on negative strides.

    Tells also whether the array stays where it is: those of JAX do, and copies that were made for this.
    """
    kind, index = array.__dlpack_device__()
    on_cuda = kind in _DLPACK_CUDA_DEVICES
    if kind not in _DLPACK_HOST_DEVICES and not (on_cuda and gpu):
        raise elsewhere(name, f"memory of DLPack device ({int(kind)}, {index})", "a copy in host memory")
    options: dict[str, Any] = {"stream": stream or _dlpack_stream(int(index))} if on_cuda else {}
    try:
        capsule = _dlpack_capsule(array, options)
    except (BufferError, RuntimeError) as error:
        raise refusal(name, f"does not give its memory through DLPack: {error}") from error
    tensor, flags = _dl_tensor(capsule)
    data, _, _, rank, code, bits, lanes, sizes, steps, offset = _DL_TENSOR.unpack(
        ctypes.string_at(tensor, _DL_TENSOR.size)
    )
    dtype = BY_DLPACK_CODE.get((code, bits))
    if dtype is None or lanes != 1:
        raise unsupported_dtype(name, f"({code}, {bits} bits) of DLPack")
    words = ctypes.c_int64 * rank
    shape = tuple(words.from_address(sizes)) if rank else ()
    strides = tuple(words.from_address(steps)) if rank and steps else c_strides(shape)
    address = data + offset
    if not data and 0 not in shape:
        raise no_memory(name, shape)
    if address % SIZES[dtype]:
        raise misaligned(name, address, dtype)
    stays = _is_of_jax(array) or bool(flags & _DL_COPIED)
    readonly = stays or bool(flags & _DL_READ_ONLY)
    device = int(index) if on_cuda else None
    # The capsule has been read, not consumed: as the owner it keeps the memory, and releases it in the end.
    return ArrayView(address, dtype, shape, strides, readonly, capsule, device, borrowed=on_cuda), stays


def _dlpack_capsule(array: Any, options: dict[str, Any]) -> object:
    try:
        return array.__dlpack__(max_version=(1, 0), **options)
    except TypeError:  # from before DLPack 1.0
        return array.__dlpack__(**options)


def _dl_tensor(capsule: object) -> tuple[int, int]:
    """The address of the `DLTensor` in a capsule, and its flags."""
    if not _capsule_is_valid(capsule, b"dltensor_versioned"):
        return _capsule_pointer(capsule, b"dltensor"), _DL_READ_ONLY  # the old form cannot say that it is writable
    managed = _capsule_pointer(capsule, b"dltensor_versioned")
    return managed + _DL_VERSIONED_TENSOR_OFFSET, ctypes.c_uint64.from_address(managed + _DL_FLAGS_OFFSET).value


def _is_of_jax(array: object) -> bool:
    """Whether it is an array of JAX, which is immutable."""
    return type(array).__module__.partition(".")[0] in ("jax", "jaxlib")


def _dlpack_stream(index: int) -> int:
    """The current stream of a device, on which an array must be ready, by DLPack's number: the default stream is 1."""
    from hpacml.runtime.gpu import devices

    return devices.device(index).stream or 1


def _element_strides(name: str, strides: tuple[int, ...], size: int) -> tuple[int, ...]:
    if any(stride % size for stride in strides):
        raise refusal(
            name,
            f"has strides of {strides} bytes, which are no multiples of its {size}-byte elements: "
            f"pass {name}.copy(), or give the structured dtype align=True",
        )
    return tuple([stride // size for stride in strides])


def _writable_hint(array: object) -> str:
    if getattr(array, "requires_grad", False):
        return "it requires a gradient; pass its .detach()"
    return "pass a writable array"
