"""Functions of JAX as models of `hpacml.jax.region`: they fit by the rules of other regions."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import hpacml
import hpacml.jax
from hpacml import CompileError, ModelError

ERRORS = jax.errors.JaxRuntimeError, ValueError
POINT = "tensor functor(p: [i, 0:1] = ([i]))"
ONE = f"{POINT} ml(infer) in(p(x[0:n])) out(p(y[0:n])) model(net)"


@hpacml.jax.region(f"{POINT} ml(infer) in(p(x[0:n])) out(p(energy[0:n]), p(force[0:n])) model(net)")
def potential(x: Any, energy: Any, force: Any, n: int, net: Any) -> Any: ...


def one_to_one(clauses: str = "", **options: Any) -> Any:
    @hpacml.jax.region(f"{ONE} {clauses}", **options)
    def one(x: Any, y: Any, n: int, net: Any) -> Any:
        return {"y": jnp.full_like(y, -1)}

    return one


X, Z = jnp.arange(3.0), jnp.zeros(3)


class Fields(NamedTuple):
    force: Any
    energy: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Record:
    force: Any
    energy: Any


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", [Fields, Record, dict])
def test_outputs_by_their_names(kind: Callable[..., Any], tmp_path: Path) -> None:
    def net(x: Any) -> Any:
        return kind(force=-2 * x, energy=x * x)

    nets: list[Any] = [net]
    if kind is not Record:  # which files cannot have
        nets.append(str(hpacml.save_model(net, tmp_path / "net.jax", example=np.zeros((3, 1), np.float32))))
    for each in nets:
        for run in (potential, jax.jit(potential, static_argnums=(3, 4))):
            made = run(X, Z, Z, 3, each)
            np.testing.assert_array_equal(made["energy"], X * X)
            np.testing.assert_array_equal(made["force"], -2 * X)
        gradient = jax.grad(lambda x, each=each: potential(x, Z, Z, 3, each)["energy"].sum())(X)
        np.testing.assert_array_equal(gradient, 2 * X)


def test_names_of_other_outputs_are_refused() -> None:
    with pytest.raises(ModelError, match=r"it returns 'force', 'power', but the region has the outputs 'energy'"):
        potential(X, Z, Z, 3, lambda x: {"force": x, "power": x})


def test_maps_of_other_training_data_are_refused(tmp_path: Path) -> None:
    maps = ["to: p: [i, 0:1] = ([i + 1]) | p(x[0:n])", "from: p: [i, 0:1] = ([i]) | p(y[0:n])"]
    net = str(hpacml.save_model(lambda x: x, tmp_path / "m.jax", example=np.zeros((3, 1), np.float32), maps=maps))
    with pytest.raises(ModelError, match=r"does not fit the region 'one': it was trained for the maps\n.*i \+ 1"):
        one_to_one()(X, Z, 3, net)
    maps[0] = maps[0].replace("i + 1", "i")
    net = str(hpacml.save_model(lambda x: x, tmp_path / "m.jax", example=np.zeros((3, 1), np.float32), maps=maps))
    np.testing.assert_array_equal(one_to_one()(X, Z, 3, net)["y"], X)


def logarithm(x: Any) -> Any:
    return jnp.log(x - 1)


def test_values_are_finite_where_that_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = str(hpacml.save_model(logarithm, tmp_path / "m.jax", example=np.full((3, 1), 2, np.float32)))
    monkeypatch.setenv("HPACML_CHECK", "finite")
    error = r"gives values that are not finite in the region 'one': 2 of output 0, .*y\[0:n\].* at \[0, 0\], nan"
    for net in (logarithm, file):
        with pytest.raises(ModelError, match=error):
            one_to_one()(X, Z, 3, net)
        with pytest.raises(ERRORS, match=error):
            jax.jit(lambda x, net=net: one_to_one()(x, Z, 3, net)["y"])(X).block_until_ready()
        np.testing.assert_allclose(one_to_one()(X + 2, Z, 3, net)["y"], np.log(X + 1), rtol=1e-6)


def test_the_original_code_stands_in_for_values_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    one = one_to_one("label('stands in')", on_error="accurate")
    run = jax.jit(lambda x: one(x, Z, 3, logarithm)["y"])
    before = hpacml.fallbacks().get("stands in", 0)
    np.testing.assert_array_equal(run(X), [-1, -1, -1])
    np.testing.assert_allclose(run(X + 2), np.log(X + 1), rtol=1e-6)
    assert hpacml.fallbacks()["stands in"] == before + 1
    both = jax.vmap(lambda x: one(x, Z, 3, logarithm)["y"])(jnp.stack([X, X + 2]))
    np.testing.assert_allclose(both, [[-1, -1, -1], np.log(X + 1)], rtol=1e-6)
    gradient = jax.grad(lambda x: one(x, Z, 3, logarithm)["y"].sum())
    np.testing.assert_array_equal(gradient(X), Z)
    np.testing.assert_allclose(gradient(X + 2), 1 / (X + 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("takes", "given", "error"),
    [
        ("int32", jnp.array([2, 1.5, 3]), r"as int32, which does not have 1\.5.*at \[1, 0\].*'to: p.*x\[0:n\]"),
        ("float32", jnp.array([1, 2, 16777217]), r"as float32, which does not have 16777217.*at \[2, 0\]"),
    ],
)
def test_integers_keep_their_values(takes: str, given: Any, error: str, tmp_path: Path) -> None:
    net = str(hpacml.save_model(lambda x: x * 2, tmp_path / "m.jax", example=np.zeros((3, 1), takes)))
    one = one_to_one()
    np.testing.assert_array_equal(one(jnp.arange(3, dtype=given.dtype), Z, 3, net)["y"], 2 * X)
    with pytest.raises(ModelError, match=error):
        one(given, Z, 3, net)
    with pytest.raises(ERRORS, match=error):
        jax.jit(lambda x: one(x, Z, 3, net)["y"])(given).block_until_ready()


def test_a_file_of_any_name(tmp_path: Path) -> None:
    net = hpacml.save_model(lambda x: x + 1, tmp_path / "m.jax", example=np.zeros((3, 1), np.float32))
    other = str(shutil.copy(net, tmp_path / "net.model"))
    np.testing.assert_array_equal(jax.jit(lambda x: one_to_one()(x, Z, 3, other)["y"])(X), X + 1)


def test_a_batch_of_one(tmp_path: Path) -> None:
    def net(x: Any) -> Any:
        return x - x.mean((1, 2), keepdims=True)

    file = str(hpacml.save_model(net, tmp_path / "m.jax", example=np.zeros((4, 3, 1), np.float32)))
    np.testing.assert_array_equal(jax.jit(lambda x: one_to_one()(x, Z, 3, file)["y"])(X), X - 1)


def test_compiled_code_has_no_functions_of_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompileError, match=r"the region 'one' wants its network compiled.*leave out engine"):
        one_to_one("engine(compiled)")(X, Z, 3, lambda x: x)
    monkeypatch.setenv("HPACML_ENGINE", "compiled")
    with pytest.raises(CompileError, match=r"is a function of JAX"):
        one_to_one()(X, Z, 3, lambda x: x)


def test_functions_of_torch_are_told_from_those_of_jax() -> None:
    with pytest.raises(ModelError, match=r"gets arrays of JAX; one of Torch must be a module"):
        one_to_one()(X, Z, 3, lambda x: torch.tanh(x))


def test_programs_in_files_are_not_batched_and_say_so() -> None:
    hpacml.save_model(lambda x: 2 * x, "twice.jax", example=np.zeros((3, 1), np.float32))
    one = one_to_one()
    np.testing.assert_array_equal(one(X, Z, 3, "twice.jax")["y"], 2 * X)
    with pytest.raises((ModelError, *ERRORS), match="batch the program in a file: pass the function itself"):
        jax.vmap(lambda x: one(x, Z, 3, "twice.jax")["y"])(jnp.stack([X, X]))
    made = jax.vmap(lambda x: one(x, Z, 3, lambda x: 2 * x)["y"])(jnp.stack([X, X + 1]))
    np.testing.assert_array_equal(made, jnp.stack([2 * X, 2 * X + 2]))
