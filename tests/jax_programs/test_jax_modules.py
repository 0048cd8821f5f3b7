"""Modules of Equinox and Flax as models: passed to regions of JAX, NumPy and Torch, in files, and trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import hpacml
import hpacml.jax

MAPS = """tensor functor(s: [i, 0:2] = ([i-1], [i+1]))
          tensor functor(p: [i, 0:1] = ([i]))
          ml(infer) in(s(t[1:8])) out(p(new[1:8])) model(net)"""
T = np.linspace(0, 1, 9, dtype=np.float32)
Z = np.full(9, 5, np.float32)
X = np.stack([T[:-2], T[2:]], -1)


@hpacml.jax.region(MAPS)
def in_jax(t: Any, new: Any, net: Any) -> Any: ...


@hpacml.region(MAPS)
def elsewhere(t: Any, new: Any, net: Any) -> None: ...


def of_equinox() -> Any:
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed: pip install equinox")

    class Rows(eqx.Module):
        mlp: Any

        def __call__(self, x: Any) -> Any:
            return jax.vmap(self.mlp)(x)

    return Rows(eqx.nn.MLP(2, 1, 8, 1, key=jax.random.key(0)))


def of_linen() -> Any:
    nn = pytest.importorskip("flax.linen", reason="Flax is not installed: pip install flax")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(1)(nn.tanh(nn.Dense(8)(x)))

    net = Net()
    return net.bind(net.init(jax.random.key(0), X))


def of_nnx() -> Any:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed: pip install flax")
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(2, 8, rngs=rngs), jnp.tanh, nnx.Linear(8, 1, rngs=rngs))


MODULES: dict[str, Callable[[], Any]] = {"Equinox": of_equinox, "Flax Linen": of_linen, "Flax NNX": of_nnx}


@pytest.mark.parametrize("kind", MODULES)
def test_a_module_is_a_model_of_any_region(kind: str, tmp_path: Path) -> None:
    net = MODULES[kind]()
    wanted = Z.copy()
    wanted[1:-1] = np.asarray(net(jnp.asarray(X)))[:, 0]
    path = str(hpacml.save_model(net, tmp_path / "m.jax", example=np.zeros((3, 2), np.float32)))
    for model in (net, path):
        np.testing.assert_allclose(in_jax(T, Z, model)["new"], wanted, atol=1e-6)
        np.testing.assert_allclose(jax.jit(lambda t, m=model: in_jax(t, Z, m)["new"])(T), wanted, atol=1e-6)
        for to, back in ((np.array, np.asarray), (torch.tensor, np.asarray)):
            new = to(Z)
            elsewhere(to(T), new, model)
            np.testing.assert_allclose(back(new), wanted, atol=1e-6)


def test_parameters_of_modules_are_trained_through_a_region() -> None:
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed: pip install equinox")
    net = of_equinox()

    def loss(net: Any, run: Callable[[Any], Any]) -> Any:
        return (run(net)[1:-1] ** 2).sum()

    def through(net: Any) -> Any:
        return in_jax(T, Z, net)["new"]

    def by_hand(net: Any) -> Any:
        return jnp.asarray(Z).at[1:-1].set(net(jnp.asarray(X))[:, 0])

    found, wanted = (eqx.filter_jit(eqx.filter_grad(loss))(net, run) for run in (through, by_hand))
    for a, b in zip(*(jax.tree.leaves(eqx.filter(each, eqx.is_array)) for each in (found, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    before = loss(net, through)
    net = eqx.apply_updates(net, jax.tree.map(lambda g: None if g is None else -0.01 * g, found))
    assert loss(net, through) < before


@pytest.mark.parametrize("kind", ["Flax Linen", "Flax NNX"])
def test_parameters_of_flax(kind: str) -> None:
    net = MODULES[kind]()
    if kind == "Flax Linen":
        module, parameters = net.unbind()
        apply = module.apply
    else:
        nnx = pytest.importorskip("flax.nnx")
        graph, parameters = nnx.split(net)

        def apply(parameters: Any, x: Any) -> Any:
            return nnx.merge(graph, parameters)(x)

    through = jax.jit(jax.grad(lambda p: in_jax(T, Z, lambda x: apply(p, x))["new"][1:-1].sum()))(parameters)
    by_hand = jax.grad(lambda p: apply(p, jnp.asarray(X)).sum())(parameters)
    for a, b in zip(jax.tree.leaves(through), jax.tree.leaves(by_hand), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_module_of_single_points_says_what_it_was_given() -> None:
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed: pip install equinox")
    mlp = eqx.nn.MLP(2, 1, 8, 1, key=jax.random.key(0))
    with pytest.raises(hpacml.ModelError, match=r"the model MLP of the region in_jax failed on float32\[7, 2\]: "):
        jax.jit(lambda t: in_jax(t, Z, mlp)["new"])(T)
    with pytest.raises(hpacml.ModelError, match=r"the model MLP failed in the region 'elsewhere' on .*float32\[7, 2\]"):
        elsewhere(T, Z.copy(), mlp)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    wide = str(hpacml.save_model(lambda x: x[:, :1], tmp_path / "wide.jax", example=np.zeros((3, 4), np.float32)))
    with pytest.raises(hpacml.ModelError, match=r"wide\.jax' takes float32\[\*, 4\], and the region gives .*\[7, 2\]"):
        jax.jit(lambda t: in_jax(t, Z, wide)["new"])(T)
    with jax.enable_x64(True):
        narrow = str(
            hpacml.save_model(lambda x: x[:, :1] * 3, tmp_path / "m.jax", example=np.zeros((3, 2), np.float32))
        )
        t, z = np.arange(9.0), np.zeros(9)
        made = jax.jit(lambda t: in_jax(t, z, narrow)["new"])(t)  # which the model takes as float32
        assert made.dtype == np.float64
        np.testing.assert_array_equal(made[1:-1], 3 * t[:-2])
        elsewhere(t, z, narrow)
        np.testing.assert_array_equal(z, made)


def test_the_original_code_stands_in_for_a_function_that_fails() -> None:
    @hpacml.jax.region(MAPS, on_error="accurate")
    def covered(t: Any, new: Any, net: Any) -> Any:
        return {"new": new + 1}

    before = hpacml.fallbacks().get("covered", 0)
    np.testing.assert_array_equal(jax.jit(lambda t: covered(t, Z, lambda x: x @ x)["new"])(T), Z + 1)
    assert hpacml.fallbacks()["covered"] == before + 1  # once for the program
    np.testing.assert_array_equal(covered(T, Z, lambda x: 2 * x[:, :1])["new"][1:-1], 2 * T[:-2])
