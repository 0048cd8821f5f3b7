"""Maps by chance in programs of JAX, against the definition in nested loops, and their derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
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


@contextmanager
def quickly_compiled() -> Iterator[None]:
    """XLA optimises its own part of programs little; ours is compiled as ever."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


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


def is_misfit(call: Call) -> bool:
    try:
        oracle.meaning(call.program.functor, call.program.targets, call.names, call.program.direction)
    except oracle.Misfit:
        return True
    return False


WAYS = {"functor in jax": partial(run, of_torch=False), "functor in jax, for torch": partial(run, of_torch=True)}


def translated(program: Program, binding: Binding, way: str) -> None:
    """Compare; errors inside of a program are those of JAX with the text of ours."""

    def outer(call: Call) -> None:
        try:
            WAYS[way](call)
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            # Of a map that does not fit nobody knows which tensor would: what the model returns is looked at first.
            wrong_tensor = binding.wrong_tensor or is_misfit(call)
            if "MapError" not in str(error) and not (wrong_tensor and "ModelError" in str(error)):
                raise
            raise hpacml.MapError(str(error)) from None

    differential.WAYS[way] = outer
    try:
        differential.compare(program, binding, way)
    finally:
        del differential.WAYS[way]


PARTS = [0, *(pytest.param(part, marks=pytest.mark.slow) for part in (1, 2))]
"""A quick one, and others, each of them with maps of its own for each kind of test and of model."""


def search(seed: int, programs: int, way: str) -> None:
    @hypothesis.seed(seed)
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
        for binding in [] if rounds(program) else calls:
            translated(program, binding, way)

    check()


def rounds(program: Program) -> bool:
    """Whether integers that a model gives are floats before they become elements: of arrays that have both."""
    types = {dtype for name, dtype in program.dtypes if not name.startswith("r")}
    mixed = bool(types & {*oracle.INTEGERS} and types & {*oracle.FLOATS})
    return program.direction == "from" and mixed and program.tensor_dtype in oracle.INTEGERS


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("way", WAYS)
def test_maps(way: str, part: int) -> None:
    before = differential.tally.copy()
    with quickly_compiled() if part else nullcontext():
        search(10 * [*WAYS].index(way) + part, 45 if part else 5, way)
    here = differential.tally - before
    assert here["valid"] >= 0.5 * here.total()


class Map:
    """A map of a program as its matrix, which the oracle tells: it moves the numbers of elements."""

    def __init__(self, call: Call) -> None:
        self.program, self.names = call.program, call.names
        arrays = {name: x for name, x in self.names.items() if not isinstance(x, int)}
        self.shapes = {name: x.shape for name, x in arrays.items() if not name.startswith("r")}
        self.starts = np.cumsum([0, *map(prod, self.shapes.values())])

    def split(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays of all elements in one row."""
        parts = zip(self.shapes.items(), self.starts, self.starts[1:], strict=False)
        return {name: flat[a:b].reshape(shape) for (name, shape), a, b in parts}

    def flat(self, arrays: Sequence[Any]) -> np.ndarray:
        return np.concatenate([np.asarray(x).reshape(-1) for x in arrays])

    @cached_property
    def gathered(self) -> np.ndarray:
        """The number of the element that each feature is read from."""
        numbered = self.split(np.arange(self.starts[-1], dtype=float))
        return oracle.gather(self.program.functor, self.program.targets, {**self.names, **numbered}).astype(int)

    @cached_property
    def scattered(self) -> tuple[list[int], np.ndarray]:
        """The shape of the tensor, and the number of the feature that is written to each element, -1 for none."""
        shape = oracle.meaning(self.program.functor, self.program.targets, self.names, "from")[0]
        names = {**self.names, **self.split(np.full(self.starts[-1], -1.0))}
        tensor = np.arange(prod(shape), dtype=float).reshape(shape)
        oracle.scatter(tensor, self.program.functor, self.program.targets, names)
        return list(shape), self.flat([names[name] for name in self.shapes]).astype(int)

    def results(self, mapped: Any, given: Sequence[Any], **others: Any) -> np.ndarray:
        """What a region makes of the arrays of data, those that it does not write as they were."""
        arrays = dict(zip(self.shapes, given, strict=True))
        return {**arrays, **mapped(**{**self.names, **arrays}, **others)}

    def random(self, seed: int, size: int) -> np.ndarray:
        """Integers, with which all sums are exact."""
        return np.random.default_rng(seed).integers(-9, 9, size).astype(float)

    def arrays(self, seed: int) -> list[np.ndarray]:
        return [*self.split(self.random(seed, self.starts[-1])).values()]


def derivatives_of_a_gather(each: Map, of_torch: bool) -> None:
    places = each.gathered.reshape(-1)
    mapped = region(each.program, each.names, f"in(f({each.program.targets})) out(g(zz[0:{places.size}]))")
    model: Any = Module(None) if of_torch else lambda x: x.reshape(-1, 1)

    def run(*given: Any) -> Any:
        return each.results(mapped, given, zz=jnp.zeros(places.size), model=model)["zz"]

    given, along, back = each.arrays(0), each.arrays(1), each.random(2, places.size)
    _, forward = jax.jvp(jax.jit(run), given, along)
    np.testing.assert_array_equal(forward, each.flat(along)[places])
    wanted = np.zeros(each.starts[-1])
    np.add.at(wanted, places, back)
    np.testing.assert_array_equal(each.flat(jax.vjp(jax.jit(run), *given)[1](back)), wanted)


def derivatives_of_a_scatter(each: Map, of_torch: bool) -> None:
    shape, places = each.scattered
    mapped = region(each.program, each.names, f"in(g(zz[0:{prod(shape)}])) out(f({each.program.targets}))")
    model: Any = Reshaped(shape) if of_torch else lambda x: x.reshape(shape)

    def run(zz: Any, *given: Any) -> Any:
        made = each.results(mapped, given, zz=zz, model=model)
        return [made[name] for name in each.shapes]

    along, dz, back = each.arrays(1), each.random(3, prod(shape)), each.arrays(2)
    given = each.random(4, prod(shape)), *each.arrays(0)
    _, forward = jax.jvp(jax.jit(run), given, (dz, *along))
    np.testing.assert_array_equal(
        each.flat(forward), np.where(places < 0, each.flat(along), np.append(dz, 0.0)[places])
    )
    by_tensor, *by_arrays = jax.vjp(jax.jit(run), *given)[1](back)
    wanted = np.zeros(prod(shape))
    np.add.at(wanted, places[places >= 0], each.flat(back)[places >= 0])
    np.testing.assert_array_equal(by_tensor, wanted)
    np.testing.assert_array_equal(each.flat(by_arrays), np.where(places < 0, each.flat(back), 0))


def derivatives_of_both(each: Map, of_torch: bool) -> None:
    """Of a map that reads and writes: what it touches becomes three times as large."""
    _, places = each.scattered
    scale = np.where(places < 0, 1.0, 3.0)
    mapped = region(each.program, each.names, f"inout(f({each.program.targets}))")
    model: Any = Tripled() if of_torch else lambda x: 3 * x

    def run(*given: Any) -> Any:
        made = each.results(mapped, given, zz=jnp.zeros(1), model=model)
        return [made[name] for name in each.shapes]

    given, along, back = each.arrays(0), each.arrays(1), each.arrays(2)
    made, forward = jax.jvp(jax.jit(run), given, along)
    np.testing.assert_array_equal(each.flat(made), scale * each.flat(given))
    np.testing.assert_array_equal(each.flat(forward), scale * each.flat(along))
    np.testing.assert_array_equal(each.flat(jax.vjp(jax.jit(run), *given)[1](back)), scale * each.flat(back))


class Reshaped(torch.nn.Module):
    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(self.shape)


class Tripled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 3 * x


DERIVATIVES = {
    "gather": (derivatives_of_a_gather, "to"),
    "scatter": (derivatives_of_a_scatter, "from"),
    "both": (derivatives_of_both, "from"),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("model", ["JAX", "Torch"])
@pytest.mark.parametrize("kind", DERIVATIVES)
def test_derivatives_are_the_matrix_of_the_map(kind: str, model: str, part: int) -> None:
    compare, direction = DERIVATIVES[kind]
    compared = 0

    @hypothesis.seed(100 * [*DERIVATIVES].index(kind) + 10 * (model == "Torch") + part)
    @settings(
        max_examples=30 if part else 6,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(("f64",), 1))
    def check(case: Case) -> None:
        nonlocal compared
        program, calls = case
        hypothesis.assume(program.direction == direction)
        for binding in calls:
            each = Map(Call(program, dict(binding.numbers) | arrays_of(program, binding)))
            try:
                size = each.gathered.size if direction == "to" else prod(each.scattered[0])
            except (oracle.Misfit, oracle.TooLarge):
                continue
            compare(each, model == "Torch")
            compared += size > 0

    with quickly_compiled() if part else nullcontext():
        check()
    assert compared > 2
