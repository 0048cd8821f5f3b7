"""Regions in loops, conditions and transformations of JAX: what is recorded, and what is differentiated."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jaxtyping import Float32

import hpacml
import hpacml.jax

T = np.linspace(0, 1, 9, dtype=np.float32)
Vector = Float32[np.ndarray, "N"]
FUNCTORS = """tensor functor(s: [i, 0:2] = ([i-1], [i+1]))
              tensor functor(p: [i, 0:1] = ([i]))"""
MAPS = "in(s(t[1:8])) out(p(new[1:8]))"
ERRORS = jax.errors.JaxRuntimeError, ValueError, hpacml.ModelError


@hpacml.jax.region(f"{FUNCTORS} ml(collect) {MAPS} database('d.h5')")
def record(t: Any, new: Any) -> Any:
    return {"new": new.at[1:-1].set(jnp.sin(t[:-2] * t[2:]))}


@hpacml.jax.region(f"{FUNCTORS} ml(infer) {MAPS} model(net)")
def replace(t: Any, new: Any, net: Any) -> Any: ...


@hpacml.jax.region(f"{FUNCTORS} ml(predicated: use) {MAPS} model(net) database('d.h5')")
def choose(t: Any, new: Any, use: Any, net: Any) -> Any:
    return {"new": new.at[1:-1].set(0.5 * (t[:-2] + t[2:]))}


@hpacml.kernel
def double(x: Vector):
    for i in range(len(x)):
        x[i] = x[i] + x[i]


class Linear(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x[:, :1] + 3 * x[:, 1:] + 1


def linear(x: Any) -> Any:
    return 2 * x[:, :1] + 3 * x[:, 1:] + 1


def by_hand(t: Any) -> Any:
    return jnp.asarray(t).at[1:-1].set(2 * t[:-2] + 3 * t[2:] + 1)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Databases of relative paths are in the folder of the first call, so each test begins with regions of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("record", "replace", "choose"):
        monkeypatch.setitem(globals(), name, anew(globals()[name]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def anew(region: Any) -> Any:
    """The same region, made once more."""
    options = region.options()
    return hpacml.jax.region(options.pop("directives"), **options)(region.py_func)


def recorded(label: str = "record") -> int:
    hpacml.flush()
    return len(hpacml.open_database("d.h5")[label]) if os.path.exists("d.h5") else 0


LOOPS: dict[str, Callable[[Any], Any]] = {
    "scan": lambda t: jax.lax.scan(lambda t, _: (record(t, t)["new"], None), t, length=4)[0],
    "fori": lambda t: jax.lax.fori_loop(0, 4, lambda _, t: record(t, t)["new"], t),
    "nested": lambda t: jax.lax.fori_loop(
        0, 2, lambda _, t: jax.lax.scan(lambda t, _: (record(t, t)["new"], None), t, length=2)[0], t
    ),
    "cond": lambda t: jax.lax.scan(
        lambda t, k: (jax.lax.cond(k < 4, lambda t: record(t, t)["new"], lambda t: t, t), None), t, jnp.arange(6)
    )[0],
    "jit": lambda t: jax.lax.scan(lambda t, _: (jax.jit(lambda t: record(t, t)["new"])(t), None), t, length=4)[0],
    "map": lambda t: jax.lax.map(lambda t: record(t, t)["new"], jnp.stack([t, t + 1, t + 2, t + 3])),
}
TRANSFORMED: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "alone": lambda f: f,
    "grad": lambda f: jax.grad(lambda t: f(t).sum()),
    "jvp": lambda f: lambda t: jax.jvp(f, (t,), (t,)),
    "hessian": lambda f: jax.hessian(lambda t: f(t).sum()),
    "batch": lambda f: lambda t: jax.vmap(jax.grad(lambda t: f(t).sum()))(t[None]),
}


@pytest.mark.parametrize("transformed", TRANSFORMED)
@pytest.mark.parametrize("loop", LOOPS)
def test_each_call_of_a_loop_is_recorded_once_also_where_it_is_differentiated(loop: str, transformed: str) -> None:
    run = TRANSFORMED[transformed](LOOPS[loop])
    jax.block_until_ready(jax.jit(run)(jnp.asarray(T)))
    assert recorded() == 4


def test_conditions_around_calls_that_differ_within_a_batch_are_refused() -> None:
    """JAX would run, and record, both branches for all."""

    def some(t: Any, use: Any) -> Any:
        return jax.lax.cond(use, lambda t: record(t, t)["new"], lambda t: t, t)

    def several(t: Any, count: Any) -> Any:
        step = lambda c: (record(c[0], c[0])["new"], c[1] + 1)  # noqa: E731
        return jax.lax.while_loop(lambda c: c[1] < count, step, (t, 0))[0]

    batch = jnp.stack([T, T + 1])
    with pytest.raises(hpacml.HpacmlError, match=r"a condition that differs within the batch.*use jax\.lax\.map"):
        jax.jit(jax.vmap(some))(batch, jnp.array([True, False]))

    def until(t: Any, count: Any) -> Any:
        def goes_on(c: Any) -> Any:
            return (record(c[0], c[0])["new"][1] < 9) & (c[1] < count)

        return jax.lax.while_loop(goes_on, lambda c: (c[0], c[1] + 1), (t, 0))[0]

    for loop in (several, until):
        with pytest.raises(
            hpacml.HpacmlError, match=r"while_loop around .*differs within the batch.*use jax\.lax\.map"
        ):
            jax.jit(jax.vmap(loop))(batch, jnp.array([1, 2]))
    jax.block_until_ready(jax.jit(jax.vmap(some, (0, None)))(batch, True))
    assert recorded() == 2


def test_a_loop_that_ends_by_a_condition() -> None:
    def run(t: Any) -> Any:
        return jax.lax.while_loop(lambda c: c[1] < 3, lambda c: (record(c[0], c[0])["new"], c[1] + 1), (t, 0))[0]

    made, tangent = jax.jit(lambda t: jax.jvp(run, (t,), (t,)))(T)
    assert recorded() == 3
    wanted = jax.jvp(lambda t: jnp.asarray(t).at[1:-1].set(jnp.sin(t[:-2] * t[2:])), (T,), (T,))
    for _ in range(2):
        wanted = jax.jvp(lambda t: t.at[1:-1].set(jnp.sin(t[:-2] * t[2:])), wanted[:1], wanted[1:])
    np.testing.assert_allclose(made, wanted[0], rtol=1e-6)
    np.testing.assert_allclose(tangent, wanted[1], rtol=1e-5)


@pytest.mark.parametrize("net", [Linear(), linear])
def test_conditions_of_steps_in_a_loop_that_is_differentiated(net: Any) -> None:
    def run(t: Any) -> Any:
        return jax.lax.scan(lambda t, k: (choose(t, t, k >= 2, net)["new"], None), t, jnp.arange(4))[0]

    def wanted(t: Any) -> Any:
        for k in range(4):
            t = by_hand(t) if k >= 2 else jnp.asarray(t).at[1:-1].set(0.5 * (t[:-2] + t[2:]))
        return t

    value, gradient = jax.jit(jax.value_and_grad(lambda t: (run(t) ** 2).sum()))(T)
    value_wanted, gradient_wanted = jax.value_and_grad(lambda t: (wanted(t) ** 2).sum())(T)
    np.testing.assert_allclose(value, value_wanted, rtol=1e-6)
    np.testing.assert_allclose(gradient, gradient_wanted, rtol=1e-6)
    assert recorded("choose") == 2


@pytest.mark.parametrize("net", [Linear(), linear])
def test_rematerialisation(net: Any) -> None:
    def loss(t: Any) -> Any:
        return (replace(t, t, net)["new"] ** 2).sum()

    wanted = jax.grad(lambda t: (by_hand(t) ** 2).sum())(T)
    np.testing.assert_allclose(jax.jit(jax.grad(jax.checkpoint(loss)))(T), wanted, rtol=1e-6)
    with pytest.raises(NotImplementedError, match=r"checkpoint"):
        jax.grad(jax.checkpoint(lambda t: record(t, t)["new"].sum()))(T)


class Cubic(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(2 * x[:, :1]) * x[:, 1:] + 3 * x[:, 1:] ** 3


def cubic(x: Any) -> Any:
    return jnp.sin(2 * x[:, :1]) * x[:, 1:] + 3 * x[:, 1:] ** 3


def squares(net: Any) -> Callable[[Any], Any]:
    return lambda t: (replace(t, t, net)["new"] ** 2).sum()


SECOND: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "forward of backward": jax.hessian,
    "backward of forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "backward twice": lambda f: jax.jacrev(jax.jacrev(f)),
    "forward twice": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "third": lambda f: jax.grad(lambda t: (jax.hessian(f)(t) @ T) @ T),
    "by the direction": lambda f: lambda t: jax.grad(lambda v: jax.jvp(f, (t,), (v,))[1])(T),
    "of a batch": lambda f: lambda t: jax.vmap(jax.hessian(f))(jnp.stack([t, 2 * t])),
}


@pytest.mark.parametrize("second", SECOND)
def test_derivatives_of_any_order(second: str) -> None:
    wanted = SECOND[second](squares(cubic))(T)
    found = jax.jit(SECOND[second](squares(Cubic())))(T)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)


class Fields(NamedTuple):
    c: Any
    b: Any


class Named(torch.nn.Module):
    def __init__(self, kind: Callable[..., Any]) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor, k: torch.Tensor) -> Any:
        return self.kind(c=-x * k, b=x * x)


@pytest.mark.parametrize("kind", [Fields, dict])
def test_derivatives_of_outputs_by_their_names(kind: Callable[..., Any]) -> None:
    a, z = jnp.arange(4.0), jnp.zeros(4)

    def run(name: str) -> Callable[[Any], Any]:
        return lambda a: mixed(a, 2 + z, z, z, Named(kind))[name].sum()

    np.testing.assert_array_equal(jax.grad(run("b"))(a), 2 * a)
    np.testing.assert_array_equal(jax.grad(run("c"))(a), z - 2)


class OutsideOfTorch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, *along: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return along[0].detach() * torch.from_numpy(np.cos(x.detach().numpy()))


class Sine(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return OutsideOfTorch.apply(x).sum(-1, keepdim=True)


def test_derivatives_that_torch_does_not_know_are_no_zeros() -> None:
    def sine(x: Any) -> Any:
        return jnp.sin(x).sum(-1, keepdims=True)

    np.testing.assert_allclose(jax.grad(squares(Sine()))(T), jax.grad(squares(sine))(T), rtol=1e-5)
    for other in (
        lambda f: jax.jvp(f, (T,), (T,))[1],
        lambda f: jax.hessian(f)(T),
        lambda f: SECOND["backward twice"](f)(T),
    ):
        with pytest.raises((hpacml.ModelError, *ERRORS), match=r"computes its backward outside of Torch"):
            jax.block_until_ready(other(squares(Sine())))

    class Detached(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return 2 * x[:, :1]

    class Leaf(torch.nn.Module):
        """The forces of a potential, of inputs of its own."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0][:, :1]

    for first in (lambda f: jax.jvp(f, (T,), (T,))[1], lambda f: jax.grad(f)(T)):
        with pytest.raises(
            (hpacml.ModelError, *ERRORS),
            match=r"the model Detached of the region 'replace' has no gradient.*torch.no_grad",
        ):
            jax.block_until_ready(first(squares(Detached())))
        with pytest.raises(ERRORS, match=r"region replace.*no output depends on inputs as Torch sees it"):
            jax.block_until_ready(first(squares(Leaf())))


def test_parts_of_a_derivative_that_torch_does_not_know_are_no_zeros() -> None:
    class Mixed(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :1] * x[:, 1:] + OutsideOfTorch.apply(x).sum(-1, keepdim=True)

    def mixed_by_hand(x: Any) -> Any:
        return x[:, :1] * x[:, 1:] + jnp.sin(x).sum(-1, keepdims=True)

    np.testing.assert_allclose(jax.grad(squares(Mixed()))(T), jax.grad(squares(mixed_by_hand))(T), rtol=1e-5)
    for other in (lambda f: jax.jvp(f, (T,), (T,))[1], lambda f: jax.hessian(f)(T)):
        with pytest.raises(ERRORS, match=r"computes its backward outside of Torch"):
            jax.block_until_ready(other(squares(Mixed())))


def test_an_output_that_is_detached_has_no_gradient_where_others_have_one() -> None:
    class Half(torch.nn.Module):
        def forward(self, x: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * x, (x**3).detach()

    def run(name: str) -> Callable[[Any], Any]:
        return lambda a: mixed(a, jnp.arange(4), jnp.zeros(4), jnp.zeros(4), Half())[name].sum()

    a = jnp.arange(4.0)
    np.testing.assert_array_equal(jax.grad(run("b"))(a), 2 * a)
    for unknown in (jax.grad(run("c")), jax.hessian(run("b")), lambda a: jax.jvp(run("c"), (a,), (a,))):
        with pytest.raises(ERRORS, match=r"derivatives are unknown"):
            jax.block_until_ready(unknown(a))


class Counter(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x[:, :1] * self.calls


class Noise(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(x[:, :1], 0.5, training=True)


@pytest.mark.parametrize(("net", "why"), [(Counter(), "changes its 'calls'"), (Noise(), "draws random numbers")])
def test_derivatives_of_a_model_that_differs_when_it_runs_again_are_refused(net: Any, why: str) -> None:
    torch.manual_seed(0)
    jax.block_until_ready(jax.jit(squares(net))(T))
    with pytest.raises(ERRORS, match=rf"the region replace {why}"):
        jax.block_until_ready(jax.grad(lambda t: jnp.square(replace(t, t, net)["new"]).sum())(T))


@pytest.mark.parametrize("net", [Linear(), linear])
def test_programs_that_are_not_compiled(net: Any) -> None:
    with jax.disable_jit():
        np.testing.assert_allclose(jax.jit(lambda t: replace(t, t, net)["new"])(T), by_hand(T), rtol=1e-6)
        np.testing.assert_allclose(
            jax.grad(lambda t: replace(t, t, net)["new"].sum())(T), jax.grad(lambda t: by_hand(t).sum())(T), rtol=1e-6
        )
        LOOPS["scan"](jnp.asarray(T))
        np.testing.assert_array_equal(hpacml.jax.call(double)(T)["x"], 2 * T)
    assert recorded() == 4


@hpacml.jax.region("""tensor functor(f: [i, 0:1] = ([i]))
                      ml(infer) in(f(a[0:4]), f(k[0:4])) out(f(b[0:4]), f(c[0:4])) model(net)""")
def mixed(a: Any, k: Any, b: Any, c: Any, net: Any) -> Any: ...


class Both(torch.nn.Module):
    def forward(self, x: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * k, (3 * k).to(torch.int32)


def both(x: Any, k: Any) -> Any:
    return x * k, (3 * k).astype(jnp.int32)


@pytest.mark.parametrize("net", [Both(), both])
def test_integers_have_no_derivatives(net: Any) -> None:
    a, k, c = jnp.ones(4), jnp.arange(4), jnp.zeros(4, jnp.int32)

    def run(a: Any, k: Any) -> Any:
        return mixed(a, k, jnp.zeros(4), c, net)

    made, tangents = jax.jvp(lambda a: run(a, k), (a,), (2 * a,))
    np.testing.assert_array_equal(made["c"], 3 * k)
    np.testing.assert_array_equal(tangents["b"], 2 * k)
    assert tangents["c"].dtype == jax.dtypes.float0
    by_a, by_k = jax.grad(lambda a, k: run(a, k)["b"].sum(), (0, 1), allow_int=True)(a, k)
    np.testing.assert_array_equal(by_a, k)
    assert by_k.dtype == jax.dtypes.float0


def test_arrays_of_programs_around() -> None:
    """A region in a function that JAX transforms, with arrays and weights of the function around that."""

    def batched(t: Any, weights: Any) -> Any:
        return jax.vmap(lambda factor: factor * replace(t, t, lambda x: x @ weights)["new"])(jnp.arange(3.0))

    with jax.checking_leaks():
        made = jax.jit(batched)(T, jnp.array([[2.0], [3.0]]))
    np.testing.assert_allclose(made[2][1:-1], 2 * (by_hand(T)[1:-1] - 1), rtol=1e-6)


def test_donated_memory_that_maps_do_not_touch() -> None:
    @hpacml.jax.region("""tensor functor(f: [i, 0:1] = ([i]))
                          ml(infer) in(f(a[0:4])) out(f(b[2:6])) model(net)""")
    def part(a: Any, b: Any, spare: Any, net: Any) -> Any: ...

    run = jax.jit(lambda a, b, spare: (part(a, b, spare, torch.nn.Identity())["b"], spare + 1), donate_argnums=(1, 2))
    a, b, spare = jnp.arange(4.0), jnp.full(8, 5.0), jnp.full(9, 3.0)
    made, other = run(a, b, spare)
    np.testing.assert_array_equal(made, [5, 5, 0, 1, 2, 3, 5, 5])
    np.testing.assert_array_equal(other, np.full(9, 4))
    np.testing.assert_array_equal(a, range(4))
    assert b.is_deleted()
    assert spare.is_deleted()


def test_what_is_no_array() -> None:
    for wrong in ([1.0] * 9, torch.ones(9), None, "t", memoryview(T), 3.0):
        with pytest.raises(hpacml.MapError, match=rf"'t' is a {type(wrong).__name__}: "):
            replace(wrong, T, linear)
    for wrong in (np.array([1] * 9, object), jax.random.split(jax.random.key(0), 9), jnp.ones(9, jnp.float8_e4m3fn)):
        with pytest.raises(hpacml.MapError, match=r"'t' has elements of .*: hpacml knows bool"):
            replace(wrong, T, linear)


def test_clauses_that_decide_about_points_are_refused() -> None:
    for clause in ("clip(0:1)", "project(f)", "guard(range)"):
        with pytest.raises(hpacml.DirectiveError, match=rf"regions of JAX have no '{clause.partition('(')[0]}'"):
            hpacml.jax.region(f"{FUNCTORS} ml(infer) {MAPS} model('m.pt2') {clause}")(replace.py_func)


def test_pickles_and_copies() -> None:
    for each in (mixed, double):
        assert pickle.loads(pickle.dumps(each)) is each
    assert copy.deepcopy([mixed])[0] is mixed
    other = anew(replace)  # which has no name of its own
    made = pickle.loads(cloudpickle.dumps(other))
    assert type(made) is type(replace)
    np.testing.assert_allclose(jax.jit(lambda t: made(t, t, linear)["new"])(T), by_hand(T), rtol=1e-6)
    kernel = pickle.loads(pickle.dumps(hpacml.jax.call(double)))
    np.testing.assert_array_equal(jax.jit(lambda t: kernel(t)["x"])(T), 2 * T)
