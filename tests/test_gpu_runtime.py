"""The runtime for GPUs on a simulated device: what cannot be seen, or made to happen, on a real one."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import locks
from hpacml.backend import host_and_device
from hpacml.frontend.kernel import Kernel
from hpacml.runtime.gpu import (
    compilation,
    devices,
    driver,
    flags,
    graphs,
    kernels,
    timing,
)
from hpacml.runtime.models import aotinductor
from hpacml.runtime.models.traits import traits
from tests.gpu import stencil
from tests.gpu.test_device_calls import add, scaled
from tests.machines import Simulated, missing_gpu
from tests.simulated_gpu import Event, OnDevice, SimulatedDevice, TensorOnDevice, choose, current, simulated

PAIRS = hpacml.functor("pairs: [i, 0:2] = ([i], [i + 1])")
ONE = hpacml.functor("one: [i, 0:1] = ([i])")
Vector = Float64[np.ndarray, "N"]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[SimulatedDevice]]:
    """Two devices."""
    monkeypatch.chdir(tmp_path)
    with simulated(monkeypatch, 2) as two:
        yield two
        hpacml.flush()


@pytest.fixture
def machine(known: list[SimulatedDevice]) -> Simulated:
    return Simulated(known)


@pytest.fixture
def device(known: list[SimulatedDevice]) -> SimulatedDevice:
    return known[0]


# -- devices -----------------------------------------------------------------------------------------


def test_each_device_runs_what_it_has_the_arrays_of(machine: Simulated) -> None:
    kernel = Kernel(add.py_func)
    for index in (0, 1, 1, 0):
        a, b = np.ones((3, 4)), np.ones((3, 4))
        kernel(machine.there(a, index), machine.there(b, index))
        np.testing.assert_array_equal(a, 11 + np.arange(3.0)[:, None] + np.zeros(4))
    assert [len(each.launched) for each in machine.devices] == [2, 2]
    assert [each.loads for each in machine.devices] == [1, 1]


def test_arrays_of_two_devices_are_an_error(machine: Simulated) -> None:
    with pytest.raises(hpacml.MapError, match="'a' is on cuda:0, 'b' is on cuda:1"):
        add(machine.there(np.ones((3, 4))), machine.there(np.ones((3, 4)), 1))


def test_threads_load_kernels_once(machine: Simulated) -> None:
    kernel = Kernel(add.py_func)
    arrays = [np.ones((3, 4)) for _ in range(8)]
    threads = [threading.Thread(target=kernel, args=(machine.there(a), machine.there(np.ones((3, 4))))) for a in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert machine.device.loads == 1
    assert all((a == arrays[0]).all() for a in arrays)


def test_compiled_code_comes_from_the_cache(
    machine: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPACML_CACHE", "1")
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path / "cache"))
    Kernel(add.py_func)(machine.there(np.ones((3, 4))), machine.there(np.ones((3, 4))))

    def lower(text: str) -> str:
        raise AssertionError("nothing is compiled")

    monkeypatch.setattr(host_and_device, "outline", lower)
    a = np.ones((3, 4))
    Kernel(add.py_func)(machine.there(a), machine.there(np.ones((3, 4))))
    assert a[0, 0] == 11


def test_original_code_may_choose_another_device(machine: Simulated) -> None:
    here, other = machine.devices
    heat = stencil.region(lambda t, new: choose(other), f"ml(collect) {stencil.CLAUSES} database('heat.h5')")
    heat(*(machine.there(grid) for grid in stencil.grids()), 9, 11, None)
    assert len(here.launched) == 2
    assert not other.launched
    assert current() is None


def test_a_call_is_recorded_on_its_device(machine: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []
    monkeypatch.setattr(Event, "synchronize", lambda event: found.append(current()))
    heat = stencil.region(lambda t, new: None, f"ml(collect) {stencil.CLAUSES} database('heat.h5')")
    for index in 1, 0:
        heat(*(machine.there(grid, index) for grid in stencil.grids()), 9, 11, None)
    hpacml.flush()
    assert found == machine.devices[::-1]


def test_a_device_that_cannot_be_entered_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    class Chosen:
        def __init__(self, index: int) -> None:
            pass

        def __enter__(self) -> None:
            steps.append("enter")

        def __exit__(self, *raised: object) -> None:
            steps.append("exit")

    def enter(context: object) -> None:
        raise hpacml.DeviceError("no")

    monkeypatch.setattr(torch.cuda, "device", Chosen)
    monkeypatch.setattr(driver, "enter", enter)
    with pytest.raises(hpacml.DeviceError, match="no"), devices._Active(0, None):
        pass
    assert steps == ["enter", "exit"]


# -- streams -----------------------------------------------------------------------------------------


def test_the_streams_of_owners_are_waited_for_and_wait(device: SimulatedDevice) -> None:
    a, out = np.arange(5.0), torch.zeros(4, 2, dtype=torch.float64)
    x = PAIRS.gather("a[0:4]", a=OnDevice(a, device, stream=7))
    assert device.order == [("wait for", 7), ("launch", 0), ("have wait", 7)]
    device.order.clear()
    device.stream = 7
    ONE.scatter(OnDevice(x[:, 1:].numpy().copy(), device, stream=9), "a[0:4]", a=OnDevice(a, device, stream=7))
    assert device.order == [("wait for", 9), ("launch", 7), ("have wait", 9)]
    assert a.tolist() == [1, 2, 3, 4, 4]
    device.order.clear()
    PAIRS.gather("a[0:4]", a=OnDevice(a, device), out=Simulated([device]).there(out))
    assert device.order == [("launch", 7)]


def test_streams_of_arrays_beside_arrays_of_the_host(device: SimulatedDevice) -> None:
    a = np.zeros(5)
    functor = hpacml.functor("one: [i, 0:1] = ([i])", target="gpu")
    functor.scatter(OnDevice(np.ones((5, 1)), device, stream=7), "a[0:5]", a=a)
    assert device.order == [("wait for", 7), ("launch", 0), ("have wait", 7)]
    assert a.tolist() == [1.0] * 5


def test_a_promised_copy_is_that_of_a_stream(device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    pinned = device.pinned
    monkeypatch.setattr(device, "pinned", lambda size: sizes.append(size) or pinned(size))
    a, functor = np.zeros(5), hpacml.functor("one: [i, 0:1] = ([i])", target="gpu")
    with hpacml.unchanged(a):
        for stream in 0, 5, 0, 5:
            device.stream = stream
            functor.gather("a[0:3]", a=a)
    assert sizes == [40, 40]


def test_graphs_are_those_of_a_stream(machine: Simulated) -> None:
    a, net = machine.there(np.ones((4, 5))), torch.nn.Identity()
    for stream in 0, 5, 0:
        machine.device.stream = stream
        for _ in range(4):
            scaled(a, 2.0, net)
    assert (machine.captures, machine.replays) == (2, 6)
    assert (a.array == 2.0**12).all()


def test_nothing_is_waited_for(machine: Simulated) -> None:
    t, new = (machine.there(grid) for grid in stencil.grids())
    heat = stencil.region(stencil.refuse)
    for _ in range(6):
        heat(t, new, 9, 11, stencil.network())
    assert machine.device.synchronized == 0


def test_only_what_comes_back_to_the_host_is_waited_for(device: SimulatedDevice) -> None:
    functor = hpacml.functor("one: [i, 0:1] = ([i])", target="gpu")
    functor.gather("a[0:3]", a=np.zeros(3))
    assert device.synchronized == 0
    functor.scatter(np.zeros((3, 1)), "a[0:3]", a=np.zeros(3))
    assert device.synchronized == 1


class ArrayOfJax(TensorOnDevice):
    """JAX does not tell its stream by the CUDA array interface."""

    __module__ = "jaxlib._jax"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        t = self.tensor
        return {"shape": t.shape, "typestr": "<f8", "data": (t.data_ptr(), False), "version": 2}


def test_arrays_of_jax_are_ready_for_our_stream(device: SimulatedDevice) -> None:
    a = ArrayOfJax(torch.arange(5.0, dtype=torch.float64), device)
    device.stream = 7
    np.testing.assert_array_equal(PAIRS.gather("a[0:4]", a=a)[:, 1], [1, 2, 3, 4])
    assert a.streams == [7]
    with pytest.raises(hpacml.MapError, match="'a' is written, but its memory is read-only"):
        ONE.scatter(Simulated([device]).there(np.zeros((5, 1))), "a[0:5]", a=a)


def test_what_is_borrowed_is_kept_until_the_device_is_done(
    device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []

    class Lent(TensorOnDevice):
        def __dlpack__(self, **options: Any) -> Any:
            array = self.tensor.numpy()[:]
            held.append(weakref.ref(array))
            options.pop("stream")
            return array.__dlpack__(**options)

    def call() -> None:
        PAIRS.gather("a[0:4]", a=Lent(torch.arange(5.0), device))

    with monkeypatch.context() as busy:
        busy.setattr(Event, "query", lambda event: False)
        for _ in range(3):
            call()
    assert [array() is None for array in held] == [False] * 3
    PAIRS.gather("a[0:4]", a=OnDevice(np.arange(5.0), device))
    assert [array() is None for array in held] == [True] * 3


def test_a_scatter_within_an_array_copies_behind_its_owner(
    device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = device.tensor
    monkeypatch.setattr(device, "tensor", lambda view: device.order.append(("copy", device.stream)) or tensor(view))
    a = np.arange(6.0)
    ONE.scatter(OnDevice(a[4::-1, None], device, stream=9), "a[1:6]", a=OnDevice(a, device, stream=9))
    assert device.order == [("wait for", 9), ("copy", 0), ("launch", 0), ("have wait", 9)]
    assert a.tolist() == [0, 4, 3, 2, 1, 0]


# -- graphs ------------------------------------------------------------------------------------------


def test_what_cannot_be_captured_runs_as_before(
    machine: Simulated, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin = SimulatedDevice.capture

    def capture(device: SimulatedDevice, run: Callable[[], None]) -> Any:
        begin(device, run)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(SimulatedDevice, "capture", capture)
    a, net = machine.there(np.ones((4, 5))), torch.nn.Identity()
    with caplog.at_level(logging.WARNING, "hpacml"):
        for factor in 2.0, 3.0:  # it is the model that cannot be captured
            for call in range(8):
                machine.fill(a, np.ones((4, 5)))
                scaled(a, factor, net)
                assert (a.array == factor).all(), call
    assert machine.captures == 1
    (record,) = caplog.records
    assert record.message == (
        "calls of scaled cannot be replayed as a CUDA graph, and run as before: "
        "operation not permitted when stream is capturing"
    )


def test_captures_that_fail_before_a_model_runs_are_given_up(
    machine: Simulated, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def capture(device: SimulatedDevice, run: Callable[[], None]) -> Any:
        raise RuntimeError("no stream")

    monkeypatch.setattr(SimulatedDevice, "capture", capture)
    a, kernel = machine.there(np.ones((4, 5))), Kernel(scaled.py_func)
    with caplog.at_level(logging.WARNING, "hpacml"):
        for net in torch.nn.Identity(), torch.nn.Identity():
            for _ in range(8):
                kernel(a, 2.0, net)
    assert [record.message for record in caplog.records] == [
        "calls of scaled cannot be replayed as a CUDA graph, and run as before: no stream"
    ]
    assert (a.array == 2.0**16).all()


class Alone(torch.nn.Module):
    """A network that notes how many threads are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.most = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.01)
        self.inside -= 1
        return x


def test_a_graph_is_launched_by_one_thread_at_a_time(machine: Simulated) -> None:
    a, net = machine.there(np.ones((4, 5))), Alone()
    for _ in range(4):
        scaled(a, 2.0, net)
    threads = [threading.Thread(target=scaled, args=(a, 2.0, net)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert machine.replays == 7
    assert net.most == 1


# -- inside of graphs that others capture ------------------------------------------------------------


@pytest.fixture
def capturing(device: SimulatedDevice) -> Callable[[], AbstractContextManager[None]]:
    """Somebody captures on the current stream."""

    @contextmanager
    def capturing() -> Iterator[None]:
        device.capturing = True
        try:
            yield
        finally:
            device.capturing = False

    return capturing


Capturing = Callable[[], AbstractContextManager[None]]
LINE = hpacml.functor("f: [i] = ([i])")


def test_the_first_call_that_checks_indices_is_not_captured(machine: Simulated, capturing: Capturing) -> None:
    a, r = machine.there(np.arange(5.0)), machine.there(np.array([1, 2]))
    with capturing(), pytest.raises(hpacml.DeviceError, match="on the GPU 0: call it once before capturing"):
        LINE.gather("a[r[0:2]]", a=a, r=r)
    LINE.gather("a[r[0:2]]", a=a, r=r)
    with capturing():
        assert LINE.gather("a[r[0:2]]", a=a, r=r).tolist() == [1, 2]


def test_captured_calls_have_a_flag_that_is_looked_at_later(machine: Simulated, capturing: Capturing) -> None:
    a, r = machine.there(np.arange(5.0)), machine.there(np.array([1, 2]))
    LINE.gather("a[r[0:2]]", a=a, r=r)
    machine.fill(r, np.array([1, 5]))
    before = machine.device.synchronized
    with capturing():
        for _ in range(2):
            LINE.gather("a[r[0:2]]", a=a, r=r)
        hpacml.flush()
    assert machine.device.synchronized == before
    with pytest.raises(hpacml.MapError, match="the index 5 lies outside a dimension that has 5 elements"):
        hpacml.flush()
    hpacml.flush()


def test_checks_that_wait_are_not_captured(
    machine: Simulated, capturing: Capturing, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, r = machine.there(np.ones((4, 5))), machine.there(np.array([1, 2]))
    monkeypatch.setenv("HPACML_CHECK", "sync,finite")
    with capturing(), pytest.raises(hpacml.DeviceError, match="HPACML_CHECK=sync cannot be captured in a CUDA graph"):
        LINE.gather("a[r[0:2]]", a=machine.there(np.arange(5.0)), r=r)
    with capturing(), pytest.raises(hpacml.DeviceError, match="HPACML_CHECK=finite cannot be captured"):
        scaled(a, 2.0, torch.nn.Identity())


def test_captured_calls_wait_for_nothing_outside(device: SimulatedDevice, capturing: Capturing) -> None:
    with capturing():
        PAIRS.gather("a[0:4]", a=OnDevice(np.arange(5.0), device, stream=7))
    assert device.order == [("launch", 0)]


def test_captured_calls_have_no_times(machine: Simulated, capturing: Capturing) -> None:
    a, net = machine.there(np.ones((4, 5))), torch.nn.Identity()
    hpacml.report(reset=True)
    hpacml.timing()
    try:
        with capturing():
            scaled(a, 2.0, net)
            ONE.gather("b[0:5]", b=machine.there(np.ones(5)))
        assert not timing._records
        assert not any(sum(each.calls.values()) for each in hpacml.report(reset=True).values())
    finally:
        hpacml.timing(False)
    assert (a.array == 2).all()


def test_original_code_is_not_captured(machine: Simulated, capturing: Capturing) -> None:
    there = [machine.there(grid) for grid in stencil.grids()]
    with capturing(), pytest.raises(hpacml.DeviceError, match="original code cannot be captured in a CUDA graph"):
        stencil.region(stencil.refuse)(*there, 9, 11, None, False)


def test_collecting_is_not_captured(machine: Simulated, capturing: Capturing) -> None:
    there = [machine.there(grid) for grid in stencil.grids()]
    ml = f"ml(collect) {stencil.CLAUSES} database('heat.h5') sample(every: 2)"
    with capturing(), pytest.raises(hpacml.DeviceError, match="collecting cannot be captured in a CUDA graph"):
        stencil.region(stencil.refuse, ml)(*there, 9, 11, None)


def test_numbers_of_calls_and_a_truth_are_collected(machine: Simulated) -> None:
    ml = f"ml(collect) {stencil.CLAUSES} truth(one(t[1:n-1, 1:m-1])) meta(size: n * 0.5) database('told.h5')"
    heat, grids = stencil.region(lambda t, new: None, ml), stencil.grids()
    for _ in range(6):
        heat(*map(machine.there, grids), 9, 11, None)
    hpacml.flush()
    with hpacml.open_database("told.h5") as database:
        found = database["heat"]
        assert found.meta["size"][:].tolist() == [4.5] * 6
        np.testing.assert_array_equal(found.outputs[0][5][..., 0], grids[0][1:-1, 1:-1])


def test_arrays_of_the_host_are_not_captured(machine: Simulated, capturing: Capturing) -> None:
    functor = hpacml.functor("one: [i, 0:1] = ([i])", target="gpu")
    with capturing(), pytest.raises(hpacml.DeviceError, match="arrays of the host cannot be captured"):
        functor.gather("a[0:3]", a=np.zeros(3))


# -- captures by Torch -------------------------------------------------------------------------------


class TorchGraph:
    """A graph of Torch, which notes how it was captured."""

    ended: list[TorchGraph] = []

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.pool, self.stream = pool, TorchStream.current

    def capture_end(self) -> None:
        self.ended.append(self)

    def replay(self) -> None:
        pass


class TorchStream:
    current: int | None = None

    def __init__(self, handle: int, device: object) -> None:
        self.handle = handle


@pytest.fixture
def torch_device(monkeypatch: pytest.MonkeyPatch) -> devices.Device:
    """A device as it is, with a driver and a Torch that do nothing."""

    @contextmanager
    def stream(of: TorchStream) -> Iterator[None]:
        TorchStream.current = of.handle
        try:
            yield
        finally:
            TorchStream.current = None

    TorchGraph.ended = []
    monkeypatch.setattr(driver, "primary_context", lambda index: None)
    monkeypatch.setattr(driver, "launcher", lambda: 0)
    monkeypatch.setattr(driver, "new_stream", itertools.count(100).__next__)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", itertools.count(1).__next__)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", TorchGraph)
    monkeypatch.setattr(torch.cuda, "ExternalStream", TorchStream)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(devices.Device, "stream", 0)
    return devices.Device(0)


def test_graphs_of_a_stream_share_memory_as_long_as_there_is_one(
    torch_device: devices.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def capture() -> tuple[int | None, Any]:
        kept.append(torch_device.capture(lambda: None))
        return TorchGraph.ended[-1].stream, TorchGraph.ended.pop().pool

    kept: list[Any] = []
    assert [capture(), capture()] == [(100, 1), (100, 1)]
    monkeypatch.setattr(devices.Device, "stream", 5)
    assert capture() == (101, 2)
    monkeypatch.setattr(devices.Device, "stream", 0)
    assert capture() == (100, 1)
    kept.clear()
    assert capture() == (100, 3)


def test_a_capture_that_fails_leaves_nothing_behind(
    torch_device: devices.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[tuple[int, int]] = []
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda *pool: closed.append(pool), raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda *pool: closed.append(pool), raising=False)
    kept = torch_device.capture(lambda: None)
    with pytest.raises(ZeroDivisionError):
        torch_device.capture(lambda: 1 // 0)
    assert closed == [(0, 1), (0, 1)]
    assert TorchStream.current is None
    assert len(TorchGraph.ended) == 2
    torch_device.capture(lambda: None)
    assert (TorchGraph.ended[-1].stream, TorchGraph.ended[-1].pool) == (101, 2)
    del kept


def test_a_capture_that_lacks_memory_is_tried_again_with_what_torch_keeps(
    torch_device: devices.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = False

    def empty() -> None:
        nonlocal free
        free = True

    def run() -> None:
        if not free:
            try:
                raise torch.OutOfMemoryError
            except torch.OutOfMemoryError as error:
                raise hpacml.ModelError("the model has failed") from error

    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    for name in "_cuda_endAllocateToPool", "_cuda_releasePool":
        monkeypatch.setattr(torch._C, name, lambda *pool: None, raising=False)
    torch_device.capture(run)
    assert [graph.stream for graph in TorchGraph.ended] == [100, 101]


def test_waiting_for_a_device_waits_for_captures(torch_device: devices.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda index: done.append("synchronized"))
    other = threading.Thread(target=torch_device.synchronize_all)

    def run() -> None:
        other.start()
        other.join(0.1)
        done.append("captured")

    torch_device.capture(run)
    other.join()
    assert done == ["captured", "synchronized"]


def test_threads_get_the_same_device(real: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self, index: int) -> None:
            time.sleep(0.05)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices, "Device", Slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(devices.device, [1] * 4))
    assert len(set(found)) == 1
    assert devices.device(0) is not found[0]


@pytest.mark.parametrize(("name", "index"), [("cuda:1", 1), ("cuda", -1), ("cpu", -1)])
def test_packages_are_loaded_on_the_device_that_asks(name: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_inductor", SimpleNamespace(aoti_load_package=lambda file, device_index: device_index))
    assert aotinductor.read(io.BytesIO(), name).run == index


# -- captured graphs ---------------------------------------------------------------------------------


def test_a_call_within_a_capture_begins_none(machine: Simulated) -> None:
    a, net = machine.there(np.ones((4, 5))), torch.nn.Identity()
    for _ in range(3):
        scaled(a, 2.0, net)
    machine.device.capturing = True
    scaled(a, 2.0, net)
    machine.device.capturing = False
    assert machine.captures == 0
    assert (a.array == 16.0).all()


def test_calls_that_are_all_different_are_forgotten(machine: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST", 1)
    kernel, net = Kernel(scaled.py_func), torch.nn.Identity()
    a = machine.there(np.ones((4, 5)))
    for factor in range(40):
        kernel(a, 1.0 + factor, net)
    assert len(kernel._dispatcher._only._offload._graphs._calls) <= 18
    for _ in range(5):
        kernel(a, 0.0, net)
    assert machine.replays == 2


# -- memory ------------------------------------------------------------------------------------------


def test_memory_that_a_call_lacks(machine: Simulated) -> None:
    t, new = stencil.grids()
    there, kept = (machine.there(t), machine.there(new)), new.copy()
    heat = stencil.region(stencil.refuse)
    machine.device.left = 100
    with pytest.raises(hpacml.DeviceError, match=r"the GPU 0 has no memory for a tensor of 126\d bytes: simulated"):
        heat(*there, 9, 11, stencil.network())
    np.testing.assert_array_equal(new, kept)
    machine.device.left = 1 << 30
    heat(*there, 9, 11, stencil.network())
    np.testing.assert_array_equal(new, stencil.inferred(t, kept, stencil.network()))


def test_memory_of_calls_is_given_back(machine: Simulated) -> None:
    there = [machine.there(grid) for grid in stencil.grids()]
    heat, net = stencil.region(stencil.refuse), stencil.network()
    before = len(machine.device.memory.starts)
    for _ in range(3):
        heat(*there, 9, 11, net)
    assert len(machine.device.memory.starts) == before


@pytest.fixture
def asked(machine: Simulated, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often Python was asked for memory since the last time."""
    calls, empty = [0], machine.device.empty

    def counted(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        calls.append(calls.pop() + 1)
        return empty(shape, dtype)

    def since() -> int:
        (count,), calls[:] = calls, [0]
        return count

    monkeypatch.setattr(machine.device, "empty", counted)
    return since


def test_a_call_has_the_memory_that_the_call_before_took(machine: Simulated, asked: Callable[[], int]) -> None:
    heat, net = stencil.region(stencil.refuse), stencil.network()
    counts = []
    for shape in (9, 11), (9, 11), (20, 30), (9, 11), (20, 30):
        t, new = stencil.grids(*shape)
        expected = stencil.inferred(t, new, net)
        heat(machine.there(t), machine.there(new), *shape, net)
        np.testing.assert_array_equal(new, expected)
        counts.append(asked())
    # Two tensors; the memory for both; that, and both that are too large for it.
    assert counts == [2, 1, 3, 1, 3]


def test_memory_that_there_is_not_in_one_piece(machine: Simulated, asked: Callable[[], int]) -> None:
    heat, net, (t, new) = stencil.region(stencil.refuse), stencil.network(), stencil.grids()
    expected = stencil.inferred(t, new, net)
    there = machine.there(t), machine.there(new)
    heat(*there, *t.shape, net)
    machine.device.left = 1300
    heat(*there, *t.shape, net)
    np.testing.assert_array_equal(new, expected)
    assert asked() == 2 + 3


@hpacml.kernel
def steps(a: Vector, b: Vector, count: int, net: Any):
    hpacml.approx("tensor functor(pairs: [i, 0:2] = ([i], [i + 1]))\ntensor functor(one: [i, 0:1] = ([i]))")
    n = a.shape[0]
    for step in range(count):
        with hpacml.approx("ml(infer) in(pairs(a[0:n-1])) out(one(b[0:n-1])) model(net)"):
            for i in hpacml.prange(n):
                b[i] = 0.0
        for i in hpacml.prange(n):
            a[i] = b[i]


@pytest.mark.parametrize(("reserved", "requests"), [(compilation.RESERVED, 1), (1024, 5)])
def test_memory_of_each_step(
    machine: Simulated, asked: Callable[[], int], reserved: int, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call may not have at once it asks for, and gives back, in each step."""
    monkeypatch.setattr(compilation, "RESERVED", reserved)
    a, b = np.random.rand(2, 9)
    kernel, there = Kernel(steps.py_func), (machine.there(a), machine.there(b))
    for call in range(3):
        expected = a.copy()
        for _ in range(5):
            expected = np.append(expected[:-1] + expected[1:], b[-1])
        kernel(*there, 5, lambda x: x.sum(-1, keepdim=True))
        np.testing.assert_array_equal(a, expected)
        assert asked() == (requests if call else 5)


def test_memory_for_transfers_that_is_missing(machine: Simulated) -> None:
    machine.device.left = 100
    t, new = stencil.grids()
    kept = new.copy()
    with pytest.raises(hpacml.DeviceError, match="no memory for a tensor of 396 bytes"):
        stencil.region(stencil.refuse, target="gpu")(t, new, 9, 11, stencil.network())
    np.testing.assert_array_equal(new, kept)


# -- reports -----------------------------------------------------------------------------------------


def test_times_are_counted_before_there_are_too_many(machine: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "KEPT", 4)
    a, net = machine.there(np.ones((4, 5))), torch.nn.Identity()
    hpacml.report(reset=True)
    hpacml.timing()
    try:
        for _ in range(20):
            scaled(a, 1.0, net)
        assert len(timing._records) <= 4
        assert sum(each.calls["infer"] for each in hpacml.report().values()) == 20
    finally:
        hpacml.timing(False)


class EventOfParent:
    """An event that only this process can ask."""

    def __init__(self) -> None:
        self.owner = os.getpid()

    def query(self) -> bool:
        return os.getpid() == self.owner

    def synchronize(self) -> None:
        if os.getpid() != self.owner:
            os._exit(3)

    def elapsed_time(self, end: object) -> float:
        return 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_has_neither_the_calls_nor_the_locks_of_its_parent(
    machine: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.2)  # a fork waits for locks
    LINE.gather("a[r[0:2]]", a=machine.there(np.arange(5.0)), r=machine.there(np.array([1, 2])))
    hpacml.report(reset=True)
    site = json.dumps({"label": "forked", "way": "infer", "stages": ["replay"]}).encode()
    timing.record(site, [EventOfParent(), EventOfParent()], [0])
    with ThreadPoolExecutor(1) as another:
        for module in timing, flags, kernels:
            another.submit(module._lock.acquire).result()
        if (child := os.fork()) == 0:
            free = all(module._lock.acquire(blocking=False) for module in (timing, flags, kernels))
            os._exit(0 if free and not timing._records and not flags._shared else 1)
        for module in timing, flags, kernels:
            another.submit(module._lock.release).result()
    assert os.waitpid(child, 0)[1] == 0
    assert hpacml.report(reset=True)["forked"].calls["infer"] == 1


# -- without a GPU -----------------------------------------------------------------------------------


def test_importing_it_loads_neither_torch_nor_cuda() -> None:
    code = "import hpacml, sys; print([name for name in ('torch', 'cuda', 'numpy') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_calls_on_the_host_load_nothing_of_gpus() -> None:
    code = (
        "import hpacml, numpy, sys, torch\n"
        "a, f = numpy.zeros(5), hpacml.functor('f: [i, 0:1] = ([i])')\n"
        "f.scatter(f.gather('a[0:3]', a=a), 'a[0:3]', a=a)\n"
        "names = 'devices', 'driver', 'compilation', 'collecting'\n"
        "print([name for name in names if 'hpacml.runtime.gpu.' + name in sys.modules], torch.cuda.is_initialized())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(hpacml.__file__).parents[1])}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.strip() == "[] False"


TARGET = hpacml.functor("f: [i, 0:1] = ([i])", target="gpu")


@pytest.fixture
def real() -> Iterator[None]:
    """Devices as they are."""
    devices._devices.clear()
    yield
    devices._devices.clear()


def test_no_cuda_in_torch(real: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(hpacml.DeviceError, match="the GPU 0 cannot be used: this Torch is built without CUDA"):
        TARGET.gather("a[0:3]", a=np.zeros(3))


def test_no_gpu(real: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(hpacml.DeviceError, match="the GPU 0 cannot be used: Torch finds no GPU"):
        stencil.region(stencil.refuse, target="gpu")(*stencil.grids(), 9, 11, abs)


def test_a_driver_that_is_too_old_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    def available() -> bool:
        warnings.warn("the driver is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", available)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert missing_gpu.__wrapped__() == "Torch finds no GPU: the driver is too old"


def test_no_such_gpu(real: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(hpacml.DeviceError, match="there is no GPU 3: Torch finds 2"):
        devices.device(3)


def test_an_array_of_a_gpu_that_there_is_not(real: None) -> None:
    class Foreign:
        __cuda_array_interface__ = {"shape": (3,), "typestr": "<f8", "data": (4096, False), "version": 3}

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 99

    with pytest.raises(hpacml.DeviceError, match="GPU 99"):
        ONE.gather("a[0:3]", a=Foreign())


@pytest.mark.parametrize("target", ["gpus", "", 1])
def test_unknown_targets(target: Any) -> None:
    for make in hpacml.functor, hpacml.region:
        with pytest.raises(hpacml.DirectiveError, match="target is 'cpu', 'gpu', or None"):
            make("one: [i, 0:1] = ([i])", target=target)
    with pytest.raises(hpacml.CompileError, match="target='gpu'"):
        hpacml.kernel(target=target)


def test_parts_of_arrays_that_would_begin_at_one_place(
    device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's allocator has small blocks side by side: the one of the second half of an array is behind a first half."""
    pool = torch.zeros(1 << 16, dtype=torch.uint8)
    device.hold(pool.data_ptr(), pool.nbytes, pool)
    taken = iter(pool.split(512))
    empty = device.empty

    def packed(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
        return next(taken) if (shape, dtype) == ((512,), "u8") else empty(shape, dtype)

    monkeypatch.setattr(device, "empty", packed)
    both = hpacml.functor("both: [i, 0:2] = ([i], [i])", target="gpu")
    a, r, s = np.arange(100.0), np.arange(128), np.arange(128) % 90
    expected = np.stack([a[r[:64]], a[s[64:]]], -1)
    np.testing.assert_array_equal(both.gather("a[r[0:64]], a[s[64:128]]", a=a, r=r, s=s), expected)
    r[6] = 777
    with pytest.raises(hpacml.MapError, match=r"r\[6\] is 777"):
        both.gather("a[r[0:64]], a[s[64:128]]", a=a, r=r, s=s)


@pytest.mark.parametrize("on_device", [False, True])
def test_tensors_on_another_device(monkeypatch: pytest.MonkeyPatch, on_device: bool) -> None:
    with simulated(monkeypatch, 2) as devices:
        f, a = hpacml.functor("one: [i, 0:1] = ([i])", target="gpu"), np.arange(5.0)
        there = OnDevice(a, devices[0]) if on_device else a
        elsewhere = OnDevice(np.zeros((5, 1)), devices[1])
        for call in (
            lambda: f.gather("a[0:5]", a=there, out=elsewhere),
            lambda: f.scatter(elsewhere, "a[0:5]", a=there),
        ):
            with pytest.raises(hpacml.MapError, match=r"'a' is on cuda:0, '(out|tensor)' is on cuda:1"):
                call()


def test_the_host_in_the_original_code_of_a_device(device: SimulatedDevice) -> None:
    """What is called there with arrays of the host is no part of the call on the device."""
    rows = hpacml.functor("rows: [i, 0:1] = ([i])")

    @hpacml.region(
        "tensor functor(one: [i, 0:1] = ([i]))\n"
        "ml(collect) in(one(a[0:3])) out(one(a[0:3])) database('host.h5') label('host')"
    )
    def region(a: Any) -> None:
        rows.gather("x[k[0:2]]", x=np.arange(3.0), k=np.array([1, 7]))

    with pytest.raises(hpacml.MapError, match=r"k\[1\] is 7"):
        region(OnDevice(np.zeros(3), device))


@pytest.mark.parametrize("number", [np.ones(3), [1.0], torch.ones(3)], ids=["array", "list", "tensor"])
def test_what_is_no_number(machine: Simulated, number: object) -> None:
    with pytest.raises(hpacml.MapError, match="argument 'factor' takes"):
        scaled(machine.there(np.ones((4, 5))), number, torch.nn.Identity())  # pyright: ignore


def test_tensors_in_containers_of_a_module() -> None:
    module: Any = torch.nn.Identity()
    module.kept = {"a": torch.ones(3), "b": 1}
    module.several = [torch.ones(2)]
    before = traits(module)
    assert traits(module) == before
    module.kept["a"] = torch.ones(3)
    assert traits(module) != before
