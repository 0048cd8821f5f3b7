"""Compiled networks run from views to views where that is safe, and give what tensors give where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml

torch = pytest.importorskip("torch")
nn = torch.nn

FUNCTORS = """tensor functor(cross: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]))
              tensor functor(pair: [i, j, 0:2] = ([i, j], [i, j + 1]))
              tensor functor(point: [i, j, 0:1] = ([i, j]))"""


@hpacml.region(
    FUNCTORS
    + """ml(infer) in(cross(x[1 : n - 1, 1 : m - 1])) out(point(y[1 : n - 1, 1 : m - 1]))
                             model(net) engine(compiled) label("views")"""
)
def one(x, y, n, m, net):
    raise AssertionError("the body ran")


@hpacml.region(
    FUNCTORS
    + """ml(infer) in(cross(x[1 : n - 1, 1 : m - 1 : 2])) out(pair(y[1 : n - 1, 1 : m - 1 : 2]))
                             model(net) engine(compiled) label("views")"""
)
def two(x, y, n, m, net):
    raise AssertionError("the body ran")


@hpacml.region("""tensor functor(row: [i, 0:5] = ([i, 0:5])) tensor functor(value: [i, 0:1] = ([i]))
                  ml(infer) in(row(x[0:n, 0:5])) out(value(y[0:n])) model(net) engine(compiled) label("views")""")
def rows(x, y, n, net):
    raise AssertionError("the body ran")


def network(outputs: int, dtype: Any) -> Any:
    torch.manual_seed(outputs)
    made = nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, outputs))
    return made.to(dtype).eval().requires_grad_(False)


NETWORKS = {(outputs, dtype): network(outputs, dtype) for outputs in (1, 2) for dtype in (torch.float32, torch.float64)}


def expected(x: np.ndarray[Any, Any], net: Any, step: int) -> np.ndarray[Any, Any]:
    """What the network makes of the cross around each inner point, computed of a copy."""
    x = x.copy()
    inner = slice(1, -1)
    parts = [x[:-2, inner], x[2:, inner], x[inner, :-2], x[inner, inner], x[inner, 2:]]
    return net(torch.from_numpy(np.stack([part[:, ::step] for part in parts], -1))).numpy()


@pytest.fixture
def no_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where tensors are made for an inference."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network ran on tensors")

    monkeypatch.setattr("hpacml.runtime.models.engine.Engine.run", refuse)


@st.composite
def grids(draw: st.DrawFn, dtype: str) -> tuple[Any, Any]:
    """Two views of equal shape into one memory, which may overlap, with all kinds of strides."""
    n, m = draw(st.integers(2, 6)), draw(st.sampled_from([2, 3, 66, 67, 131, 260]))
    memory = np.random.default_rng(draw(st.integers(0, 9))).standard_normal(8 * (n + 2) * (m + 2)).astype(dtype)
    found: list[Any] = []
    for _ in range(2):
        start = draw(st.sampled_from([0, 1, m, n * m, 4 * n * m]))
        kind = draw(st.sampled_from(["packed", "columns", "reversed", "sparse"]))
        part = memory[start : start + 2 * n * m]
        grid = part[: n * m].reshape(n, m) if kind != "columns" else part[: n * m].reshape(m, n).T
        grid = part.reshape(n, 2 * m)[:, ::2] if kind == "sparse" else grid
        found.append(grid[::-1, ::-1] if kind == "reversed" else grid)
    return found[0], found[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("region", "outputs", "step"), [(one, 1, 1), (two, 2, 2)])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_views_of_one_memory(dtype: str, region: Any, outputs: int, step: int, data: st.DataObject) -> None:
    x, y = data.draw(grids(dtype))
    n, m = x.shape
    if outputs == 2:
        m -= 1 - m % 2  # pairs that fit between the halos
        x, y = x[:, :m], y[:, :m]
    net = NETWORKS[outputs, getattr(torch, dtype)]
    want = expected(x, net, step)
    before = y.copy()
    region(x, y, n, m, net)
    for feature in range(outputs):
        got = y[1:-1, 1 + feature : m - 1 + feature][:, ::step]
        np.testing.assert_allclose(got, want[..., feature], rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)
    if not np.shares_memory(x, y):
        np.testing.assert_array_equal(y[0], before[0])
        np.testing.assert_array_equal(y[:, 0], before[:, 0])


@pytest.mark.usefixtures("no_tensors")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_tensors_are_made(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = np.random.default_rng(0).standard_normal((301, 301))
        y, net = np.zeros_like(x), network(1, torch.float64)
        one(x, y, 301, 301, net)
        np.testing.assert_allclose(y[1:-1, 1:-1], expected(x, net, 1)[..., 0], rtol=1e-12, atol=1e-13)
        table, values = np.random.default_rng(1).standard_normal((30001, 5)), np.zeros(30001)
        rows(table, values, 30001, net)
        np.testing.assert_allclose(values, net(torch.from_numpy(table)).numpy()[:, 0], rtol=1e-12, atol=1e-13)
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("no_tensors")
def test_an_optimizer_step_between_two_calls() -> None:
    net, table, values = network(1, torch.float64).requires_grad_(True), np.ones((7, 5)), np.zeros(7)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        rows(table, values, 7, net)
        np.testing.assert_allclose(values, net(torch.from_numpy(table)).detach().numpy()[:, 0], rtol=1e-12)
        optimizer.zero_grad()
        net(torch.from_numpy(table)).sum().backward()
        optimizer.step()


def test_a_model_that_is_exchanged_for_one_that_is_not_compiled() -> None:
    table, values = np.ones((7, 5)), np.zeros(7)
    rows(table, values, 7, network(1, torch.float64))
    with pytest.raises(hpacml.CompileError, match="Softplus"):
        rows(table, values, 7, nn.Sequential(nn.Linear(5, 1), nn.Softplus()).double().eval())
    assert np.isfinite(values).all()
    rows(table[:0], values[:0], 0, network(1, torch.float64))
    with pytest.raises(hpacml.CompileError, match="takes 4 features"):
        rows(table, values, 7, nn.Sequential(nn.Linear(4, 1)).double().eval())


def test_results_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    table, values = np.full((7, 5), np.inf), np.zeros(7)
    with pytest.raises(hpacml.ModelError, match="finite"):
        rows(table, values, 7, network(1, torch.float64))
    assert not values.any()


def test_sweeps_of_other_dimensions() -> None:
    """A network may make one point of many, as that of a video makes a position of each frame."""

    @hpacml.region("""tensor functor(f: [i, j, 0:1] = ([i, j])) tensor functor(g: [i, 0:2] = ([i], [i]))
                      ml(infer) in(f(x[0:n, 0:m])) out(g(y[0:n], z[0:n])) model(net)""")
    def fewer(x, y, z, n, m, net):
        raise AssertionError("the body ran")

    @hpacml.region("""tensor functor(f: [i, 0:2] = ([i], [i])) tensor functor(g: [i, j, 0:1] = ([i, j]))
                      ml(infer) in(f(y[0:n], z[0:n])) out(g(x[0:n, 0:m])) model(net)""")
    def more(x, y, z, n, m, net):
        raise AssertionError("the body ran")

    narrowing = nn.Sequential(nn.Flatten(), nn.Linear(5, 2)).eval()
    widening = nn.Sequential(nn.Linear(2, 5), nn.Unflatten(1, (5, 1))).eval()
    x, y, z = np.random.default_rng(0).random((70, 5), np.float32), *np.zeros((2, 70), np.float32)
    with torch.no_grad():
        fewer(x, y, z, 70, 5, narrowing)
        np.testing.assert_allclose(np.stack([y, z], 1), narrowing(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-6)
        more(x, y, z, 70, 5, widening)
        made = widening(torch.from_numpy(np.stack([y, z], 1)))[..., 0].numpy()
    np.testing.assert_allclose(x, made, rtol=0, atol=1e-6)
