"""Memory of NumPy, Torch and others as views and descriptors, and back; nothing is copied."""

from __future__ import annotations

import array
import ctypes
import mmap
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from hpacml.dtypes import SIZES
from hpacml.errors import MapError
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import (
    ArrayView,
    Layout,
    array_from_descriptor,
    c_strides,
    descriptor,
    layout_of,
    tensor_over,
    view_of_descriptor,
)

torch = pytest.importorskip("torch")

NUMPY = {
    "bool": np.bool_,
    "u8": np.uint8,
    "i8": np.int8,
    "u16": np.uint16,
    "i16": np.int16,
    "u32": np.uint32,
    "i32": np.int32,
    "u64": np.uint64,
    "i64": np.int64,
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
}
TORCH = {
    "bool": torch.bool,
    "u8": torch.uint8,
    "i8": torch.int8,
    "u16": torch.uint16,
    "i16": torch.int16,
    "u32": torch.uint32,
    "i32": torch.int32,
    "u64": torch.uint64,
    "i64": torch.int64,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f32": torch.float32,
    "f64": torch.float64,
}
BASE = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
LAYOUTS = {
    "packed": BASE,
    "fortran": np.asfortranarray(BASE),
    "transposed": BASE.transpose(2, 0, 1),
    "window": BASE[1:, :2, 1:3],
    "steps": BASE[:, ::2, ::3],
    "reversed": BASE[::-1, :, ::-2],
    "broadcast": np.broadcast_to(BASE[0, 0], (5, 4)),
    "scalar": np.array(3, np.float32),
    "vector": BASE[0, :, 1],
    "empty": BASE[:, 3:, :],
    "one": BASE[:1, :1, ::2],
}


def memory(view: ArrayView) -> np.ndarray[Any, Any]:
    """The elements, read by address and strides alone."""
    size = SIZES[view.dtype]
    result = np.empty(view.shape, f"V{size}")
    for index in np.ndindex(view.shape):
        address = view.address + size * sum(i * s for i, s in zip(index, view.strides, strict=True))
        result[index] = ctypes.string_at(address, size)
    return result


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array).view(f"V{array.itemsize}").reshape(array.shape)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numpy_views_point_at_the_elements(layout: str) -> None:
    a = LAYOUTS[layout]
    view = array_view(a, "a")
    assert view.dtype == "f32"
    assert view.shape == a.shape
    assert view.readonly is (layout == "broadcast")
    assert view.owner is a
    np.testing.assert_array_equal(memory(view), bits(a))
    assert (layout_of(view) is Layout.PACKED) is a.flags.c_contiguous
    if a.size and not a.flags.c_contiguous:
        assert view.strides == tuple(stride // a.itemsize for stride in a.strides)


@pytest.mark.parametrize("dtype", NUMPY)
def test_numpy_dtypes(dtype: str) -> None:
    a = np.arange(6).astype(NUMPY[dtype]).reshape(2, 3)
    view = array_view(a, "a")
    assert (view.dtype, view.shape, view.strides) == (dtype, (2, 3), (3, 1))
    assert view.address == a.ctypes.data
    assert array_view(np.zeros(1, np.longlong), "a").dtype == "i64"


@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("layout", ["packed", "transposed", "steps", "empty", "scalar"])
def test_torch_views(dtype: str, layout: str) -> None:
    base = torch.arange(24).reshape(2, 3, 4).to(TORCH[dtype])
    t = {
        "packed": base,
        "transposed": base.permute(2, 0, 1),
        "steps": base[:, ::2, 1::2],
        "empty": base[:, 3:],
        "scalar": base[0, 1, 2],
    }[layout]
    view = array_view(t, "t", write=True)
    assert (view.address, view.dtype, view.shape) == (t.data_ptr(), dtype, tuple(t.shape))
    assert view.strides == t.stride()
    assert view.owner is t
    assert (layout_of(view) is Layout.PACKED) is t.is_contiguous()


def test_gradients_may_be_read_but_not_overwritten() -> None:
    t = torch.zeros(3, requires_grad=True)
    assert array_view(t, "t").readonly
    with pytest.raises(MapError, match=r"'t' is written, .* requires a gradient; pass its \.detach\(\)"):
        array_view(t, "t", write=True)
    assert not array_view(t.detach(), "t", write=True).readonly


def test_read_only_memory_may_not_be_written() -> None:
    a = np.zeros(3)
    a.flags.writeable = False
    for owner in (a, np.broadcast_to(np.zeros(1), (3,)), bytes(3)):
        assert array_view(owner, "a").readonly
        with pytest.raises(MapError, match="'a' is written, but its memory is read-only"):
            array_view(owner, "a", write=True)


class Exposes:
    """An object with the given attributes alone, and what they need."""

    def __init__(self, **attributes: Any):
        self.__dict__.update(attributes)


class Dlpack:
    def __init__(self, array: Any, versioned: bool):
        self.array = array
        self.versioned = versioned

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **arguments: Any) -> Any:
        if arguments and not self.versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self.array.__dlpack__(**arguments)


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack(versioned: bool) -> None:
    a = np.arange(12.0, dtype=np.float32).reshape(3, 4)[:, ::-2]
    view = array_view(Dlpack(a, versioned), "a")
    assert (view.address, view.dtype, view.shape, view.strides) == (a.ctypes.data, "f32", (3, 2), (4, -2))
    assert view.readonly is not versioned, "the old form cannot say that it may be written"
    t = torch.arange(4, dtype=torch.bfloat16)
    view = array_view(Dlpack(t, versioned), "t")
    assert (view.address, view.dtype, view.shape, view.strides) == (t.data_ptr(), "bf16", (4,), (1,))


def test_dlpack_memory_lives_as_long_as_the_view() -> None:
    class Owner(np.ndarray):
        alive = 0

        def __del__(self) -> None:
            Owner.alive -= 1

    a = np.zeros(1000).view(Owner)
    Owner.alive = 1
    wrapper = Dlpack(a, True)
    view = array_view(wrapper, "a")
    del a, wrapper
    assert Owner.alive == 1
    assert view.owner is not None
    del view
    assert Owner.alive == 0


def test_dlpack_refusals() -> None:
    with pytest.raises(MapError, match=r"'a' lies in memory of DLPack device \(2, 1\), where this cannot reach it"):
        array_view(Exposes(__dlpack_device__=lambda: (2, 1), __dlpack__=None), "a")
    with pytest.raises(
        MapError, match=r"'a' has dtype \(5, 64 bits\) of DLPack; maps and kernels work on bool, u8, i8"
    ):
        array_view(Dlpack(np.zeros(3, np.complex64), True), "a")
    with pytest.raises(MapError, match="'a' does not give its memory through DLPack"):
        array_view(Dlpack(np.zeros(3, ">f4"), True), "a")


def test_other_arrays() -> None:
    a = np.arange(6, dtype=np.int32).reshape(2, 3)
    by_interface = Exposes(__array_interface__=a.__array_interface__, keep=a)
    buffers = [array.array("i", range(6)), (ctypes.c_int32 * 6)(*range(6)), memoryview(a)]
    assert array_view(by_interface, "a", write=True).address == a.ctypes.data
    for buffer in buffers:
        view = array_view(buffer, "a", write=True)
        assert view.dtype == "i32"
        np.testing.assert_array_equal(memory(view).reshape(-1), bits(a).reshape(-1))
    with mmap.mmap(-1, 4096) as mapped:
        view = array_view(mapped, "a", write=True)
        assert (view.dtype, view.shape) == ("u8", (4096,))
        del view


def test_subclasses_and_records() -> None:
    record = np.zeros(4, np.dtype([("x", "f8"), ("n", "i4"), ("m", "i4")]))
    assert array_view(record["n"], "n").strides == (4,)
    assert array_view(record["x"], "x").strides == (2,)
    assert array_view(np.zeros((2, 2)).view(np.recarray), "a").shape == (2, 2)


REFUSED = {
    "long double": (
        np.zeros(2, np.longdouble),
        "has dtype float128; maps and kernels work on bool, u8, i8, u16, i16, u32",
    ),
    "time": (np.zeros(2, "M8[s]"), r"has dtype datetime64\[s\]; maps and kernels work on"),
    "complex": (
        np.zeros(2, complex),
        r"has dtype complex128: pass its pairs of real numbers, a\.view\(numpy\.float64\)",
    ),
    "complex 64": (
        np.zeros((2, 2), np.complex64).T,
        r"pass .* a\.view\(numpy\.float32\).*, or map a\.real and a\.imag",
    ),
    "Torch complex": (
        torch.zeros(2, dtype=torch.complex64),
        r"has dtype torch\.complex64: pass .* torch\.view_as_real\(a\)",
    ),
    "big-endian bool": (np.zeros(2, ">u2"), r"has dtype >u2, of foreign byte order"),
    "big-endian": (np.zeros(2, ">f8"), r"has dtype >f8, of foreign byte order: pass a\.astype"),
    "structured": (np.zeros(2, [("x", "f8")]), r"has a structured dtype: .* such as a\['x'\]"),
    "object": (np.array([None]), "has dtype object"),
    "odd strides": (
        np.zeros(4, [("x", "f4"), ("c", "i1")])["x"],
        r"has strides of \(5,\) bytes|is not aligned",
    ),
    "padded strides": (np.ndarray((2,), np.float64, bytearray(20), 0, (12,)), "no multiples|is not aligned"),
    "misaligned": (np.frombuffer(bytearray(33), np.float64, 4, 1), "is not aligned to its 8-byte elements"),
    "masked": (np.ma.masked_array(np.zeros(2), [0, 1]), r"is a masked array: pass a\.data"),
    "NumPy scalar": (np.float64(1), "is a scalar of type float64"),
    "list": ([1.0, 2.0], "is no array but a list: pass a NumPy array or a Torch tensor"),
    "None": (None, "is no array but a NoneType"),
    "CUDA": (Exposes(__cuda_array_interface__={}), "lies in CUDA memory, where this cannot reach it"),
    "Torch device": (torch.zeros(2, device="meta"), "lies in meta, where tensors have shapes and no memory"),
    "Torch float8": (torch.zeros(2, dtype=torch.float8_e5m2), "has dtype torch.float8_e5m2; maps and kernels work on"),
    "Torch sparse": (torch.zeros(2, 2).to_sparse(), r"has no strided memory .* pass a\.to_dense\(\)"),
    "Torch negated": (torch.zeros(2, dtype=torch.complex64).conj().imag, r"pass a\.resolve_neg\(\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_argument_and_the_fix(case: str) -> None:
    value, reason = REFUSED[case]
    with pytest.raises(MapError, match=reason) as caught:
        array_view(value, "a")
    assert str(caught.value).startswith("argument 'a' ")


class _Wrapper(torch.Tensor):
    @staticmethod
    def __new__(cls, elements: torch.Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, elements.shape, dtype=elements.dtype)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError


class _Dispatching(_Wrapper):
    @staticmethod
    def __new__(cls, elements: torch.Tensor) -> Any:
        return torch.Tensor._make_subclass(cls, elements)


def _shrunk(elements: int, size: int, part: slice = slice(None)) -> torch.Tensor:
    tensor = torch.zeros(elements)[part]
    tensor.untyped_storage().resize_(size)
    return tensor


def _functional() -> torch.Tensor:
    return torch._to_functional_tensor(torch.zeros(4))


def _fake() -> torch.Tensor:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.zeros(4)


def _masked() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.masked.masked_tensor(torch.zeros(4), torch.ones(4, dtype=torch.bool))


def _nested(layout: torch.layout) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=layout)


WITHOUT_MEMORY = {
    "freed": (lambda: _shrunk(4, 0), "has 4 elements and no memory for them"),
    "shrunk": (lambda: _shrunk(4, 8), "needs 16 bytes of its storage from byte 0 on, but that has 8"),
    "a view of what is shrunk": (
        lambda: _shrunk(8, 16, slice(3, None, 2)),
        "needs 20 bytes of its storage from byte 12 on",
    ),
    "zero": (lambda: torch._efficientzerotensor(4), "has 4 elements and no memory for them"),
    "functional": (_functional, "has 4 elements and no memory for them"),
    "fake": (_fake, "is a FakeTensor, whose elements need not be what its memory holds"),
    "masked": (_masked, "is a MaskedTensor, whose elements"),
    "wrapper": (lambda: _Wrapper(torch.zeros(4)), "is a _Wrapper, whose elements"),
    "dispatching": (lambda: _Dispatching(torch.zeros(4)), "is a _Dispatching, whose elements"),
    "nested": (lambda: _nested(torch.strided), r"is a nested tensor: pass one of its parts"),
    "jagged": (lambda: _nested(torch.jagged), "is a NestedTensor, whose elements"),
    "uninitialised": (torch.nn.UninitializedParameter, "is an UninitializedParameter, which has no memory yet"),
    "null": (
        lambda: Exposes(__array_interface__={"shape": (4,), "typestr": "<f4", "data": (0, False), "version": 3}),
        r"has the shape \[4\], but its memory is at address 0|does not give its memory",
    ),
}


@pytest.mark.parametrize("case", WITHOUT_MEMORY)
def test_memory_that_is_not_there_is_not_read(case: str) -> None:
    make, reason = WITHOUT_MEMORY[case]
    with pytest.raises(MapError, match=reason):
        array_view(make(), "a")


def test_tensors_of_their_storage_and_no_more_are_memory() -> None:
    storage = torch.arange(8.0)
    kept = storage[2:6:3]
    storage.untyped_storage().resize_(24)  # to the end of the last element that is left
    assert array_view(kept, "a").address == kept.data_ptr()
    gone = torch.zeros(3)
    gone.resize_(0)
    assert array_view(gone, "a").shape == (0,)
    assert array_view(torch.zeros(1).expand(5), "a").strides == (0,)
    assert array_view(torch.nn.Parameter(torch.zeros(2), requires_grad=False), "a", write=True).shape == (2,)


def test_subclasses_that_are_their_memory_are_read() -> None:
    class Image(torch.Tensor):
        """As torchvision has it: it changes no operation."""

    image = torch.arange(6.0).as_subclass(Image)
    assert array_view(image, "a", write=True).address == image.data_ptr()


@pytest.mark.parametrize("transform", [torch.vmap, torch.func.grad])
def test_tensors_of_transforms_are_refused_with_the_reason(transform: Any) -> None:
    def function(x: Any) -> Any:
        array_view(x, "a")
        return x.sum()

    with pytest.raises(MapError, match=r"'a' belongs to torch\.vmap, torch\.func\.grad or another .* outside of the"):
        transform(function)(torch.ones(3))


def test_numpy_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert array_view(np.zeros(3, ml_dtypes.bfloat16), "a").dtype == "bf16"


def test_packed_strides() -> None:
    assert c_strides((2, 3, 4)) == (12, 4, 1)
    assert c_strides(()) == ()


@pytest.mark.parametrize(
    ("shape", "strides", "layout"),
    [
        ((), (), "packed"),
        ((2, 3), (3, 1), "packed"),
        ((1, 3), (99, 1), "packed"),
        ((2, 1), (1, 7), "packed"),
        ((1,), (-5,), "packed"),
        ((0, 3), (5, 5), "packed"),
        ((3, 0), (-1, 9), "packed"),
        ((2, 3), (4, 1), "rows"),
        ((2, 3), (-3, 1), "rows"),
        ((2, 3), (0, 1), "rows"),
        ((2, 3), (1, 1), "rows"),
        ((3, 1), (9, 7), "rows"),
        ((2, 3, 4), (4, 8, 1), "rows"),
        ((2, 3), (1, 2), "strided"),
        ((1, 3), (1, 2), "strided"),
        ((2, 3), (3, -1), "strided"),
        ((2, 3), (1, 0), "strided"),
        ((3,), (-1,), "strided"),
        ((3,), (0,), "strided"),
    ],
)
def test_layouts(shape: tuple[int, ...], strides: tuple[int, ...], layout: str) -> None:
    assert layout_of(ArrayView(0, "f32", shape, strides, False, None)) == layout


@pytest.mark.parametrize(
    ("index", "layout"),
    [
        (np.s_[:, :, :], "packed"),
        (np.s_[1:], "packed"),
        (np.s_[1, 1:2, ::2], "strided"),
        (np.s_[:, 1:, 1:3], "rows"),
        (np.s_[:, :, 2:3], "rows"),
        (np.s_[::-1], "rows"),
        (np.s_[:, 1], "rows"),
        (np.s_[:, :, 1], "strided"),
        (np.s_[:, :, ::-1], "strided"),
    ],
)
def test_layouts_of_views(index: Any, layout: str) -> None:
    assert layout_of(array_view(BASE[index], "a")) == layout
    if "-1" not in str(index):
        assert layout_of(array_view(torch.from_numpy(BASE)[index], "a")) == layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_descriptors_and_back(layout: str) -> None:
    a = LAYOUTS[layout]
    view = array_view(a, "a")
    words = descriptor(view)
    rank = a.ndim
    assert words[:] == [view.address, view.address, 0, *view.shape, *view.strides]
    again = view_of_descriptor(ctypes.addressof(words), view.dtype, rank)
    assert (again.address, again.shape, again.strides) == (view.address, view.shape, view.strides)
    seen = array_from_descriptor(ctypes.addressof(words), view.dtype, rank)
    np.testing.assert_array_equal(seen, a)
    assert seen.size == 0 or np.shares_memory(seen, a)
    if min(view.strides, default=0) >= 0:
        tensor = tensor_over(view_of_descriptor(ctypes.addressof(words), view.dtype, rank))
        assert tuple(tensor.shape) == a.shape
        np.testing.assert_array_equal(tensor.numpy(), a)
        assert a.size == 0 or tensor.data_ptr() == view.address
    else:
        with pytest.raises(MapError, match="Torch has no negative strides"):
            tensor_over(view_of_descriptor(ctypes.addressof(words), view.dtype, rank))


@pytest.mark.parametrize("dtype", TORCH)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_tensors_over_descriptors_have_every_dtype(dtype: str, shape: tuple[int, ...]) -> None:
    t = torch.arange(6).to(TORCH[dtype])[: max(1, int(np.prod(shape)))]
    t = t[: int(np.prod(shape))].reshape(shape)
    words = descriptor(array_view(t, "t"))
    again = tensor_over(view_of_descriptor(ctypes.addressof(words), dtype, len(shape)))
    assert again.dtype is t.dtype
    assert again.shape == t.shape
    assert torch.equal(again, t)
    again.fill_(1)
    assert torch.equal(t, torch.ones_like(t))
    raw = array_from_descriptor(ctypes.addressof(words), dtype, len(shape))
    assert raw.dtype == NUMPY.get(dtype, np.uint16)
    np.testing.assert_array_equal(raw, t.view(torch.uint16).numpy() if dtype == "bf16" else t.numpy())


def test_offsets_of_descriptors_count() -> None:
    a = np.arange(10, dtype=np.float64)
    words = (ctypes.c_int64 * 5)(0, a.ctypes.data, 3, 2, 4)
    np.testing.assert_array_equal(array_from_descriptor(ctypes.addressof(words), "f64", 1), a[3:8:4])
    np.testing.assert_array_equal(tensor_over(view_of_descriptor(ctypes.addressof(words), "f64", 1)).numpy(), a[3:8:4])


def test_numpy_alone_does_not_import_torch() -> None:
    script = """if True:
        import sys
        import numpy
        from hpacml.runtime.arrays import protocols
        protocols.array_view(numpy.zeros(3), "a")
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_empty_tensor_may_begin_behind_its_storage() -> None:
    tensor = torch.zeros(1, 7, 5)[1:1, 1:7:2, 1:5:2]
    assert tensor.storage_offset() > tensor.untyped_storage().nbytes() // tensor.itemsize
    assert array_view(tensor, "t").shape == (0, 3, 2)
