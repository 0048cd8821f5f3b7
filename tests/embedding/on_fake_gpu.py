"""Calls functions that were built for a GPU, by a driver that interprets PTX, beside what Python gives.

`python -m tests.embedding.on_fake_gpu LIBRARY FAKE_DRIVER` writes a line for each check to the standard output: its name
and, as JSON, what went wrong, if anything.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from tests import ptx
from tests.embedding import gpu_kernels
from tests.simulated_gpu import SimulatedDevice, simulated


class FakeGpu:
    """A GPU whose driver is the fake one, and which Torch takes for the simulated one."""

    def __init__(self, library: str, driver: str, device: SimulatedDevice) -> None:
        self.driver = ctypes.CDLL(driver)  # by its name libhpacml finds it from now on
        self.driver.fake_stream.restype = ctypes.c_void_p
        self.loaded = ctypes.CDLL(library)
        self.loaded.hpacml_last_error.restype = ctypes.c_char_p
        self.device = device
        self.launched: list[tuple[str, int | None]] = []
        self._arrays = 0
        """How many have been made."""
        self._programs: dict[int, ptx.Program] = {}
        self._hooks = (
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p)(self._load),
            ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, *[ctypes.c_void_p] * 2
            )(self._launch),
            ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t)(self._memory),
        )
        self.driver.fake_hooks(*self._hooks)
        self.stream = ctypes.c_void_p(self.driver.fake_stream(0))

    def _load(self, module: int, text: bytes) -> int:
        self._programs[module] = ptx.Program(text.decode())
        return 0

    def _launch(self, module: int, name: bytes, grid: int, block: int, stream: int | None, parameters: int) -> int:
        self.launched.append((name.decode(), stream))
        self._programs[module].kernels[name.decode()].launch(
            self.device.memory, (grid, 1, 1), (block, 1, 1), parameters
        )
        return 0

    def _memory(self, address: int, size: int) -> None:
        if size:
            self.device.memory.add(address, size)
        else:
            self.device.memory.remove(address)

    def array(self, given: np.ndarray[Any, Any], gpu: int = 0) -> np.ndarray[Any, Any]:
        """An array in memory of a GPU, with the elements of another and its strides."""
        return self.array_in(self.context(gpu), given)

    def context(self, gpu: int = 0) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        self.driver.cuInit(0)
        self.driver.cuDevicePrimaryCtxRetain(ctypes.byref(found), gpu)
        return found

    def push(self, context: ctypes.c_void_p | None = None) -> None:
        self.driver.cuCtxPushCurrent_v2(self.context() if context is None else context)

    def pop(self) -> None:
        self.driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def array_in(self, context: ctypes.c_void_p, given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An array in memory of a context."""
        low, high = np.lib.array_utils.byte_bounds(given)
        address = ctypes.c_size_t()
        self.push(context)
        assert self.driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(max(1, high - low))) == 0
        self.pop()
        self._arrays += 1
        memory = (ctypes.c_char * max(1, high - low)).from_address(address.value)
        offset = given.ctypes.data - low
        made = np.ndarray(given.shape, given.dtype, memory, offset, given.strides)
        made[...] = given
        return made

    def call(self, name: str, *given: object, stream: object = None) -> int:
        words: list[object] = []
        for each in given:
            if isinstance(each, np.ndarray):
                strides = [stride // each.itemsize for stride in each.strides]
                numbers = ctypes.c_int64 * each.ndim
                words += [ctypes.c_void_p(each.ctypes.data), numbers(*each.shape), numbers(*strides)]
            elif isinstance(each, bool):
                words.append(ctypes.c_bool(each))
            elif isinstance(each, int):
                words.append(ctypes.c_int64(each))
            elif isinstance(each, float):
                words.append(ctypes.c_double(each))
            elif isinstance(each, Path):
                words.append(str(each).encode())
            else:
                words.append(each)
        return getattr(self.loaded, name)(*words, self.stream if stream is None else stream)

    @property
    def error(self) -> str:
        return self.loaded.hpacml_last_error().decode()

    def require_clean(self) -> None:
        """That nothing but arrays is left of the calls."""
        assert self.driver.fake_blocks() == self._arrays
        assert self.driver.fake_depth() == 0


LAYOUTS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "packed": np.ascontiguousarray,
    "rows": lambda a: np.pad(a, ((0, 0), (2, 3)))[:, 2:-3],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "columns": np.asfortranarray,
}


def check_kernel(gpu: FakeGpu) -> None:
    cases = [((5, 7), layout) for layout in LAYOUTS.values()]
    for shape, layout in [*cases, ((1, 3), np.ascontiguousarray), ((300, 2), np.ascontiguousarray)]:
        x, y = layout(np.random.default_rng(1).random(shape)), layout(np.zeros(shape))
        expected, result = y.copy(), ctypes.c_int64()
        there, new = gpu.array(x), gpu.array(y)
        gpu.launched.clear()
        assert gpu.call("scale", there, new, 0.3, ctypes.byref(result)) == 0, gpu.error
        assert result.value == gpu_kernels.scale.py_func(x, expected, 0.3)
        np.testing.assert_array_equal(new, expected)
        assert gpu.launched
        assert {stream for _, stream in gpu.launched} == {gpu.stream.value}
        gpu.require_clean()


def check_wrong_calls(gpu: FakeGpu) -> None:
    host, there, result = np.ones((3, 4)), gpu.array(np.ones((3, 4))), ctypes.c_int64(7)

    def refused(*given: object, status: int = 2, stream: object = None) -> str:
        assert gpu.call("scale", *given, 1.0, ctypes.byref(result), stream=stream) == status
        assert result.value == 7
        assert not gpu.launched
        return gpu.error

    message = "argument 'x' of scale() lies in memory of the host, and this function runs on a GPU"
    assert refused(host, there).startswith(message)
    assert "argument 'y' of scale() lies in memory of the host" in refused(there, host)
    assert "'M' is 4 in dimension 1 of argument 'x'" in refused(there, gpu.array(np.ones((3, 5))))
    assert "what is passed as the stream is none" in refused(there, there, stream=ctypes.c_void_p(0xBAD0))
    assert "the stream is not one of the GPU" in refused(there, there, stream=ctypes.c_void_p(0xABC0))
    second = ctypes.c_void_p(gpu.driver.fake_stream(1))
    assert "the stream is not one of the GPU" in refused(there, there, stream=second)
    elsewhere = gpu.array(np.ones((3, 4)), 1)
    message = "argument 'x' of scale() is on the GPU 0, and argument 'y' of scale() on the GPU 1"
    assert message in refused(there, elsewhere)
    gpu.driver.fake_other_context.restype = ctypes.c_void_p
    other = gpu.array_in(ctypes.c_void_p(gpu.driver.fake_other_context()), np.ones((3, 4)))
    assert "argument 'x' of scale() is memory of another context" in refused(other, there)
    gpu.require_clean()


def check_memory_that_is_too_small(gpu: FakeGpu) -> None:
    """The driver knows what was allocated at an address, and that is all that a kernel may touch."""
    rng, result = np.random.default_rng(0), ctypes.c_int64()
    there = gpu.array(rng.random((3, 4)))

    def refused(shape: tuple[int, int], strides: tuple[int, int], start: int = 0) -> str:
        numbers, address = ctypes.c_int64 * 2, ctypes.c_void_p(there.ctypes.data + 8 * start)
        array = address, numbers(*shape), numbers(*strides)
        status = gpu.loaded.scale(*array, *array, ctypes.c_double(1), ctypes.byref(result), gpu.stream)
        assert status in (0, 2)
        assert (status == 2) == (gpu.error != "") == (not gpu.launched)
        gpu.launched.clear()
        return gpu.error

    message = "argument 'x' of scale() reaches beyond its memory: with its sizes and strides it has {}"
    assert refused((4, 4), (4, 1)) == message.format("16 elements from its address, and 12 were allocated there")
    assert refused((3, 4), (4, 1)) == refused((3, 4), (-4, 1), 8) == refused((3, 4), (-4, -1), 11) == ""
    assert refused((3, 4), (4, 1), 1) == message.format("12 elements from its address, and 11 were allocated there")
    front = "{} elements in front of its address, and {} were allocated there"
    assert refused((3, 4), (-4, 1), 7) == message.format(front.format(8, 7))
    assert refused((3, 4), (-4, -1), 10) == message.format(front.format(11, 10))
    assert str(2**63 - 1) in refused((2, 2), (2**62, 2**62))
    assert refused((1, 1), (2**63 - 1, -(2**63))) == ""
    pooled = ctypes.c_size_t()  # of which a driver may know a part alone
    gpu.push()
    gpu.driver.cuMemAllocAsync(ctypes.byref(pooled), ctypes.c_size_t(1 << 12), gpu.stream)
    gpu.pop()
    numbers = (ctypes.c_int64 * 2)(4, 128)
    array = ctypes.c_void_p(pooled.value), numbers, None
    assert gpu.loaded.scale(*array, *array, ctypes.c_double(1), ctypes.byref(result), gpu.stream) == 0, gpu.error
    gpu.driver.cuMemFreeAsync(pooled, gpu.stream)
    gpu.require_clean()


def check_empty_arrays(gpu: FakeGpu) -> None:
    """No element of them is anywhere."""
    hpacml.save_model(torch.nn.Identity(), "same.pt2", example=torch.zeros(4, 1, dtype=torch.float64))
    nowhere, none = np.zeros(0), np.zeros(0, np.int64)
    gpu.launched.clear()
    assert gpu.call("refuse", nowhere, 0) == 0, gpu.error
    assert gpu.call("pick", gpu.array(np.ones(3)), none, nowhere, Path("same.pt2")) == 0, gpu.error
    assert not gpu.launched
    gpu.require_clean()


def check_errors_of_kernels(gpu: FakeGpu) -> None:
    x = gpu.array(np.zeros(4))
    assert gpu.call("refuse", x, -3) == 1
    assert gpu.error == "ValueError: n is -3, and x has 4 elements"
    assert gpu.call("refuse", x, 4) == 0
    assert gpu.error == ""
    assert x.tolist() == [4.0] * 4
    gpu.require_clean()


def check_threads(gpu: FakeGpu) -> None:
    """Two threads, each with a stream of its own, whose memory is its own, too."""
    x = np.random.default_rng(0).random((4, 6))
    arrays = [(gpu.array(x + k), gpu.array(np.zeros_like(x))) for k in range(2)]
    failed: list[str] = []

    def work(k: int) -> None:
        for _ in range(5):
            result = ctypes.c_int64()
            if gpu.call("scale", *arrays[k], 2.0, ctypes.byref(result)) != 0:
                failed.append(gpu.error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    for k, (_, y) in enumerate(arrays):
        expected = np.zeros_like(x)
        gpu_kernels.scale.py_func(x + k, expected, 2.0)
        np.testing.assert_array_equal(y, expected)
    gpu.require_clean()


def check_regions(gpu: FakeGpu) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    hpacml.save_model(network, "net.safetensors", example=torch.zeros(4, 5))
    t = np.random.default_rng(3).random((9, 12)).astype(np.float32)
    there, new = gpu.array(t), gpu.array(np.zeros_like(t))
    # the original code, collected
    assert gpu.call("heat", there, new, False, 1.0, None, Path("gpu.h5")) == 0, gpu.error
    expected = np.zeros_like(t)
    gpu_kernels.heat(t, expected, False, 1.0, None, "cpu.h5")
    np.testing.assert_array_equal(new, expected)
    # the model, on the stream that is passed, which is Torch's current one for it
    gpu.launched.clear()
    new[...] = 0
    assert gpu.call("heat", there, new, True, 1.0, Path("net.safetensors"), None) == 0, gpu.error
    expected[...] = 0
    gpu_kernels.heat(t, expected, True, 1.0, "net.safetensors", None)
    np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
    assert new.any()
    assert len(gpu.launched) >= 2
    assert {stream for _, stream in gpu.launched} == {gpu.stream.value}
    # what is wrong is told, and later calls work
    assert gpu.call("heat", there, new, True, 1.0, Path("none.safetensors"), None) == 1
    assert "none.safetensors" in gpu.error
    gpu.device.capturing = True
    assert gpu.call("heat", there, new, True, 1.0, Path("net.safetensors"), None) == 1
    assert "captured in a CUDA graph" in gpu.error
    gpu.device.capturing = False
    assert gpu.call("heat", there, new, False, 1.0, None, Path("gpu.h5")) == 0, gpu.error
    assert gpu.loaded.hpacml_stop() == 0, gpu.error
    gpu.require_clean()
    hpacml.flush()
    ours, theirs = hpacml.open_database("gpu.h5")["heat"], hpacml.open_database("cpu.h5")["heat"]
    assert (len(ours), len(theirs)) == (2, 1)
    for one, other in zip((*ours.inputs, *ours.outputs), (*theirs.inputs, *theirs.outputs), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def check_the_second_gpu(gpu: FakeGpu) -> None:
    """A call runs where its arrays are, and so does its model."""
    t = np.random.default_rng(4).random((5, 6)).astype(np.float32)
    there, new = gpu.array(t, 1), gpu.array(np.zeros_like(t), 1)
    second = ctypes.c_void_p(gpu.driver.fake_stream(1))
    assert gpu.call("heat", there, new, True, 1.0, Path("net.safetensors"), None, stream=second) == 0, gpu.error
    expected = np.zeros_like(t)
    gpu_kernels.heat(t, expected, True, 1.0, "net.safetensors", None)
    np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
    assert {stream for _, stream in gpu.launched} == {second.value}
    gpu.require_clean()


def check_maps_that_do_not_fit(gpu: FakeGpu) -> None:
    """Statuses with the messages of kernels in Python."""
    for shape in [(1, 1), (0, 5), (2, 9)]:
        given = [np.zeros(shape, np.float32) for _ in range(2)]
        told = ""
        try:
            gpu_kernels.heat(*given, True, 1.0, "net.safetensors", None)
        except hpacml.HpacmlError as error:
            told = str(error)
        status = gpu.call("heat", *map(gpu.array, given), True, 1.0, Path("net.safetensors"), None)
        assert (status, gpu.error) == (int(told != ""), told)
    gpu.require_clean()


def check_bad_indices(gpu: FakeGpu) -> None:
    hpacml.save_model(torch.nn.Identity(), "same.pt2", example=torch.zeros(4, 1, dtype=torch.float64))
    x, y = gpu.array(np.arange(10.0)), gpu.array(np.zeros(3))
    right, wrong = gpu.array(np.array([7, 0, 7])), gpu.array(np.array([7, 10, 7]))
    assert gpu.call("pick", x, right, y, Path("same.pt2")) == 0, gpu.error
    assert y.tolist() == [7, 0, 7]
    assert gpu.call("pick", x, wrong, y, Path("same.pt2")) == 0, gpu.error  # it is on its way
    assert gpu.call("pick", x, right, y, Path("same.pt2")) == 1
    assert "the index 10 lies outside a dimension that has 10 elements" in gpu.error
    assert gpu.call("pick", x, right, y, Path("same.pt2")) == 0, gpu.error
    assert gpu.call("pick", x, wrong, y, Path("same.pt2")) == 0, gpu.error
    assert gpu.loaded.hpacml_stop() == 1
    assert "the index 10 lies outside" in gpu.error
    gpu.require_clean()


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}


def main(library: str, driver: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, simulated(monkeypatch, 2) as devices:
        devices[1].memory = devices[0].memory
        gpu = FakeGpu(library, driver, devices[0])
        for name, check in CHECKS.items():
            wrong = ""
            gpu.launched.clear()
            try:
                check(gpu)
            except BaseException:
                wrong = traceback.format_exc()
            print(name, json.dumps(wrong), flush=True)
        hpacml.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
