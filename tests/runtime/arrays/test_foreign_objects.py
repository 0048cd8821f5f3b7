"""Objects with memory that are neither NumPy's nor Torch's: what they have in the course of a call, and how long it is."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.errors import MapError
from hpacml.runtime.arrays.protocols import array_view

Array = Float64[np.ndarray, "n"]
POINT = "tensor functor(point: [i] = ([i]))"
F = hpacml.functor("point: [i] = ([i])")
N = 2000
OTHER_MEMORY = "has given the array 'y' other memory or sizes"


class Holder:
    """An object whose memory is that of an array, which may be exchanged."""

    def __init__(self, n: int = N) -> None:
        self.a: Any = np.full(n, 5.0)

    def exchange(self, size: int = N) -> None:
        """Exchange the array: the new one is made before the old one is freed, so that it has another address."""
        old, self.a = self.a, np.full(size, 9.0)
        del old
        gc.collect()


class ByDict(Holder):
    @property
    def __array_interface__(self) -> Any:
        return self.a.__array_interface__


class ByStruct(Holder):
    @property
    def __array_struct__(self) -> Any:
        return self.a.__array_struct__


class ByDlpack(Holder):
    def __dlpack_device__(self) -> Any:
        return self.a.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.a.__dlpack__(**options)


class ByBuffer(Holder):
    """A buffer that an interface names, which grows in place."""

    def __init__(self) -> None:
        self.a = bytearray(8 * N)

    @property
    def __array_interface__(self) -> Any:
        return {"version": 3, "typestr": "<f8", "shape": (len(self.a) // 8,), "data": self.a}

    def exchange(self, size: int = N) -> None:
        self.a = bytearray(8 * size)


def floats() -> Any:
    return (ctypes.c_double * N)()


KINDS = [ByDict, ByStruct, ByDlpack, ByBuffer]


@hpacml.region(f"{POINT} ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)")
def region(a, y, n, net):
    y.a[:] = -1.0


@hpacml.kernel
def kernel(a: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(point: [i] = ([i]))")
    with approx("ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)"):
        for i in range(n):
            y[i] = a[i]


DOORS = {"region": lambda a, y, net: region(a, y, N, net), "kernel": kernel}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("size", [N, N + 1])
def test_a_model_that_exchanges_the_memory(door: str, kind: Any, size: int) -> None:
    y, a = kind(), np.ones(N)

    def net(x: torch.Tensor) -> torch.Tensor:
        y.exchange(size)
        return x

    with pytest.raises(MapError, match=OTHER_MEMORY):
        DOORS[door](a, y, net)
    assert 1.0 not in np.asarray(array_of(y))
    if size == N:
        DOORS[door](a, y, torch.Tensor.clone)
        assert (array_of(y) == 1.0).all()


def array_of(y: Any) -> Any:
    return np.frombuffer(y.a) if isinstance(y.a, bytearray) else y.a


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_exchanges_the_memory(kind: Any, tmp_path: Path) -> None:
    @hpacml.region(f"{POINT} ml(collect) in(point(a[0:n])) out(point(y[0:n])) database('{tmp_path}/d.h5')")
    def collected(a, y, n, exchanges):
        if exchanges:
            y.exchange()
        array_of(y)[:] = 7.0

    a = np.ones(N)
    collected(a, kind(), N, False)
    with pytest.raises(MapError, match=f"the original code of collected {OTHER_MEMORY}"):
        collected(a, kind(), N, True)
    hpacml.flush()
    (recorded,) = hpacml.open_database(tmp_path / "d.h5")["collected"].outputs[0]
    assert (np.asarray(recorded) == 7.0).all()


def test_an_input_that_is_exchanged_or_gone() -> None:
    for change in (lambda x: x.exchange(), lambda x: setattr(x, "a", None)):
        a, y = ByDict(), np.zeros(N)
        with pytest.raises(MapError, match="'a'"):
            region(a, y, N, lambda x: (change(a), x)[1])  # noqa: B023
        assert not y.any()


def test_original_code_does_not_take_over_for_arrays_that_are_gone() -> None:
    @hpacml.kernel
    def tolerant(a: Array, y: Array, net: Any):
        n = len(a)
        approx("tensor functor(point: [i] = ([i]))")
        with approx("ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)", on_error="accurate"):
            for i in range(n):
                y[i] = a[i]

    for y in (ByDict(), ByDlpack(), np.full(N, 5.0)):

        def net(x: torch.Tensor) -> torch.Tensor:
            y.exchange() if isinstance(y, Holder) else y.resize((1 << 20,), refcheck=False)  # noqa: B023
            raise ValueError("failed")

        with pytest.raises(MapError, match=OTHER_MEMORY):
            tolerant(np.ones(N), y, net)
        tolerant(np.ones(N), ByDict(), lambda x: x[:1])  # which is made good


def test_code_that_runs_beside_a_model_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    hpacml.save_model(torch.nn.Sequential(torch.nn.ReLU()), path, example=torch.ones(N, dtype=torch.float64))
    monkeypatch.setenv("SURROGATE_MODEL", str(path))

    @hpacml.kernel
    def from_file(a: Array, y: Array):
        n = len(a)
        approx("tensor functor(point: [i] = ([i]))")
        with approx("ml(infer) in(point(a[0:n])) out(point(y[0:n]))"):
            for i in range(n):
                y[i] = a[i]

    y = ByDict()
    from_file(np.ones(N), y)
    assert (y.a == 1.0).all()

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if (y.a == 1.0).all():
                y.exchange()
            return function(*args, **(kwargs or {}))

    with Mode(), pytest.raises(MapError, match=OTHER_MEMORY):
        from_file(np.ones(N), y)
    assert (y.a == 9.0).all()


def test_a_scatter_asks_again_after_its_other_arguments() -> None:
    y = ByDict()

    class Source(ByDict):
        @property
        def __array_interface__(self) -> Any:
            if (y.a == 5.0).all():  # once: two exchanges may come back to the same memory
                y.exchange()
            return self.a.__array_interface__

    with pytest.raises(MapError, match=OTHER_MEMORY):
        F.scatter(Source(), "y[0:n]", y=y, n=N)
    assert (y.a == 9.0).all()
    F.scatter(np.ones(N), "y[0:n]", y=y, n=N)
    assert (y.a == 1.0).all()


def test_a_ctypes_array_that_is_resized() -> None:
    y = floats()
    with pytest.raises(MapError, match=OTHER_MEMORY):
        region(np.ones(N), y, N, lambda x: (ctypes.resize(y, 1 << 22), x)[1])


def test_what_stays_is_written() -> None:
    y = floats()
    region(np.ones(N), y, N, torch.Tensor.clone)
    assert list(y) == [1.0] * N
    for empty in (ByDict(0), ByDlpack(0)):
        region(np.ones(0), empty, 0, lambda x: (empty.exchange(0), x)[1])  # noqa: B023


@pytest.mark.parametrize("make", [lambda: np.zeros(()), lambda: torch.zeros((), dtype=torch.float64)])
def test_a_number_that_is_exchanged(make: Any) -> None:
    @hpacml.region("tensor functor(one: [i] = ([i])) ml(infer) in(one(a[0:1])) out(one(y)) model(net)")
    def single(a, y, net):
        raise AssertionError

    y = make()
    single(np.ones(1), y, torch.Tensor.clone)
    assert float(y) == 1.0

    def net(x: torch.Tensor) -> torch.Tensor:
        if isinstance(y, torch.Tensor):
            y.data = torch.zeros((), dtype=torch.float64)
        else:
            y.resize((1 << 20,), refcheck=False)
        return x

    with pytest.raises(MapError, match=OTHER_MEMORY):
        single(np.ones(1), y, net)


def test_a_copy_that_dlpack_made_is_not_written() -> None:
    class Copied(ByDlpack):
        def __dlpack__(self, **options: Any) -> Any:
            return self.a.__dlpack__(**{**options, "copy": True})

    with pytest.raises(MapError, match="'y' is written, but its memory is read-only"):
        F.scatter(np.ones(N), "y[0:n]", y=Copied(), n=N)
    region(Copied(), y := np.zeros(N), N, torch.Tensor.clone)
    assert (y == 5.0).all()


class Interface:
    def __init__(self, data: Any, shape: Any, **more: Any) -> None:
        self.__array_interface__ = {"version": 3, "typestr": "<f8", "shape": shape, "data": data, **more}


MEMORIES = [bytes, bytearray, lambda n: memoryview(bytearray(n)), lambda n: np.zeros(n, np.uint8)]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("n", [3, 10**9])
def test_buffers_that_are_too_short(memory: Any, n: int) -> None:
    short = {
        "its shape": Interface(memory(16), (n,)),
        "its strides": Interface(memory(16), (2,), strides=(8 * n,)),
        "backwards": Interface(memory(16), (2,), strides=(-8,)),
        "its offset": Interface(memory(16), (2,), offset=8 * n),
        "no memory": Interface(memory(0), (1,)),
    }
    for why, array in short.items():
        with pytest.raises(MapError, match=r"takes? the bytes -?\d+ to \d+ of its buffer, but that has (16|0) bytes"):
            array_view(array, why)
    for good in (
        Interface(memory(16), (2,)),
        Interface(memory(8), (2,), strides=(0,)),
        Interface(memory(16), (2,), strides=(-8,), offset=8),
        Interface(memory(24), (2,), offset=8),
        Interface(memory(0), (0, n)),
    ):
        array_view(good, "a")


def test_a_buffer_cannot_be_resized_during_a_call() -> None:
    data = bytearray(8 * N)
    with pytest.raises(hpacml.ModelError, match="Existing exports of data"):
        region(np.ones(N), Interface(data, (N,)), N, lambda x: (data.extend(bytes(1 << 20)), x)[1])
    data.extend(b"12345678")
