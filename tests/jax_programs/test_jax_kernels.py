"""`hpacml.jax.call`: kernels as pure functions of JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jaxtyping import Float32, Int32

import hpacml
import hpacml.jax
from hpacml import approx

Vector = Float32[np.ndarray, "N"]
Counts = Int32[np.ndarray, "K"]
ERRORS = jax.errors.JaxRuntimeError, ValueError


@hpacml.kernel
def axpy(a: float, x: Vector, y: Vector):
    for i in range(len(x)):
        y[i] = np.float32(a) * x[i] + y[i]


@hpacml.kernel
def count(x: Vector, least: np.float32, found: Counts, scale: int = 1) -> tuple[np.int32, bool]:
    n = np.int32(0)
    for i in range(len(x)):
        if x[i] >= least:
            n += np.int32(1)
    found[0] = n * np.int32(scale)
    return n, n > 2


@hpacml.kernel
def strict(x: Vector, k: int):
    if k < 0:
        raise ValueError(f"k is {k}")
    x[0] = np.float32(k)


@hpacml.kernel
def named(x: Vector, how: str):
    for i in range(len(x)):
        x[i] = x[i] * np.float32(2) if how == "double" else np.float32(0)


@hpacml.kernel
def smooth(t: Vector, new: Vector, use: bool, net: Any, path: str):
    n = len(t)
    approx("tensor functor(s: [i, 0:2] = ([i-1], [i+1]))")
    approx("tensor functor(p: [i, 0:1] = ([i]))")
    with approx("ml(predicated: use) in(s(t[1:n-1])) out(p(new[1:n-1])) model(net) database(path)"):
        for i in range(1, n - 1):
            new[i] = np.float32(0.5) * (t[i - 1] + t[i + 1])


X = np.arange(6, dtype=np.float32)


def test_written_arrays_are_results() -> None:
    f, y = hpacml.jax.call(axpy), jnp.ones(6)
    np.testing.assert_array_equal(f(2.0, X, y)["y"], 2 * X + 1)
    np.testing.assert_array_equal(y, 1)
    run = jax.jit(lambda a, x, y: f(a, x, y=y)["y"] + 1)
    for a in (3.0, -0.5):
        np.testing.assert_array_equal(run(a, X, y), np.float32(a) * X + 2)  # a traced number of 32 bits
    np.testing.assert_array_equal(jax.jit(lambda x: f(3, x, x)["y"])(X), 4 * X)


def test_numbers_are_returned_beside_them() -> None:
    f = hpacml.jax.call(count)
    zero = jnp.zeros(1, jnp.int32)
    (n, many), arrays = jax.jit(lambda x, k: f(x, 2.5, zero, k))(X, 10)
    assert (int(n), bool(many), int(arrays["found"][0])) == (3, True, 30)
    (n, many), arrays = f(X, np.float32(4.5), zero)
    assert (int(n), bool(many), int(arrays["found"][0])) == (1, False, 1)


def test_texts_choose_the_code() -> None:
    f = hpacml.jax.call(named)
    np.testing.assert_array_equal(jax.jit(lambda x: f(x, "double")["x"])(X), 2 * X)
    np.testing.assert_array_equal(jax.jit(f, static_argnames="how")(X, how="zero")["x"], 0 * X)


def test_donated_memory_is_written_in_place() -> None:
    f = hpacml.jax.call(strict)
    x = jnp.zeros(1000) + 1
    before = x.unsafe_buffer_pointer()
    made = jax.jit(lambda x: f(x, 7)["x"], donate_argnums=0)(x)
    assert made.unsafe_buffer_pointer() == before
    assert made[0] == 7


def test_exceptions_of_kernels() -> None:
    f = hpacml.jax.call(strict)
    with pytest.raises(ValueError, match=r"^k is -1\n"):
        f(X, -1)
    run = jax.jit(lambda x, k: f(x, k)["x"])
    np.testing.assert_array_equal(run(X, 3)[:2], [3, 1])
    with pytest.raises(ERRORS, match=r"ValueError: k is -2"):
        run(X, -2).block_until_ready()


def test_vmap_and_gradients() -> None:
    f = hpacml.jax.call(axpy)
    xs = np.stack([X, X + 1, 2 * X])
    made = jax.vmap(lambda a, x: f(a, x, jnp.ones(6))["y"])(np.arange(3, dtype=np.float32), xs)
    np.testing.assert_array_equal(made, np.arange(3)[:, None] * xs + 1)
    with pytest.raises(hpacml.HpacmlError, match=r"axpy has no gradient: .* jax.custom_vjp"):
        jax.grad(lambda x: f(1.0, x, jnp.ones(6))["y"].sum())(X)


def test_regions_in_kernels(tmp_path: Path) -> None:
    f, path = hpacml.jax.call(smooth), str(tmp_path / "d.h5")
    net = torch.nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 2.0]]))
        net.bias.fill_(3.0)
    run = jax.jit(lambda t, use: f(t, jnp.zeros(6), use, net, path)["new"])
    np.testing.assert_array_equal(run(X, True)[1:-1], X[:-2] + 2 * X[2:] + 3)
    for _ in range(2):
        np.testing.assert_array_equal(run(X, False)[1:-1], X[1:-1])
    hpacml.flush()
    assert len(hpacml.open_database(path)["smooth"]) == 2


def test_what_does_not_fit() -> None:
    f = hpacml.jax.call(axpy)
    with pytest.raises(hpacml.MapError, match=r"'x' of axpy.* int32, but float32"):
        f(1.0, np.arange(6, dtype=np.int32), X)
    with pytest.raises(hpacml.MapError, match=r"'N' is 6 in .* but 5 in"):
        jax.jit(f)(1.0, X, X[:5])
    with pytest.raises(hpacml.MapError, match=r"1 dimensions? "):
        f(1.0, X.reshape(2, 3), X)
    with pytest.raises(hpacml.MapError, match=r"'a' takes float"):
        f("1", X, X)
    with pytest.raises(hpacml.MapError, match=r"'a' of axpy\(\) takes float, .* traced as float32\[6\]"):
        jax.jit(f)(X, X, X)
    with pytest.raises(hpacml.CompileError, match=r"takes a kernel"):
        hpacml.jax.call(len)  # type: ignore[arg-type]
