"""The clauses `clip` and `project`, in regions and in kernels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from torch import nn

import hpacml
from hpacml import approx
from hpacml.errors import CompileError, DirectiveError
from hpacml.runtime.reports import guarded

Array = Float64[np.ndarray, "n"]
ONE = "tensor functor(one: [i, 0:1] = ([i]))"
X = np.linspace(0, 1, 11)


@pytest.fixture(autouse=True)
def begun_anew() -> Iterator[None]:
    guarded.read(reset=True)
    yield
    guarded.read(reset=True)


def identity() -> nn.Module:
    layer = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    return layer.eval()


def conserve(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Keep the sum."""
    outputs["y"] *= inputs["x"].sum() / outputs["y"].sum()


WANTED = np.clip(X, 0.25, 0.65) * X.sum() / np.clip(X, 0.25, 0.65).sum()


def region(engine: str) -> Any:
    @hpacml.region(f"""{ONE}
        ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) clip(0.25 : 0.65) project(conserve) engine({engine})""")
    def corrected(x: Any, y: Any, n: int, net: Any) -> None:
        raise AssertionError

    return corrected


@hpacml.kernel
def of_module(x: Array, y: Array, net: Any):
    n = len(x)
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) clip(y: 0.25 : 0.65) project(conserve)"):
        for i in range(n):
            y[i] = x[i]


@hpacml.kernel
def of_argument(x: Array, y: Array, net: Any, fix: Any):
    n = len(x)
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) clip(0.25 : 0.65) project(fix)"):
        for i in range(n):
            y[i] = x[i]


@hpacml.kernel
def of_others(x: Array, y: Array, net: Any):
    of_module(x, y, net)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y, net: region("torch")(x, y, len(x), net),
        lambda x, y, net: region("compiled")(x, y, len(x), net),
        of_module,
        lambda x, y, net: of_argument(x, y, net, conserve),
        of_others,
    ],
)
@pytest.mark.parametrize("of", [np.array, torch.tensor])
def test_outputs_are_corrected(call: Any, of: Any) -> None:
    net = identity()
    for _ in range(3):
        x, y = of(X), of(np.zeros(11))
        call(x, y, net)
        np.testing.assert_allclose(y, WANTED)
        np.testing.assert_array_equal(x, X)
    (counts,) = guarded.read().values()
    assert (counts.clipped, counts.projected) == ({"y": 3 * 7}, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y, net: region("torch")(x, y, len(x), net),
        of_module,
        lambda x, y, net: of_argument(x, y, net, conserve),
    ],
)
def test_corrections_have_derivatives(call: Any) -> None:
    x, y = torch.tensor(X, requires_grad=True), torch.zeros(11, dtype=torch.float64)
    with hpacml.differentiable():
        call(x, y, identity())
        y.square().sum().backward()
    given = torch.tensor(X, requires_grad=True)
    clipped = given.clamp(0.25, 0.65)
    (clipped * given.sum() / clipped.sum()).square().sum().backward()
    np.testing.assert_allclose(y.detach(), WANTED)
    torch.testing.assert_close(x.grad, given.grad)


def test_a_closure_is_seen_as_it_is_now() -> None:
    step = 1

    def fix(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
        outputs["y"] += step

    @hpacml.region(f"{ONE} ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) project(fix)")
    def corrected(x: Any, y: Any, n: int, net: Any) -> None:
        fix({}, {})  # which makes it a name of the closure

    y, net = np.zeros(11), identity()
    corrected(X, y, 11, net)
    np.testing.assert_array_equal(y, X + 1)

    step = 2
    corrected(X, y, 11, net)
    np.testing.assert_array_equal(y, X + 2)


def test_the_original_code_runs_where_a_function_fails() -> None:
    @hpacml.region(f"{ONE} ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) project(fix)", on_error="accurate")
    def corrected(x: Any, y: Any, n: int, net: Any, fix: Any) -> None:
        y[:] = 7

    y = np.zeros(11)
    corrected(X, y, 11, identity(), lambda outputs, inputs: 1 / 0)
    assert (y == 7).all()
    assert hpacml.fallbacks()["corrected"] == 1


@pytest.mark.parametrize("kernel", [of_module, of_argument, of_others])
def test_libraries_call_no_functions_of_python(kernel: Any, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"project\(...\) of the region 'of_.*' calls a function of a program"):
        hpacml.build(kernel, tmp_path / "kernel.o", header=tmp_path / "kernel.h")


def test_names_that_are_no_functions() -> None:
    @hpacml.region(f"{ONE} ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) project(nobody)")
    def corrected(x: Any, y: Any, n: int, net: Any) -> None:
        raise AssertionError

    with pytest.raises(CompileError, match=r"project\(nobody\) of the region 'corrected': .* the region sees none"):
        corrected(X, np.zeros(11), 11, identity())

    @hpacml.kernel
    def wrong(x: Array, y: Array, n: int, net: Any):
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        with approx("ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) project(nobody)"):
            y[0] = x[0]

    with pytest.raises(DirectiveError, match="'nobody' is neither a parameter that holds a function nor"):
        wrong(X.copy(), np.zeros(11), 11, identity())
