"""Maps by chance in programs of JAX, against the definition in nested loops, and their derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

import hpacml
import hpacml.jax
from tests import differential, oracle
from tests.differential import Call
from tests.strategies import DTYPES, Binding, Program, arrays_of, cases

Case = tuple[Program, list[Binding]]


@pytest.fixture(autouse=True)
def _wide_numbers() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def to_jax(array: Any) -> Any:
    if isinstance(array, torch.Tensor):
        bits = array.contiguous().view(torch.int16).numpy().view(np.uint16)
        return jnp.asarray(np.array(bits)).view(jnp.bfloat16)
    return jnp.array(array)


def to_host(array: Any) -> Any:
    if array.dtype == jnp.bfloat16:
        return torch.from_numpy(np.array(np.asarray(array).view(np.int16))).view(torch.bfloat16)
    return np.array(array)


def region(program: Program, names: dict[str, Any], clauses: str) -> Any:
    parameters = ", ".join([*names, "zz", "model"])
    scope: dict[str, Any] = {}
    exec(f"def mapped({parameters}): raise AssertionError('the original code of a region that infers')", scope)
    text = f"""tensor functor(f: {program.functor})
        tensor functor(g: [q, 0:1] = ([q]))
        ml(infer) {clauses} model(model)"""
    return hpacml.jax.region(text)(scope["mapped"])


class Module(torch.nn.Module):
    """A model of Torch that gives what it is told, or its input in one row."""

    def __init__(self, tensor: Any) -> None:
        super().__init__()
        self.tensor = None if tensor is None else torch.as_tensor(tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 1) if self.tensor is None else self.tensor


def run(call: Call, of_torch: bool, transform: Any = jax.jit) -> None:
    """Gather by a region that writes its input to an array, or scatter by one whose model is a constant."""
    program = call.program
    arrays = {name: to_jax(x) for name, x in call.names.items() if not isinstance(x, int)}
    numbers = {name: x for name, x in call.names.items() if isinstance(x, int)}
    if program.direction == "to":
        tensor = oracle_shape(program, call.names)
        dtype = oracle.promote([d for name, d in program.dtypes if not name.startswith("r")])
        spare = jnp.zeros(prod(tensor), jnp.dtype("bfloat16" if dtype == "bf16" else oracle.NUMPY[dtype]))
        model: Any = Module(None) if of_torch else lambda x: x.reshape(-1, 1)
        mapped = region(program, call.names, f"in(f({program.targets})) out(g(zz[0:{prod(tensor)}]))")
        made = transform(lambda given, zz: mapped(**given, **numbers, zz=zz, model=model)["zz"])(arrays, spare)
        call.gathered = to_host(made.reshape(tensor))
        return
    model = Module(call.tensor) if of_torch else lambda x: to_jax(call.tensor)
    mapped = region(program, call.names, f"in(g(zz[0:1])) out(f({program.targets}))")
    made = transform(lambda given, zz: mapped(**given, **numbers, zz=zz, model=model))(arrays, jnp.zeros(1))
    for name, array in made.items():
        call.names[name][...] = to_host(array)


def oracle_shape(program: Program, names: dict[str, Any]) -> list[int]:
    try:
        return list(oracle.meaning(program.functor, program.targets, names, "to")[0])
    except oracle.Misfit:
        return [1]


WAYS = {"functor in jax": partial(run, of_torch=False), "functor in jax, for torch": partial(run, of_torch=True)}


def translated(program: Program, binding: Binding, way: str) -> None:
    """Compare; errors inside of a program are those of JAX with the text of ours."""

    def outer(call: Call) -> None:
        try:
            WAYS[way](call)
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            if "MapError" not in str(error) and not (binding.wrong_tensor and "ModelError" in str(error)):
                raise
            raise hpacml.MapError(str(error)) from None

    differential.WAYS[way] = outer
    try:
        differential.compare(program, binding, way)
    finally:
        del differential.WAYS[way]


def search(part: int, programs: int, way: str) -> None:
    @hypothesis.seed(part)
    @settings(
        max_examples=programs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(cases(DTYPES, 2))
    def check(case: Case) -> None:
        program, calls = case
        for binding in calls:
            translated(program, binding, way)

    check()


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 4))])
@pytest.mark.parametrize("way", WAYS)
def test_maps(way: str, part: int) -> None:
    before = differential.tally.copy()
    search(part, 5 if part == 0 else 60, way)
    here = differential.tally - before
    assert here["valid"] >= 0.5 * here.total()


def derivatives(call: Call) -> None:
    """Compare the derivatives of a gather with its matrix, which the oracle tells: what it gathers of the numbers of
    elements. Integers make all sums exact."""
    program, names = call.program, call.names
    arrays = {name: x for name, x in names.items() if not isinstance(x, int)}
    data = [name for name in arrays if not name.startswith("r")]
    starts = np.cumsum([0, *(arrays[name].size for name in data)])
    numbered = {name: np.arange(a, a + arrays[name].size, dtype=float) for name, a in zip(data, starts, strict=False)}
    numbered = {name: x.reshape(arrays[name].shape) for name, x in numbered.items()}
    try:
        places = oracle.gather(program.functor, program.targets, {**names, **numbered}).astype(int)
    except (oracle.Misfit, oracle.TooLarge):
        return
    if not places.size:
        return
    mapped = region(program, names, f"in(f({program.targets})) out(g(zz[0:{places.size}]))")

    def gathered(*given: Any) -> Any:
        spare = jnp.zeros(places.size)
        known = {**names, **dict(zip(data, given, strict=True))}
        return mapped(**known, zz=spare, model=lambda x: x.reshape(-1, 1))["zz"]

    random = np.random.default_rng(0)
    along = [random.integers(-9, 9, arrays[name].shape).astype(float) for name in data]
    given = [random.integers(-9, 9, arrays[name].shape).astype(float) for name in data]
    _, pull = jax.vjp(jax.jit(gathered), *given)
    back = random.integers(-9, 9, places.size).astype(float)
    _, forward = jax.jvp(jax.jit(gathered), given, along)
    flat = np.concatenate([x.reshape(-1) for x in along])
    np.testing.assert_array_equal(forward, flat[places.reshape(-1)])
    wanted = np.zeros(starts[-1])
    np.add.at(wanted, places.reshape(-1), back)
    found = np.concatenate([np.asarray(x).reshape(-1) for x in pull(back)])
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 4))])
def test_derivatives_are_the_matrix_of_the_map(part: int) -> None:
    @hypothesis.seed(part)
    @settings(
        max_examples=8 if part == 0 else 60,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(("f64",), 1))
    def check(case: Case) -> None:
        program, calls = case
        hypothesis.assume(program.direction == "to")
        for binding in calls:
            derivatives(Call(program, dict(binding.numbers) | arrays_of(program, binding)))

    check()
