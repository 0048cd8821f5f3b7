"""The table of modes: what one execution of a region does, in kernels and in opaque regions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx

Vector = Float64[np.ndarray, "N"]


@hpacml.kernel
def kernel_predicated(a: Vector, b: Vector, c: Vector, net: Any, use_model: bool, active: bool, db: str):
    n = len(a)
    approx("tensor functor(pair: [i, 0:2] = ([i], [i]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("""ml(predicated: use_model) if(active) in(pair(a[0:n], b[0:n])) out(one(c[0:n]))
                   model(net) database(db) label("r")"""):
        for i in hpacml.prange(n):
            c[i] = a[i] + 2.0 * b[i]


@hpacml.region("""tensor functor(pair: [i, 0:2] = ([i], [i]))
                  tensor functor(one: [i, 0:1] = ([i]))
                  ml(predicated: use_model) if(active) in(pair(a[0:n], b[0:n])) out(one(c[0:n]))
                  model(net) database(db) label("r")""")
def opaque(a, b, c, n, net, use_model, active, db):
    c[:n] = a[:n] + 2.0 * b[:n]


def region_predicated(a, b, c, net, use_model, active, db):
    opaque(a, b, c, len(a), net, use_model, active, db)


Run = Callable[..., None]


@pytest.fixture(params=[kernel_predicated, region_predicated], ids=["kernel", "region"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    def run(*args: object) -> None:
        request.param(*args, str(tmp_path / "d.h5"))

    return run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


class Difference(torch.nn.Module):
    """A model that is easy to tell from the body."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * (x[..., :1] - x[..., 1:])


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random(7), rng.random(7), np.full(7, -1.0)


def collected() -> h5py.File:
    hpacml.flush()
    return h5py.File("d.h5")


def test_infer_runs_the_model_and_not_the_body(run: Run, arrays) -> None:
    a, b, c = arrays
    run(a, b, c, Difference(), True, True)
    np.testing.assert_array_equal(c, a - b)
    assert not Path("d.h5").exists()


def test_collect_runs_the_body_and_records(run: Run, arrays) -> None:
    a, b, c = arrays
    run(a, b, c, None, False, True)
    np.testing.assert_array_equal(c, a + 2.0 * b)
    with collected() as file:
        np.testing.assert_array_equal(file["r/input"][0], np.stack([a, b], -1))
        np.testing.assert_array_equal(file["r/output"][0, :, 0], c)
        assert file["r/runtime"].dtype == np.float32


def test_if_false_only_runs_the_body(run: Run, arrays) -> None:
    a, b, c = arrays
    for use_model in (False, True):
        run(a, b, c, None, use_model, False)
        np.testing.assert_array_equal(c, a + 2.0 * b)
    assert not Path("d.h5").exists()


def test_conditions_are_evaluated_at_every_call(run: Run, arrays) -> None:
    a, b, c = arrays
    net = Difference()
    for use_model, active in [(False, True), (True, True), (True, False), (False, True), (True, True)]:
        run(a, b, c, net, use_model, active)
        np.testing.assert_array_equal(c, a - b if use_model and active else a + 2.0 * b)
    with collected() as file:
        assert len(file["r/input"]) == len(file["r/output"]) == len(file["r/runtime"]) == 2


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ("missing.pt2", "does not exist"),
        (torch.nn.Linear(3, 1).double(), "failed in the region"),
        (torch.nn.Linear(2, 3).double(), r"\[7, 1\]"),
        (None, "model"),
    ],
    ids=["missing", "input", "output", "none"],
)
def test_a_model_that_does_not_fit_changes_nothing(run: Run, arrays, net, expected: str) -> None:
    a, b, c = arrays
    with pytest.raises(hpacml.ModelError, match=expected):
        run(a, b, c, net, True, True)
    np.testing.assert_array_equal(c, np.full(7, -1.0))


def test_inputs_are_gathered_before_the_body_overwrites_them() -> None:
    @hpacml.region("""tensor functor(whole: [i, j] = ([i, j]))
                      ml(collect) inout(whole(state[0:n, 0:m])) database("d.h5") label("r")""")
    def step(state, n, m):
        state *= 2.0

    state = np.arange(12.0).reshape(3, 4)
    before = state.copy()
    step(state, 3, 4)
    with collected() as file:
        np.testing.assert_array_equal(file["r/input"][0], before)
        np.testing.assert_array_equal(file["r/output"][0], 2.0 * before)


@pytest.mark.parametrize("order", ["C", "F"], ids=["packed", "strided"])
def test_inout_in_place(order: str) -> None:
    @hpacml.region("""tensor functor(whole: [i, j] = ([i, j]))
                      ml(infer) inout(whole(state[0:n, 0:m])) model(net)""")
    def step(state, n, m, net):
        raise AssertionError("the body ran")

    state = np.asarray(np.arange(12.0).reshape(3, 4), order=order)
    before = state.copy()
    net = torch.nn.Linear(4, 4).double()
    step(state, 3, 4, net)
    np.testing.assert_allclose(state, net(torch.tensor(before)).detach().numpy(), rtol=1e-12)


def test_several_inputs_and_outputs() -> None:
    class Net(torch.nn.Module):
        def forward(self, x, y):
            return x + y, x[:, :1] * 10.0

    @hpacml.region("""tensor functor(two: [i, 0:2] = ([i, 0:2]))
                      tensor functor(one: [i, 0:1] = ([i]))
                      ml(infer) in(two(a[0:n, 0:2]), two(b[0:n, 0:2])) out(two(c[0:n, 0:2]), one(d[0:n])) model(net)""")
    def region(a, b, c, d, n, net):
        raise AssertionError("the body ran")

    a, b = np.random.rand(5, 2), np.random.rand(5, 2)
    c, d = np.zeros((5, 2)), np.zeros(5)
    region(a, b, c, d, 5, Net())
    np.testing.assert_array_equal(c, a + b)
    np.testing.assert_array_equal(d, a[:, 0] * 10.0)


def test_several_inputs_and_outputs_are_recorded() -> None:
    @hpacml.region("""tensor functor(one: [i] = ([i]))
                      ml(collect) in(one(a[0:n]), one(b[0:n])) out(one(c[0:n]), one(d[0:n]))
                      database("d.h5") label("r")""")
    def region(a, b, c, d, n):
        c[:], d[:] = a + b, a - b

    a, b, c, d = np.random.rand(4, 5)
    for _ in range(3):
        region(a, b, c, d, 5)
    with collected() as file:
        assert set(file["r"]) == {"input", "input_1", "output", "output_1", "runtime", "runs"}
        np.testing.assert_array_equal(file["r/input_1"][2], b)
        np.testing.assert_array_equal(file["r/output_1"][2], a - b)


def test_a_region_in_a_time_loop() -> None:
    @hpacml.kernel
    def simulate(t: Vector, new: Vector, steps: int):
        n = len(t)
        approx("tensor functor(sides: [i, 0:3] = ([i-1:i+2]))")
        approx("tensor functor(point: [i, 0:1] = ([i]))")
        for step in range(steps):
            with approx("""ml(collect) if(step % 2 == 0) in(sides(t[1:n-1])) out(point(new[1:n-1]))
                           database("d.h5") label("r")"""):
                for i in range(1, n - 1):
                    new[i] = 0.5 * (t[i - 1] + t[i + 1])
            for i in range(1, n - 1):
                t[i] = new[i]

    t, new = np.random.rand(6), np.zeros(6)
    expected, scratch = t.copy(), new.copy()
    simulate.py_func(expected, scratch, 5)
    simulate(t, new, 5)
    np.testing.assert_array_equal(t, expected)
    with collected() as file:
        assert file["r/input"].shape == (3, 4, 3)


def test_body_errors_reach_the_caller() -> None:
    @hpacml.region("""tensor functor(one: [i] = ([i]))
                      ml(collect) in(one(a[0:n])) out(one(b[0:n])) database("d.h5")""")
    def region(a, b, n):
        raise ArithmeticError("it does not converge")

    with pytest.raises(ArithmeticError, match="does not converge"):
        region(np.ones(3), np.ones(3), 3)
    assert not Path("d.h5").exists()


@pytest.mark.parametrize("bounds", ["0:n", "1:n"], ids=["packed", "offset"])
def test_fused_and_unfused_lowering_agree(bounds: str) -> None:
    from hpacml.pipelines import generic_text, run_passes
    from hpacml.runtime import handlers, loading
    from hpacml.runtime.arrays.protocols import array_view
    from hpacml.runtime.entry import call

    handlers.install()
    f = hpacml.functor("f: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])")
    t = np.random.rand(6, 9)
    results = []
    for fuse in (True, False):
        module = f.ir("t[1:n-1, 1:m-1]", t=t, n=6, m=9)
        run_passes(module, fuse=fuse)
        function = loading.compile(generic_text(module), "gather", ["memref", "memref", "index", "index"])
        x = np.zeros((4, 7, 5))
        call(function, [array_view(t, "t"), array_view(x, "x")], 5, 8)
        results.append(x)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("m", "k"), [(3074457345618258603, 7), (6148914691236517206, 4), (2**62, 5)])
def test_numbers_that_would_wrap_are_an_error(m: int, k: int) -> None:
    @hpacml.kernel
    def blocks(t: Vector, m: int, k: int):
        approx("tensor functor(f: [i, 0:1] = ([i * m]))")
        with approx('ml(collect) in(f(t[0:k])) out(f(t[0:k])) database("d.h5") label("r")'):
            t[0] = 1.0

    t = np.zeros(10)
    with pytest.raises(hpacml.MapError, match="reaches index"):
        blocks(t, m, k)
    np.testing.assert_array_equal(t, 0.0)
