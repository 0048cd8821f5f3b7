"""Writes the texts of functions and classes: kernels, plain functions, those inside of kernels, lambdas and bundles."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from tests.random_programs.functions import Function
from tests.random_programs.scope import DTYPES, FLOATS, INTEGERS, Array, Bundle, Helper, Scope, fixed

CONSTANTS = """\
import dataclasses, enum
from dataclasses import dataclass
from typing import NamedTuple

class Case(enum.IntEnum):
    BOX = 1
    RING = 2

class Settings:
    rate = 0.75
    order = 3

SETTINGS = Settings()
WEIGHTS = (0.25, 0.5, -0.25)
COUNTS = [3, 1, 2]
PAIRS = ((0, 1.5), (2, -2.5))
"""
DEFAULTS = {"float": "0.5", "int": "3", "bool": "True"}


def define(
    rng: random.Random,
    name: str,
    parameters: Mapping[str, str],
    results: list[str],
    scope: Scope,
    indent: int = 0,
    annotated: bool = True,
    defaults: tuple[str, ...] = (),
    owner: str = "",
    inner: Callable[[Scope], list[str]] = lambda scope: [],
) -> str:
    """The text of a function. `scope` has what it sees beside its parameters; `inner` writes functions inside of it."""
    writer = Function(rng, scope, results)
    given = [parameter(each, what, annotated, defaults, rng) for each, what in parameters.items()]
    writer.line(indent, f"def {name}({', '.join([owner] * bool(owner) + given)}):")
    for each, what in parameters.items():
        if not what.startswith("bundle"):
            scope.add_parameter(each, what)
    declare(writer, indent + 1)
    for text in inner(scope):
        writer.lines += text.splitlines()
    for result in results:
        if result.startswith("made"):
            text, array = writer.made(1)
            scope.arrays[result.split()[1]] = Array(array.dtype, array.shape, packed=True, made=indent + 1)
            writer.line(indent + 1, f"{result.split()[1]} = {text}")
    writer.block(indent + 1, 3, 0)
    if results:
        writer.leave(indent + 1)
    return "\n".join(writer.lines)


def declare(writer: Function, indent: int) -> None:
    """Variables, which begin as zeros."""
    suffix = "_" * (indent - 1)
    writer.line(indent, f"ticks = k{suffix} = m{suffix} = 0")
    writer.line(indent, f"y{suffix} = z{suffix} = 0.0")
    writer.line(indent, f"b{suffix} = False")
    writer.scope.integers |= {f"k{suffix}": 2**31, f"m{suffix}": 2**20}
    writer.scope.floats += [f"y{suffix}", f"z{suffix}"]
    writer.scope.bools.append(f"b{suffix}")
    if writer.rng.random() < 0.5:
        dtype = writer.rng.choice([*INTEGERS, *FLOATS])
        writer.line(indent, f"s{suffix} = np.{dtype}(0)")
        writer.scope.numbers[f"s{suffix}"] = dtype


def parameter(name: str, what: str, annotated: bool, defaults: tuple[str, ...], rng: random.Random) -> str:
    text = f"{name}: {annotation(what, rng.random() < 0.3)}" if annotated else name
    return f"{text} = {DEFAULTS.get(what, 'None')}" if name in defaults else text


def annotation(what: str, free: bool = False) -> str:
    """The annotation of a parameter; the sizes of a `free` array may be any."""
    kind, *dims = what.split()
    if kind == "bundle":
        return dims[0]
    if not dims:
        return {"far": "int"}.get(kind, kind if kind in DEFAULTS else f"np.{kind}")
    name = kind.rstrip("?").capitalize().replace("Uint", "UInt")
    text = " ".join("_" if free and not dim.isdecimal() else dim for dim in dims)
    return f'{name}[np.ndarray, "{text}"]' + " | None" * kind.endswith("?")


# -- helpers -------------------------------------------------------------------------------------------


def a_helper(rng: random.Random, name: str, dtypes: list[str], bundles: list[Bundle]) -> Helper:
    """What a helper takes and returns."""
    parameters = {"n": "int", "x": "float"}
    rank = rng.choice([1, 1, 1, 2])
    dims = " ".join("PQ"[:rank])
    arrays = {"u": f"{rng.choice(dtypes)} {dims}"}
    if rng.random() < 0.5:
        arrays["w"] = f"{rng.choice(dtypes)} {dims}"
    parameters = {**arrays, **parameters} if rng.random() < 0.5 else {**parameters, **arrays}
    if bundles and rng.random() < 0.3:
        parameters = {"h": f"bundle {rng.choice(bundles).name}", **parameters}
    defaults: tuple[str, ...] = ()
    if rng.random() < 0.4:
        parameters["t"], defaults = rng.choice(list(DEFAULTS)), ("t",)
    result = rng.choice(["int", "float", "float", "pair", *([f"like {rng.choice(dtypes)} u"] * (rank == 1))])
    return Helper(name, parameters, result, defaults=defaults)


def helper_text(
    rng: random.Random, helper: Helper, form: str, bundles: list[Bundle], seen: Scope, owner: Bundle | None = None
) -> str:
    """The text of a helper: a "kernel", a "plain" function, an "inner" one, a "lambda" or a "method"."""
    scope = seen.inner()
    for name, what in helper.parameters.items():
        if what.startswith("bundle"):
            scope.add_record(name, next(bundle for bundle in bundles if bundle.name == what.split()[1]))
    if owner is not None:
        scope.add_record("self", owner)
        scope.methods = {}
    if form == "lambda":
        return lambda_text(rng, helper, scope)
    indent = 1 if form in ("inner", "method") else 0
    text = define(
        rng,
        helper.name,
        helper.parameters,
        [helper.result],
        scope,
        indent,
        form == "kernel",
        helper.defaults,
        "self" * (form == "method"),
    )
    return f"@hpacml.kernel\n{text}" if form == "kernel" else text


def lambda_text(rng: random.Random, helper: Helper, scope: Scope) -> str:
    for name, what in helper.parameters.items():
        scope.add_parameter(name, what)
    writer = Function(rng, scope, [helper.result])
    given = [parameter(name, what, False, helper.defaults, rng) for name, what in helper.parameters.items()]
    return f"    {helper.name} = lambda {', '.join(given)}: {writer.result(helper.result)}"


# -- bundles -------------------------------------------------------------------------------------------


def a_bundle(rng: random.Random, name: str, dtypes: list[str]) -> Bundle:
    fields = {"dx": "float", "steps": "int"}
    if rng.random() < 0.8:
        fields = {"u": f"{rng.choice(dtypes)} {rng.choice(['N', 'N', 'M', 'N M'])}", **fields}
    if rng.random() < 0.3:
        fields["v"] = f"{rng.choice(dtypes)} N"
    if rng.random() < 0.4:
        fields["f"] = rng.choice([*INTEGERS, *FLOATS, "bool"])
    return Bundle(name, fields, rng.random() < 0.4)


def bundle_text(rng: random.Random, bundle: Bundle, seen: Scope) -> str:
    """The class of a bundle, with a method."""
    lines = [f"class {bundle.name}(NamedTuple):" if bundle.is_tuple else f"@dataclass\nclass {bundle.name}:"]
    lines += [f"    {name}: {annotation(what)}" for name, what in bundle.fields.items()]
    for method in seen.methods.get(bundle.name, ()):
        lines.append(helper_text(rng, method, "method", [], seen, bundle))
    return "\n".join(lines)


def a_method(rng: random.Random) -> Helper:
    return Helper("step", {"n": "int", "x": "float"}, rng.choice(["int", "float"]), defaults=("x",))


# -- constants -----------------------------------------------------------------------------------------


def a_constant(rng: random.Random, name: str) -> tuple[str, Array]:
    """An array of the module, and its text."""
    dtype = rng.choice(DTYPES)
    rows = [[rng.choice([0, 1, 2, 3, 100]) for _ in range(3)] for _ in range(rng.choice([1, 1, 2]))]
    shape = (fixed(3),) if len(rows) == 1 else (fixed(len(rows)), fixed(3))
    return f"{name} = np.array({rows[0] if len(rows) == 1 else rows}, np.{dtype})", Array(dtype, shape, writable=False)
