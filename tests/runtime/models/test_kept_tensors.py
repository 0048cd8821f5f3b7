"""What a model, a hook or another thread keeps of the tensors of a call stays what it was, however it is kept."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from torch import nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import hpacml
from hpacml import approx
from hpacml.runtime.models import lent
from hpacml.runtime.shim import runtime

Array = Float64[np.ndarray, "n"]
FUNCTORS = "tensor functor(two: [i, 0:2] = ([i], [i])) tensor functor(one: [i, 0:1] = ([i]))"


@hpacml.region(f"{FUNCTORS} ml(infer) in(two(a[0:n], b[0:n])) out(one(y[0:n])) model(net)")
def gathered(a, b, y, n, net):
    raise AssertionError


@hpacml.region(f"{FUNCTORS} ml(infer) in(two(a[0:n], b[0:n])) out(one(y[0:n])) model(net) batch(20000)")
def batched(a, b, y, n, net):
    raise AssertionError


@hpacml.region(
    """tensor functor(rows: [i, 0:2] = ([i, 0:2])) tensor functor(one: [i, 0:1] = ([i]))
    ml(infer) in(rows(both[0:n, 0:2])) out(one(y[0:n])) model(net)"""
)
def mapped(both, y, n, net):
    raise AssertionError


@hpacml.kernel
def compiled(a: Array, b: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(two: [i, 0:2] = ([i], [i]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(two(a[0:n], b[0:n])) out(one(y[0:n])) model(net)"):
        for i in range(n):
            y[i] = a[i]


Run = Callable[[float, int, Any], np.ndarray]


def by(region: Any, tensors: bool = False) -> Run:
    def run(value: float, n: int, net: Any) -> np.ndarray:
        a, y = np.full(n, float(value)), np.zeros(n)
        arrays = [torch.from_numpy(each) if tensors else each for each in (a, -a, y)]
        region(*arrays, *(() if region is compiled else (n,)), net)
        return y

    return run


def by_packed_memory(tensors: bool = False) -> Run:
    memory: dict[int, np.ndarray] = {}

    def run(value: float, n: int, net: Any) -> np.ndarray:
        both, y = memory.setdefault(n, np.zeros((n, 2))), np.zeros(n)
        both[:] = value, -value
        mapped(torch.from_numpy(both) if tensors else both, y, n, net)
        return y

    return run


DOORS = {
    "region": lambda: by(gathered),
    "tensors": lambda: by(gathered, tensors=True),
    "batch": lambda: by(batched),
    "kernel": lambda: by(compiled),
    "packed memory": by_packed_memory,
    "packed tensors": lambda: by_packed_memory(tensors=True),
}


@pytest.fixture(params=[*((name, False) for name in DOORS), ("region", True), ("packed memory", True)], ids=str)
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Run]]:
    """A door, with memory of its own each time, which leaves nothing behind; inputs are small, or taken for large."""
    name, small = request.param
    if not small:
        monkeypatch.setattr(lent, "SMALL", -1)
    before = runtime().live_blocks()
    yield DOORS[name]
    gc.collect()
    assert runtime().live_blocks() == before


@pytest.fixture
def run(door: Callable[[], Run]) -> Run:
    return door()


class First(nn.Module):
    """Gives the first feature."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] * 1


def of_storage(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.float64).set_(storage)


KEEP = {
    "the tensor": (lambda x: x, torch.Tensor.ravel),
    "an alias": (lambda x: x.detach(), torch.Tensor.ravel),
    "a view": (lambda x: x[:1], torch.Tensor.ravel),
    "its storage": (lambda x: x.untyped_storage(), of_storage),
    "a NumPy array": (lambda x: x.numpy(), np.ravel),
    "a buffer": (lambda x: memoryview(x.numpy()), np.ravel),
    "a closure": (lambda x: lambda: x, lambda kept: kept().ravel()),
    "a cycle": (lambda x: (cycle := [x], cycle.append(cycle))[0], lambda kept: kept[0].ravel()),
    "DLPack": (lambda x: torch.utils.dlpack.to_dlpack(x), lambda kept: torch.from_dlpack(kept).ravel()),
}


def test_what_a_hook_keeps(run: Run) -> None:
    for keep, values in KEEP.values():
        for late in (0, 3):
            kept: list[Any] = []
            net = First()
            for call in range(6):
                if call == late:
                    net.register_forward_pre_hook(lambda _, given: kept.append(keep(given[0])))  # noqa: B023
                np.testing.assert_array_equal(run(call, 2, net), call)
            run(-1.0, 50_000, First())  # takes large memory, and gives it back
            found = [float(values(each)[0]) for each in kept[late - 6 :]]
            assert found == list(range(late, 6))


def test_a_model_with_a_memory(run: Run) -> None:
    class Before(nn.Module):
        """Gives x(t) - x(t - 2)."""

        def __init__(self) -> None:
            super().__init__()
            self.past: list[torch.Tensor] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.past = [*self.past[-2:], x]
            return (x - self.past[0])[:, :1]

    net = Before()
    found = [run(float(call**2), 2, net)[0] for call in range(8)]
    assert found == [0, 1, *(call**2 - (call - 2) ** 2 for call in range(2, 8))]


def test_what_is_kept_of_an_output(run: Run) -> None:
    kept: list[torch.Tensor] = []
    nets = [lambda x: x[:, :1], First()]
    nets[1].register_forward_hook(lambda _, given, output: kept.append(output))

    def same(x: torch.Tensor) -> torch.Tensor:
        kept.append(x[:, :1])
        return kept[-1]

    for call in range(4):
        run(call, 2, same)
        run(call, 2, nets[call % 2])
    assert [float(output[0, 0]) for output in kept] == [0, 1, 1, 2, 3, 3]
    kept.clear()


def test_what_another_thread_is_reading(run: Run) -> None:
    """It may be in the middle of a copy when the call ends."""
    sums: list[Any] = []
    with ThreadPoolExecutor(4) as pool:

        def net(x: torch.Tensor) -> torch.Tensor:
            sums.append(pool.submit(lambda: float(x[:, 0].clone().sum())))
            return x[:, :1]

        for call in range(20):
            run(call, 20_000, net)
        assert [each.result() for each in sums] == [20_000.0 * call for call in range(20)]


def test_threads_keep_their_own(door: Callable[[], Run]) -> None:
    """Eight threads keep what they gave."""

    def work(number: int) -> bool:
        kept: list[torch.Tensor] = []

        def net(x: torch.Tensor) -> torch.Tensor:
            kept.append(x)
            return x[:, :1]

        run, values = door(), [100 * number + call for call in range(20)]
        results = [run(value, 3, net)[0] for value in values]
        return results == values == [float(x[-1, 0]) for x in kept if len(x) != 2]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_what_is_done_to_an_input_is_gone_with_it(run: Run) -> None:
    """Attributes, weak references, gradients, and memory that is exchanged for another."""
    seen: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()

    def net(x: torch.Tensor) -> torch.Tensor:
        assert not hasattr(x, "mark")
        assert not x.requires_grad
        assert not [other for other in seen if other is x]
        x.mark = True
        seen.add(x)
        result = x[:, :1] * 1
        x.share_memory_()
        return result

    for call in range(6):
        np.testing.assert_array_equal(run(call, 2, net), call)


def test_every_block_of_a_batch_is_kept() -> None:
    @hpacml.region("tensor functor(f: [i, 0:1] = ([i])) ml(infer) in(f(a[0:n])) out(f(y[0:n])) model(net) batch(2)")
    def doubled(a, y, n, net):
        raise AssertionError

    kept: list[torch.Tensor] = []
    y = np.zeros(5)
    for call in range(4):
        doubled(np.arange(5.0) + call, y, 5, lambda x: (kept.append(x), 2 * x)[1])
        assert y.tolist() == [2.0 * (k + call) for k in range(5)]
    assert [x.ravel().tolist() for x in kept[-3:]] == [[3, 4], [5, 6], [7]]


def test_an_update_in_place_leaves_what_is_kept() -> None:
    @hpacml.region("tensor functor(f: [i, 0:1] = ([i, 0:1])) ml(infer) inout(f(a[0:n, 0:1])) model(net)")
    def update(a, n, net):
        raise AssertionError

    kept: list[torch.Tensor] = []
    a, net = np.zeros((3, 1)), nn.Linear(1, 1).double()
    nn.init.ones_(net.weight)
    nn.init.ones_(net.bias)
    for call in range(6):
        if call == 3:
            net.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
        update(a, 3, net)
    assert a.ravel().tolist() == [6, 6, 6]
    assert [x.ravel().tolist() for x in kept] == [[call] * 3 for call in (3, 4, 5)]


def test_what_an_error_keeps(run: Run) -> None:
    """A debugger shows the tensors in the frames of an error."""

    def net(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no")

    with pytest.raises(hpacml.ModelError, match="no") as caught:
        run(5.0, 2, net)
    run(7.0, 2, First())
    frames = caught.value.__cause__.__traceback__
    while frames.tb_next is not None:
        frames = frames.tb_next
    assert float(frames.tb_frame.f_locals["x"][0, 0]) == 5.0
    frames.tb_frame.clear()
    del frames, caught


def test_what_a_mode_of_torch_keeps_of_a_file(run: Run, tmp_path: Path) -> None:
    class Keeps(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kept.extend(x for x in args if isinstance(x, torch.Tensor) and x.shape == (3, 2))
            return function(*args, **(kwargs or {}))

    kept: list[torch.Tensor] = []
    net = hpacml.save_model(nn.Linear(2, 1).double(), tmp_path / "m.pt2", example=torch.zeros(4, 2))
    with Keeps():
        for call in range(4):
            run(call, 3, str(net))
    run(-1.0, 3, str(net))
    assert {0, 1, 2, 3} <= {float(x[0, 0]) for x in kept}  # the mode also sees the tensors that a test makes
    kept.clear()


def test_what_hooks_of_all_modules_and_modes_keep_of_networks_without_code(tmp_path: Path) -> None:
    """Also as NumPy arrays, which keep an address, of memory that is the application's and changes."""
    kept: list[np.ndarray] = []

    def keep(tensors: Any) -> None:
        kept.extend(x.detach().numpy() for x in tensors if type(x) is torch.Tensor and x.shape == (3, 2))

    class Keeps(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is nn.functional.linear:
                keep(args)
            return function(*args, **(kwargs or {}))

    def before(module: nn.Module, given: Any) -> None:
        keep(given)

    def after(module: nn.Module, given: Any, result: Any) -> None:
        keep(given)

    net = nn.Sequential(nn.Linear(2, 1)).double()
    names = ("m.safetensors", "m.pt2", "m.pt")
    files = [str(hpacml.save_model(net, tmp_path / name, example=torch.zeros(4, 2))) for name in names]
    ways = [
        lambda: modules.register_module_forward_pre_hook(before),
        lambda: modules.register_module_forward_hook(after),
        Keeps,
    ]
    for way in ways:
        for model in (net, *files):
            run = by_packed_memory()
            run(-1.0, 3, model)
            with way():
                for call in range(4):
                    run(call, 3, model)
            run(-2.0, 3, model)
            assert {float(x[0, 0]) for x in kept} <= {0.0, 1.0, 2.0, 3.0}
            assert kept or str(model).endswith((".pt2", ".pt"))  # of which not each call is one that is seen
            kept.clear()
