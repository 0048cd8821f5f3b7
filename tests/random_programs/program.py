"""Random programs: their texts and the arguments of their calls."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.random_programs.definitions import (
    CONSTANTS,
    a_bundle,
    a_constant,
    a_helper,
    a_method,
    bundle_text,
    define,
    helper_text,
)
from tests.random_programs.scope import DTYPES, FLOATS, INTEGERS, LAST, Bundle, Scope

NAMES = [
    *("llvm", "powf", "hpacml_infer", "hpacml_site_0", "main", "malloc", "memcpy", "sin", "exp", "floor", "fmod"),
    *("index", "straße", "变量", "i64", "f64", "true", "func", "scf", "free", "abort", "entry", "hpacml_entry"),
    *("printf", "_"),
]
LAYOUTS = ["packed", "gaps", "reversed", "transposed"]
NUMBERS = {
    "int": [0, 1, 3, -1, 100, 2**31, -(2**31), 12345],
    "float": [0.0, -0.0, 1.0, -2.5, 1e300, float("nan"), float("inf"), 0.1],
    "bool": [False, True],
    "far": [LAST, LAST - 1, LAST - 13, -LAST - 1, -LAST, -LAST + 12, 0, 5, -7],
}
Fields = Mapping[str, str]


@dataclass
class Program:
    """The text of kernels, the last of which is called, and what its parameters are.

    A parameter is as `Scope.add_parameter` has it, "far" for an integer of any size, or a bundle: its name and fields.
    """

    text: str
    parameters: Mapping[str, str | tuple[str, Fields]]
    seed: int

    def arguments(self, number: int, names: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a call, new each time. `names` has the classes of bundles."""
        return Arguments(self.seed, number, names).of(self.parameters)


class Arguments:
    """Draws the arguments of one call."""

    def __init__(self, seed: int, number: int, names: Mapping[str, Any], may_share: bool = True):
        self._rng = np.random.default_rng([seed, number])
        self._pick = random.Random(seed * 31 + number)
        self._names = names
        self._layout = LAYOUTS[(seed + number // 3) % 4]
        self._sizes = {dim: self._pick.choice([3, 4, 5, 6]) for dim in "NMK"}
        self._memory: dict[str, np.ndarray] | None = {} if may_share and (seed + number) % 3 == 0 else None
        """Memory by dtype that arrays share, if they do."""

    def of(self, parameters: Mapping[str, str | tuple[str, Fields]]) -> dict[str, Any]:
        return {name: self._one(what) for name, what in parameters.items()}

    def _one(self, what: str | tuple[str, Fields]) -> Any:
        if not isinstance(what, str):
            return self._names[what[0]](**self.of(what[1]))
        kind, *dims = what.split()
        if kind.endswith("?") and self._pick.random() < 0.5:
            return None
        if dims:
            shape = tuple(int(dim) if dim.isdecimal() else self._sizes[dim] for dim in dims)
            return self._array(shape, np.dtype(kind.rstrip("?")))
        if kind in NUMBERS:
            return self._pick.choice(NUMBERS[kind])
        return self._values(1, np.dtype(kind))[0]

    def _array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        count = int(np.prod(shape))
        if self._memory is not None:
            memory = self._memory.setdefault(dtype.name, self._values(250, dtype))
            start = self._pick.choice([0, 0, 1, 2, 3])
            if len(shape) == 1 and self._pick.random() < 0.5:
                return memory[start:][:: self._pick.choice([1, 2])][: shape[0]][:: self._pick.choice([1, -1])]
            return memory[start : start + count].reshape(shape)
        match self._layout:
            case "packed":
                return self._values(count, dtype).reshape(shape)
            case "gaps":
                wide = self._values(count * 2 ** len(shape), dtype).reshape(tuple(2 * size for size in shape))
                return wide[(slice(None, None, 2),) * len(shape)]
            case "reversed":
                return self._values(count, dtype).reshape(shape)[(slice(None, None, -1),) * len(shape)]
            case _:
                return self._values(count, dtype).reshape(shape[::-1]).T

    def _values(self, count: int, dtype: np.dtype[Any]) -> Any:
        if dtype.kind == "f":
            values = np.array([0.0, -0.0, 1.0, -1.5, 0.1, np.nan, np.inf, 1e30, -3.0, 7.25])
        elif dtype.kind == "b":
            values = np.array([False, True])
        else:
            limits = np.iinfo(dtype)
            values = np.array([0, 1, 2, 3, 7, 100, limits.max, limits.max - 1, limits.min, limits.min + 1], dtype)
        return self._rng.choice(values, count).astype(dtype)


# -- programs ------------------------------------------------------------------------------------------


def program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    names = rng.sample(NAMES, 8)
    dtypes = [rng.choice(["float64", "float64", "float32", *DTYPES]) for _ in range(rng.choice([1, 2, 3]))]
    arrays = {name: f"{dtype} {_dims(rng)}" for name, dtype in zip(names, dtypes, strict=False)}
    bundles = [a_bundle(rng, name, dtypes) for name in ("Grid", "Point")[: rng.choice([0, 0, 1, 2])]]
    seen = Scope()
    parts = [CONSTANTS]
    if rng.random() < 0.4:
        text, seen.arrays["TABLE"] = a_constant(rng, "TABLE")
        parts.append(text)
    for bundle in bundles:
        seen.methods[bundle.name] = [a_method(rng)]
        parts.append(bundle_text(rng, bundle, seen))
    for name in names[4 : 4 + rng.choice([0, 1, 2])]:
        helper = a_helper(rng, name, dtypes, bundles)
        parts.append(helper_text(rng, helper, rng.choice(["kernel", "kernel", "plain"]), bundles, seen))
        seen.helpers.append(helper)
    return _with_kernel(rng, names[7], arrays, bundles, seen, parts, seed)


def _dims(rng: random.Random) -> str:
    count = rng.choice([1, 1, 1, 2, 2, 3])
    return " ".join(rng.choice(["N", "N", "M", "K", "3"]) for _ in range(count))


def _with_kernel(
    rng: random.Random,
    name: str,
    arrays: dict[str, str],
    bundles: list[Bundle],
    seen: Scope,
    parts: list[str],
    seed: int,
) -> Program:
    """The program with its last kernel, which is called."""
    parameters = dict(arrays)
    if rng.random() < 0.3:
        parameters["o"] = f"{rng.choice(DTYPES)}? {_dims(rng)}"
    own = {f"g{position}": bundle for position, bundle in enumerate(bundles)}
    parameters |= {"low": "far", "high": "far", "n": "int", "x": "float", "use": "bool"}
    if rng.random() < 0.4:
        parameters["p"] = rng.choice([*INTEGERS, *FLOATS, "bool"])
    scope = seen.inner()
    for each, bundle in own.items():
        scope.add_record(each, bundle)
    scope.fixed |= {"n"}
    results = [_result(rng, arrays, own) for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 4]))]
    elements = sorted({what.split()[0] for what in arrays.values()})
    head = {each: f"bundle {bundle.name}" for each, bundle in own.items()} | parameters
    text = define(rng, name, head, results, scope, inner=lambda scope: _inner(rng, elements, bundles, scope))
    parts.append(f"@hpacml.kernel\n{text}")
    fields = {each: (bundle.name, dict(bundle.fields)) for each, bundle in own.items()}
    return Program("\n\n".join(parts), {**fields, **parameters}, seed)


def _inner(rng: random.Random, dtypes: list[str], bundles: list[Bundle], scope: Scope) -> list[str]:
    """Functions inside of the kernel, which see its variables and assign none of them."""
    texts: list[str] = []
    for position in range(rng.choice([0, 0, 0, 1, 2])):
        helper = a_helper(rng, f"h{position}", dtypes, [])
        seen = scope.inner()
        seen.fixed |= {*seen.integers, *seen.floats, *seen.bools, *seen.numbers, *seen.arrays}
        texts.append(helper_text(rng, helper, rng.choice(["inner", "lambda"]), bundles, seen))
        scope.helpers.append(helper)
    return texts


def _result(rng: random.Random, arrays: Mapping[str, str], records: Mapping[str, Bundle]) -> str:
    array = rng.choice(list(arrays.values())).split()
    rank = rng.randrange(1, len(array))
    kinds = [
        "int",
        "float",
        "bool",
        f"number {rng.choice(DTYPES)}",
        f"part {array[0]} {rank}",
        "made c",
        "None",
        "'a text'",
    ]
    return rng.choice([*kinds, *(f"record {bundle.name}" for bundle in records.values())])
