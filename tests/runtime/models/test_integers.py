"""Integer inputs: integers where the model uses them as integers, floats where it uses them as features."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.frame import Frame
from hpacml.runtime.models import intake, model, torchscript, trust

WAYS = ["passed", "passed TorchScript", "foreign TorchScript", "pt", "pt2", "safetensors"]
ODD = (1 << 24) + 1
"""The first integer that float32 does not have."""


class Graph(nn.Module):
    """Sums the features of neighbours, by a list of edges."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        sent = self.linear(x)[edges[0]]
        return torch.zeros_like(x).index_add(0, edges[1], sent)


class Buckets(nn.Module):
    """Integer arithmetic before a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(1000, 3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids * 7919 % 1000]


class Scaled(nn.Module):
    """Features: integers along with floats."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1 - x * self.scale * 2


class Pair(nn.Module):
    """Rows of two integers, which `compute` takes with a weight."""

    def __init__(self, compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(9.0))
        self.linear = nn.Linear(2, 1)
        self.compute = compute

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.compute(x, self.weight)[:, None]


class Arithmetic(nn.Module):
    """Integer arithmetic whose results are features; TorchScript reads it, too."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 73856093 % 1000)[:, None] * self.scale


Way = Callable[[nn.Module, str, Any], Any]


@pytest.fixture
def given(tmp_path: Path) -> Way:
    """`given(module, way, example)` is what a call site is told of a module: itself, or its file."""

    def give(module: nn.Module, way: str, example: Any) -> Any:
        if way == "passed":
            return module
        if way in ("pt", "pt2", "safetensors"):
            return hpacml.save_model(module, tmp_path / f"m.{way}", example=example)
        with torchscript.jit() as jit:
            scripted = jit.script(module)
            jit.save(scripted, tmp_path / "foreign.pt")
        trust.trust(tmp_path / "foreign.pt")
        return scripted if way == "passed TorchScript" else tmp_path / "foreign.pt"

    return give


def run(infer: Any, network: Any, inputs: list[Any], width: int = 3) -> np.ndarray[Any, Any]:
    y = np.zeros((len(inputs[0]), width))
    if isinstance(network, Path):
        infer(inputs, [y], model={"path": str(network)})
    else:
        with Frame({"net": network}):
            infer(inputs, [y], model={"argument": "net"})
    return y


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint64"])
@pytest.mark.parametrize("way", WAYS)
def test_indices_stay_integers(way: str, dtype: str, given: Way, infer: Any) -> None:
    table = nn.Embedding(10, 3)
    ids = np.array([1, 9, 0, 2], dtype)
    for _ in range(2):
        y = run(infer, given(table, way, torch.tensor([1, 2, 3])), [ids])
        np.testing.assert_array_equal(y, table(torch.from_numpy(ids).long()).detach())


@pytest.mark.parametrize("way", WAYS[:-1])
def test_edges_stay_integers_beside_features(way: str, given: Way, infer: Any) -> None:
    net = Graph()
    x, edges = np.random.default_rng(1).random((4, 3)), np.array([[0, 1, 2, 3, 3], [1, 2, 3, 0, 1]])
    expected = net(torch.from_numpy(x).float(), torch.from_numpy(edges)).detach()
    network = given(net, way, (x, edges))
    np.testing.assert_allclose(run(infer, network, [x, edges]), expected, rtol=1e-6)
    y = run(infer, network, [x, edges.astype(np.int32)])
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("way", WAYS[:-1])
def test_the_last_bit_of_large_integers_is_kept(way: str, given: Way, infer: Any) -> None:
    net, ids = Buckets(), np.array([ODD, ODD - 1, 1 << 53])
    y = run(infer, given(net, way, ids), [ids])
    np.testing.assert_array_equal(y, net(torch.from_numpy(ids)).detach())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("net", [Scaled(), nn.Sequential(nn.Linear(3, 3))], ids=["product", "linear"])
@pytest.mark.parametrize("way", WAYS[:5])
def test_features_become_floats(way: str, net: nn.Module, dtype: str, given: Way, infer: Any) -> None:
    x = np.array([[1, 2, 200], [0, 255, 3]], dtype)
    y = run(infer, given(net, way, torch.zeros(2, 3)), [x])
    np.testing.assert_allclose(y, net(torch.from_numpy(x).float()).detach(), rtol=1e-6)


@pytest.mark.parametrize("way", WAYS[:5])
def test_features_that_no_float_has_are_refused_at_each_call(way: str, given: Way, infer: Any) -> None:
    net = Scaled()
    network = given(net, way, torch.zeros(2, 3))
    run(infer, network, [np.array([[1, 2, ODD - 1]])])
    with pytest.raises(ModelError, match=rf"as float32, which does not have {ODD}, .* at \[0, 2\] in int64\[1, 3\]"):
        run(infer, network, [np.array([[1, 2, ODD]])])
    net.double()
    if way == "passed":
        assert run(infer, net, [np.array([[1, 2, ODD]])])[0, 2] == 1 - 4 * ODD


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("way", WAYS[:5])
def test_integer_arithmetic_before_weights_is_that_of_the_module(way: str, dtype: str, given: Way, infer: Any) -> None:
    net, x = Arithmetic(), np.array([5, 103, 77, 9]).astype(dtype)
    if dtype in ("int32", "int64"):
        x = np.array([5, ODD, 1_000_001, 2**31 - 1]).astype(dtype)
    wide = torch.from_numpy(x.astype(dtype if dtype == "int32" else "int64"))
    y = run(infer, given(net, way, wide), [x])
    np.testing.assert_array_equal(y, net(wide).detach())


ROWS_OF_TWO = np.array([[1, 2], [3, 8], [0, 4], [2, 1]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "int64", "uint64"])
@pytest.mark.parametrize(
    "compute",
    [
        lambda x, w: w[x[:, 0]] * x[:, 1],
        lambda x, w: (x[:, 0] & 1) * w[1] + x[:, 1] // 2,
        lambda x, w: (x - 128).sum(1) * w[2],
        lambda x, w: x.cumprod(0)[:, 1] % 1000 * w[2],
        lambda x, w: torch.bucketize(x[:, 0].contiguous(), torch.tensor([1, 3])) * w[3],
        lambda x, w: (x / 255).sum(1) * w[1],
    ],
    ids=["index and feature", "bits", "offset", "product", "buckets", "pixels"],
)
def test_what_runs_on_integers_is_given_them(compute: Any, dtype: str, infer: Any) -> None:
    net = Pair(compute)
    expected = net(torch.from_numpy(ROWS_OF_TWO)).detach()
    for rows in (0, 4):
        y = run(infer, net, [ROWS_OF_TWO[:rows].astype(dtype)], 1)
        np.testing.assert_array_equal(y, expected[:rows])


def test_values_that_lead_a_module_elsewhere(infer: Any) -> None:
    """What it takes differs from call to call, also between threads."""

    net = Pair(lambda x, w: w[x[:, 0] - 100] if (x[:, 0] > 50).any() else net.linear(x)[:, 0])
    low, high = ROWS_OF_TWO, ROWS_OF_TWO + 100
    expected = [net.linear(torch.from_numpy(low).float()).detach(), net(torch.from_numpy(high)).detach()]

    def call(number: int) -> None:
        y = run(infer, net, [(low, high)[number % 2]], 1)
        np.testing.assert_allclose(y, expected[number % 2], rtol=1e-6)

    for number in range(4):
        call(number)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(32)))


@pytest.mark.parametrize(
    ("value", "dtype"), [(1.5, "float64"), (np.nan, "float32"), (1e30, "float64"), (1 << 40, "int64")]
)
def test_what_is_no_such_integer_is_refused(value: Any, dtype: str, given: Way, infer: Any) -> None:
    network = given(nn.Embedding(10, 3), "pt", torch.tensor([1, 2], dtype=torch.int32))
    np.testing.assert_array_equal(run(infer, network, [np.array([1.0, 2.0])]).shape, (2, 3))
    with pytest.raises(ModelError, match="it takes its input 0 as int32, which does not have"):
        run(infer, network, [np.array([1, value], dtype)])


def test_pictures_of_bytes(given: Way, infer: Any) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3))
    picture = np.random.default_rng(0).integers(0, 255, (2, 1, 4, 4), np.uint8)
    expected = net(torch.from_numpy(picture).float()).detach()
    for way in ("passed", "pt", "pt2", "safetensors"):
        for example in (picture, picture.astype(np.float32)):
            np.testing.assert_allclose(run(infer, given(net, way, example), [picture]), expected, rtol=1e-5, atol=1e-4)


def test_an_index_outside_of_a_table_is_the_error_that_is_shown(infer: Any) -> None:
    with pytest.raises(ModelError, match=r"on the inputs int64\[2\]: IndexError: index out of range"):
        run(infer, nn.Embedding(10, 3), [np.array([1, 99])])
    with pytest.raises(ModelError, match=r"RuntimeError: mat1 and mat2 shapes cannot be multiplied \(2x5 and 3x3\)"):
        run(infer, nn.Linear(3, 3), [np.ones((2, 5), np.int64)])


def test_to_find_it_out_changes_no_state(infer: Any) -> None:
    class Counting(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)
            return super().forward(x)

    net = Counting()
    for calls in (1, 2):
        run(infer, net, [np.array([[1, 2, 3]])])
        assert float(net.calls) == calls


def test_threads_find_out_the_same(infer: Any) -> None:
    for _ in range(3):
        net, ids = Buckets(), np.arange(ODD, ODD + 6)
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _, net=net, ids=ids: run(infer, net, [ids]), range(8)))
        for result in results:
            np.testing.assert_array_equal(result, net(torch.from_numpy(ids)).detach())


def test_a_function_is_given_what_is_there(infer: Any) -> None:
    seen: list[torch.dtype] = []
    run(infer, lambda x: seen.append(x.dtype) or x.double(), [np.zeros((2, 3), np.int32)])
    assert seen == [torch.int32]


@pytest.mark.parametrize(
    ("value", "source", "target", "exact"),
    [
        (ODD, "int64", "float32", False),
        (ODD - 1, "int64", "float32", True),
        (2**63 - 1, "int64", "float64", False),
        (-(2**63), "int64", "float32", True),
        (2**31, "float64", "int32", False),
        (2.0**63, "float64", "int64", False),
        (-1, "int64", "uint8", False),
        (-1, "int64", "uint64", False),
        (2, "int64", "bool", False),
        (2**64 - 1, "uint64", "int64", False),
        (2**64 - 1, "uint64", "float64", False),
        (2**53, "uint64", "float64", True),
        (2**32 - 1, "uint32", "float32", False),
        (70000.0, "float32", "uint16", False),
    ],
)
def test_what_is_exact(value: float, source: str, target: str, exact: bool) -> None:
    x = torch.tensor([0, value], dtype=getattr(torch, source))
    converted = x.to(getattr(torch, target))
    assert intake.is_checked(x.dtype, converted.dtype)
    assert intake.first_inexact(x, converted) == (None if exact else [1])


def test_what_needs_no_check() -> None:
    for source, target in [("uint8", "float16"), ("int16", "float32"), ("uint16", "int32"), ("bool", "int64")]:
        assert not intake.is_checked(getattr(torch, source), getattr(torch, target))
    assert not intake.is_checked(torch.float64, torch.float16)
    assert intake.is_checked(torch.uint16, torch.float16)


def test_examples_of_integers(given: Way) -> None:
    for example, declared in [
        (np.array([1, 2], np.uint8), "int64[*]"),
        (np.array([1, 2], np.int32), "int32[*]"),
        (torch.tensor([1, 2]), "int64[*]"),
    ]:
        assert model.load(str(given(nn.Embedding(10, 3), "pt2", example))).network.declaration == declared
    with pytest.raises(ModelError, match="index out of range"):
        given(nn.Embedding(10, 3), "pt2", np.array([99]))
