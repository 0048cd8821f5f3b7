"""A module in training mode is evaluated, whatever runs beside it, and is then as it was."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.runtime.models import torchscript

THREADS, CALLS = 8, 20


@hpacml.region("tensor functor(f: [i, 0:4] = ([i, 0:4])) ml(infer) in(f(a[0:n, 0:4])) out(f(y[0:n, 0:4])) model(net)")
def region(a, y, n, net):
    raise AssertionError


class Yields(nn.Module):
    """Lets other threads run, and tells them of training mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            time.sleep(0)
            if self.training:
                return x + 1000
        return x


def network() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 4), Yields(), nn.Dropout(0.5), nn.BatchNorm1d(4), Yields(), nn.Dropout(0.5))
    return nn.Sequential(inner, nn.Identity(), inner[2]).double().train()


def evaluated(net: nn.Module, a: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return copy.deepcopy(net).eval()(torch.from_numpy(a)).numpy()


def infer(net: Any, a: np.ndarray) -> np.ndarray:
    y = np.zeros_like(a)
    region(a, y, len(a), net)
    return y


def at_once(work: Callable[[int], None]) -> None:
    """Run `work` in all threads, with frequent turns."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait(10)
        for _ in range(CALLS):
            work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(run, number) for number in range(THREADS)]:
            each.result(60)


def modes(net: nn.Module) -> list[bool]:
    return [part.training for part in net.modules()]


def test_threads_that_share_a_module_evaluate_it() -> None:
    net, a = network(), np.random.default_rng(0).random((3, 4))
    before = copy.deepcopy(net.state_dict())
    expected = evaluated(net, a)
    at_once(lambda _: np.testing.assert_allclose(infer(net, a), expected))
    assert all(modes(net))
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_threads_that_share_parts_of_modules_evaluate_them() -> None:
    nets, a = [network()], np.random.default_rng(0).random((3, 4))
    shared = nets[0][0]
    nets += [nn.Sequential(shared, nn.Dropout(0.9)).train() for _ in range(THREADS - 1)]
    nets[1].eval()
    shared[1].train()
    expected = [evaluated(net, a) for net in nets]
    before = [modes(net) for net in nets]
    at_once(lambda n: np.testing.assert_allclose(infer(nets[n], a), expected[n]))
    assert [modes(net) for net in nets] == before


@pytest.mark.parametrize(
    "kind", ["script", "subclass", "partly", "only a part", "evaluated", "nested in one that fails"]
)
def test_each_part_is_put_back(kind: str) -> None:
    net, a = network(), np.random.default_rng(0).random((3, 4))
    if kind == "script":
        with torchscript.jit() as jit:
            net = jit.script(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)).double().train())
    if kind == "partly":
        net[0][2].eval()
    if kind == "evaluated":
        net.eval()
    if kind == "only a part":
        net.eval()[0][2].train()
    if kind == "subclass":

        class Frozen(nn.Dropout):
            """Its mode is a property."""

            @property
            def training(self) -> bool:
                return self.on

            @training.setter
            def training(self, on: bool) -> None:
                self.__dict__["on"] = on

        net[0][2] = Frozen(0.9).train()
        assert net[0][2].training
    before, expected = modes(net), evaluated(net, a)
    if kind == "nested in one that fails":
        handle = net[1].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(hpacml.ModelError, match="ZeroDivisionError"):
            infer(net, a)
        handle.remove()
        assert modes(net) == before
    at_once(lambda _: np.testing.assert_allclose(infer(net, a), expected))
    assert modes(net) == before


def test_a_model_that_runs_its_own_region() -> None:
    """The inner call ends first, and must not put back what the outer one needs."""
    inner, a = network(), np.random.default_rng(0).random((3, 4))
    expected = evaluated(inner, a)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = torch.from_numpy(infer(self.net, x.numpy()))
            return (first + self.net(x)) / 2

    outer = Outer().train()
    np.testing.assert_allclose(infer(outer, a), expected)
    assert all(modes(outer))


def test_a_module_that_is_put_into_training_mode_meanwhile_is_an_error() -> None:
    net, a, y = network(), np.ones((3, 4)), np.full((3, 4), -7.0)
    net.append(nn.Identity())
    net[-1].register_forward_hook(lambda *_: net.train() and None)
    with pytest.raises(hpacml.ModelError, match="put into training mode by other code while"):
        region(a, y, 3, net)
    assert (y == -7).all()
    assert all(modes(net))


@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("way", ["passed", "forward", "script", "pt", "pt2", "safetensors"])
def test_one_part_in_training_mode_is_evaluated(part: int, way: str, tmp_path: Any) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)).double().eval()
    net[part].train()
    a, before, state = np.random.default_rng(0).random((3, 4)), modes(net), copy.deepcopy(net.state_dict())
    given = net.forward if way == "forward" else net
    if way == "script":
        with torchscript.jit() as jit:
            given = jit.script(net)
    if way in ("pt", "pt2", "safetensors"):
        given = str(hpacml.save_model(net, tmp_path / f"net.{way}", example=a))
    for _ in range(2):
        np.testing.assert_allclose(infer(given, a), evaluated(net, a))
    assert modes(net) == before
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_modules_that_are_parts_of_each_other_are_evaluated() -> None:
    net, a = network().eval(), np.ones((3, 4))
    net[1].add_module("whole", net)
    for part in (net[0][0], net[0][2]):
        part.training = True
    before = modes(net)
    first = infer(net, a)
    assert modes(net) == before
    np.testing.assert_array_equal(infer(net, a), first)
    for part in net.modules():
        part.training = False
    np.testing.assert_array_equal(infer(net, a), first)


def test_a_module_of_torch_export() -> None:
    program = torch.export.export(network().eval(), (torch.ones(3, 4, dtype=torch.float64),))
    net, a = program.module(), np.random.default_rng(0).random((3, 4))
    before = modes(net)
    np.testing.assert_allclose(infer(net, a), evaluated(network(), a))
    assert modes(net) == before


class Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.net(x) * scale

    def other(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) + 1


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (lambda net: net.forward, lambda y: y),
        (lambda net: net.__call__, lambda y: y),
        (lambda net: net.other, lambda y: y + 1),
        (lambda net: partial(net), lambda y: y),
        (lambda net: partial(partial(net.forward), scale=2.0), lambda y: 2 * y),
        (lambda net: nn.DataParallel(net).forward, lambda y: y),
    ],
)
def test_methods_and_partial_calls_of_modules_are_evaluated(part: Any, expected: Any) -> None:
    net, a = Kept(), np.random.default_rng(0).random((3, 4))
    before = copy.deepcopy(net.state_dict())
    wanted = expected(evaluated(net, a))
    at_once(lambda _: np.testing.assert_allclose(infer(part(net), a), wanted))
    np.testing.assert_allclose(infer(part(net), a.astype(np.float32)), wanted, rtol=1e-5)
    ones, y = np.ones((3, 4)), np.zeros((3, 4))
    region(ones.astype(int), y, 3, part(net))
    np.testing.assert_allclose(y, expected(evaluated(net, ones)))
    assert all(modes(net))
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    alive = weakref.ref(net.net[0])
    del net, before
    gc.collect()
    assert alive() is None


class Around:
    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda net: lambda x: net(x),
        lambda net: lambda x, of=net: of(x),
        lambda net: torch.no_grad()(lambda x: net(x)),
        lambda net: partial(lambda of, x: of(x), net),
        lambda net: Around(net),
        lambda net: Around(net).__call__,
    ],
)
def test_functions_that_call_modules_in_training_mode_are_said_once(function: Any, caplog: Any) -> None:
    net, a = network(), np.ones((3, 4))
    for _ in range(2):
        infer(function(net), a)
    assert [r.levelname for r in caplog.records if "with its Dropout: a region leaves what" in r.message] == ["WARNING"]
    for quiet in (network().eval(), nn.Sequential(nn.Linear(4, 4).double())):
        caplog.clear()
        infer(function(quiet), a)
        assert not caplog.records


def test_equal_objects_are_models_of_their_own() -> None:
    @dataclass(frozen=True)
    class Scaled:
        name: str
        by: float = field(compare=False)

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.by

        def other(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.by

    a, both = np.ones((3, 4)), (Scaled("x", 2), Scaled("x", 3))
    for each in both * 2:
        assert (infer(each, a) == each.by).all()
        assert (infer(each.other, a) == each.by).all()
