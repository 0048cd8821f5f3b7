"""What only a real GPU can show: order on streams, that the host does not wait, and what others' arrays are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import hpacml
from hpacml.backend.chips import CHIPS, NVIDIA
from hpacml.runtime.gpu import devices, graphs
from tests.gpu import stencil
from tests.machines import Cuda, Exported

pytestmark = pytest.mark.gpu

PAIRS = hpacml.functor("pairs: [i, 0:2] = ([i], [i + 1])")
ONE = hpacml.functor("one: [i, 0:1] = ([i])")
LONG = 1_000_000_000
"""Cycles for which the device is busy: half a second, in which the host does a lot."""


class Steps:
    """A region on CUDA tensors, whose results are compared with those of Torch."""

    def __init__(self, net: Any = None, index: int = 0) -> None:
        self.region = stencil.region(stencil.refuse)
        self.t, self.new = (torch.from_numpy(grid).to(f"cuda:{index}") for grid in stencil.grids(40, 50))
        self.net = net or stencil.network().to(f"cuda:{index}")

    def call(self) -> None:
        self.region(self.t, self.new, 40, 50, self.net)

    def check(self) -> None:
        t = self.t
        features = torch.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], -1)
        with torch.inference_mode():
            expected = self.net(features)[..., 0]
        torch.testing.assert_close(self.new[1:-1, 1:-1], expected)


@pytest.fixture
def steps(cuda: Cuda) -> Steps:
    return Steps()


@pytest.fixture
def no_waiting(cuda: Cuda) -> Iterator[None]:
    """Whatever makes the host wait for the device, in Torch, is an error."""
    yield
    torch.cuda.set_sync_debug_mode("default")


# -- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [1, 6])
def test_a_call_is_on_the_stream_of_its_caller(steps: Steps, calls: int) -> None:
    stream = torch.cuda.Stream()
    filled = torch.rand_like(steps.t)
    steps.call()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(LONG)
        steps.t.copy_(filled)
        for _ in range(calls):
            steps.call()
        found = steps.new.clone()
    stream.synchronize()
    steps.check()
    assert torch.equal(found, steps.new)


def test_the_stream_of_an_owner_is_waited_for_and_waits(cuda: Cuda) -> None:
    stream = torch.cuda.Stream()
    array = Exported(np.zeros(1000), stream=stream.cuda_stream)
    memory = torch.as_tensor(array, device="cuda")
    PAIRS.gather("a[0:999]", a=array)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(LONG)
        memory.fill_(7.0)
    x = PAIRS.gather("a[0:999]", a=array)
    assert (x == 7).all()
    torch.cuda._sleep(LONG)
    ONE.scatter(torch.ones(1000, 1, device="cuda"), "a[0:1000]", a=array)
    with torch.cuda.stream(stream):
        found = memory.clone()
    stream.synchronize()
    assert (found == 1).all()


def test_a_call_is_part_of_a_graph_that_somebody_makes(steps: Steps, cuda: Cuda) -> None:
    steps.call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        steps.call()
    steps.t.copy_(torch.rand_like(steps.t))
    graph.replay()
    steps.check()
    assert cuda.captures == 0


def test_indices_are_checked_in_a_graph_that_somebody_makes(cuda: Cuda) -> None:
    a, r = torch.arange(50.0, device="cuda"), torch.arange(10, device="cuda")
    out, graph = torch.zeros(10, 1, device="cuda"), torch.cuda.CUDAGraph()

    def call() -> None:
        ONE.gather("a[r[0:10]]", a=a, r=r, out=out)

    with torch.cuda.stream(stream := torch.cuda.Stream()):
        call()
    stream.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        call()
    r.copy_(torch.arange(20, 30))
    graph.replay()
    assert out[:, 0].tolist() == list(range(20, 30))
    hpacml.flush()
    r[3] = 50
    graph.replay()
    with pytest.raises(hpacml.MapError, match="the index 50 lies outside a dimension that has 50 elements"):
        hpacml.flush()
    r[3] = 5
    graph.replay()
    assert out[:, 0].tolist() == [20, 21, 22, 5, *range(24, 30)]
    hpacml.flush()


def test_threads_share_a_stream(cuda: Cuda) -> None:
    """Each has arrays of its own; memory that one of them gives back may be the other's next."""
    pairs = [Steps() for _ in range(2)]
    region = pairs[0].region
    failures: list[BaseException] = []

    def work(steps: Steps) -> None:
        steps.region = region
        try:
            for _ in range(50):
                steps.t.add_(1 / 64)  # random numbers are not to be had while another thread captures
                steps.call()
                steps.check()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(steps,)) for steps in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# -- the host does not wait ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")
def test_nothing_in_a_call_waits(steps: Steps, cuda: Cuda, no_waiting: None) -> None:
    for call in range(7):
        prepares = call in (0, graphs.WARM)  # the first one compiles and loads, and one is captured
        torch.cuda.set_sync_debug_mode("default" if prepares else "error")
        steps.call()
    torch.cuda.set_sync_debug_mode("default")
    steps.check()
    assert cuda.replays == 4


@pytest.mark.parametrize("on", ["0", "1"])
def test_calls_return_while_the_device_is_busy(steps: Steps, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CUDA_GRAPHS", on)
    for _ in range(5):
        steps.call()
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(LONG)
    done.record()
    for _ in range(5):
        steps.call()
    assert not done.query()
    steps.check()


def test_collecting_returns_while_the_device_is_busy(cuda: Cuda) -> None:
    t, new = (cuda.there(grid) for grid in stencil.grids())
    ml = f"ml(collect) {stencil.CLAUSES} database('heat.h5') label('heat')"
    heat = stencil.region(lambda t, new: torch.cuda._sleep(LONG), ml)
    for _ in range(2):
        heat(t, new, 9, 11, None)
    hpacml.flush()  # pinned memory is there now: making it can wait for the device
    done = torch.cuda.Event()
    heat(t, new, 9, 11, None)
    done.record()
    assert not done.query()
    hpacml.flush()
    with h5py.File("heat.h5") as file:
        times = file["heat/runtime"][...]
    assert times.shape == (3,)
    assert (times > 1).all()  # milliseconds


# -- graphs ------------------------------------------------------------------------------------------


def test_replays_do_what_calls_do(steps: Steps, cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(8):
        steps.t.copy_(torch.rand_like(steps.t))
        steps.call()
        replayed = steps.new.clone()
        with monkeypatch.context() as environment:
            environment.setenv("HPACML_CUDA_GRAPHS", "0")
            steps.call()
        torch.testing.assert_close(steps.new, replayed)
    assert cuda.replays == 5


class Peeking(torch.nn.Module):
    """A network that asks the device for a number, which cannot be captured."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1, keepdim=True) * x.flatten()[0].item()


def test_what_cannot_be_captured_runs_as_before(cuda: Cuda, caplog: pytest.LogCaptureFixture) -> None:
    steps, stream = Steps(Peeking()), torch.cuda.current_stream()
    with caplog.at_level(logging.WARNING, "hpacml"):
        for _ in range(8):
            steps.t.copy_(torch.rand_like(steps.t))
            steps.call()
            steps.check()
    (record,) = caplog.records
    assert "calls of heat cannot be replayed as a CUDA graph, and run as before" in record.message
    assert torch.cuda.current_stream() == stream
    assert cuda.replays == 0
    others = Steps()  # what has failed leaves nothing behind that would keep others from being captured
    for _ in range(8):
        others.call()
        others.check()
    assert cuda.replays == 5
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    steps.call()
    steps.check()


def test_memory_does_not_grow(steps: Steps) -> None:
    for _ in range(8):
        steps.call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(100):
        steps.call()
    assert torch.cuda.memory_allocated() == before


# -- devices and arrays ------------------------------------------------------------------------------


def test_the_chip_is_that_of_the_device(cuda: Cuda) -> None:
    major, minor = torch.cuda.get_device_capability()
    assert cuda.device.chip in CHIPS[NVIDIA]
    assert int(cuda.device.chip.removeprefix("sm_")) <= 10 * major + minor


def test_calls_run_where_their_arrays_are(cuda: Cuda) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    for index in (1, 0, 1):
        steps = Steps(index=index)
        for _ in range(5):
            steps.call()
        steps.check()
        assert torch.cuda.current_device() == 0
    with pytest.raises(hpacml.MapError, match="'t' is on cuda:0, 'new' is on cuda:1"):
        steps.region(steps.t.to("cuda:0"), steps.new, 40, 50, steps.net)
    assert devices.device(0) is not devices.device(1)


def test_arrays_of_cupy(cuda: Cuda) -> None:
    cupy = pytest.importorskip("cupy")
    a = cupy.arange(20, dtype=cupy.float32)[::-2]
    x = PAIRS.gather("a[0:9]", a=a)
    np.testing.assert_array_equal(x.cpu(), np.stack([cupy.asnumpy(a)[:-1], cupy.asnumpy(a)[1:]], -1))
    ONE.scatter(x[:, :1].clone(), "a[1:10]", a=a)
    assert cupy.asnumpy(a)[1:].tolist() == x[:, 0].tolist()


def test_arrays_of_jax(cuda: Cuda) -> None:
    jax = pytest.importorskip("jax")
    gpus = [each for each in jax.devices() if each.platform == "gpu"]
    if not gpus:
        pytest.skip("this JAX finds no GPU")
    a = jax.device_put(np.arange(20, dtype=np.float32), gpus[0])
    np.testing.assert_array_equal(PAIRS.gather("a[0:9]", a=a).cpu(), np.stack([np.arange(9), np.arange(1, 10)], -1))
    half = a.astype("bfloat16")
    assert PAIRS.gather("a[0:9]", a=half).dtype is torch.bfloat16


def test_tensors_are_where_they_must_be_whatever_the_default_is(cuda: Cuda) -> None:
    on_gpu = hpacml.functor("pairs: [i, 0:2] = ([i], [i + 1])", target="gpu")
    a = np.arange(1000.0)
    with torch.device("cuda"):
        x, there = PAIRS.gather("a[0:999]", a=a), on_gpu.gather("a[0:999]", a=a)
        steps = Steps()
        for _ in range(5):
            steps.call()
    assert x.device == torch.device("cpu")
    assert torch.equal(there.cpu(), x)
    steps.check()


def test_tensors_that_lie_anyhow(cuda: Cuda) -> None:
    t = torch.rand(30, 40, device="cuda").T[2:, ::3]
    f = hpacml.functor("f: [i, j, 0:2] = ([i, j], [i+1, j])")
    assert torch.equal(f.gather("t[0:n-1, 0:m]", t=t, n=38, m=10), torch.stack([t[:-1], t[1:]], -1))


# -- captures: ours, and those of the program --------------------------------------------------------


def test_a_capture_does_not_wait_for_the_device(steps: Steps, cuda: Cuda) -> None:
    for _ in range(5):
        steps.call()
    other = Steps(steps.net)
    for _ in range(graphs.WARM):
        other.call()
    torch.cuda.synchronize()
    done = torch.cuda.Event()
    torch.cuda._sleep(LONG)
    done.record()
    other.call()
    assert not done.query()
    assert cuda.captures == 2
    other.check()


def test_graphs_that_share_memory_are_replayed_in_any_order(cuda: Cuda) -> None:
    net = stencil.network().cuda()
    some = [Steps(net) for _ in range(8)]
    for each in some:
        for _ in range(5):
            each.call()
    order = torch.randint(0, len(some), (50,)).tolist()
    for number in order:
        some[number].t.copy_(torch.rand_like(some[number].t))
        some[number].call()
    assert cuda.captures == len(some)
    for number in set(order):
        some[number].check()


def test_graphs_of_two_streams_run_beside_one_another(cuda: Cuda) -> None:
    """Their products are large enough for cuBLAS to use its workspace."""
    net = torch.nn.Sequential(torch.nn.Linear(5, 512), torch.nn.Linear(512, 512), torch.nn.Linear(512, 1)).cuda()
    some, streams = [Steps(net), Steps(net)], [torch.cuda.Stream(), torch.cuda.Stream()]
    for _ in range(20):
        for each, stream in zip(some, streams, strict=True):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                each.call()
    torch.cuda.synchronize()
    assert cuda.captures == 2
    for each in some:
        each.check()


def test_a_capture_that_fails_leaves_torch_as_it_was(cuda: Cuda) -> None:
    failing, steps = Steps(Peeking()), Steps()
    for _ in range(5):
        failing.call()
    torch.cuda.empty_cache()
    assert not torch.cuda.is_current_stream_capturing()
    for _ in range(5):
        steps.call()
    steps.check()
    assert (cuda.captures, cuda.replays) == (1, 2)


def test_threads_may_wait_for_the_device_during_captures(cuda: Cuda) -> None:
    stop = threading.Event()

    def wait() -> None:
        while not stop.is_set():
            cuda.device.synchronize_all()

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        some = [Steps() for _ in range(8)]
        for each in some:
            for _ in range(5):
                each.call()
            each.check()
    finally:
        stop.set()
        waiting.join()
    assert cuda.captures == len(some)


def test_a_call_is_a_part_of_a_graph_of_the_program(cuda: Cuda) -> None:
    line = hpacml.functor("line: [i] = ([i])")
    a, r = torch.arange(5.0, device="cuda"), torch.tensor([1, 2], device="cuda")
    line.gather("a[r[0:2]]", a=a, r=r)
    steps, graph = Steps(), torch.cuda.CUDAGraph()
    steps.call()
    hpacml.timing()
    try:
        with torch.cuda.graph(graph):
            steps.call()
            found = line.gather("a[r[0:2]]", a=a, r=r)
    finally:
        hpacml.timing(False)
    steps.t.copy_(torch.rand_like(steps.t))
    a += 1
    graph.replay()
    steps.check()
    assert found.tolist() == [2, 3]
    hpacml.flush()
    r[0] = 7
    graph.replay()
    with pytest.raises(hpacml.MapError, match="the index 7 lies outside a dimension that has 5 elements"):
        hpacml.flush()


def test_the_first_call_of_a_functor_may_be_captured(cuda: Cuda) -> None:
    """Its kernels are loaded then."""
    twice = hpacml.functor("twice: [i, 0:2] = ([i], [i])")
    a, graph = torch.arange(5.0, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = twice.gather("a[0:3]", a=a)
    graph.replay()
    assert found.tolist() == [[0, 0], [1, 1], [2, 2]]
