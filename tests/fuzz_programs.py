"""Random kernels beside their Python functions: the same results and the same arrays, bit for bit.

    python -m tests.fuzz --examples 2000 --seed 1 programs

Programs stay out of the table in docs/python.md: integers of Python have a bound, divisors are not 0, indices are
inside. Where Python raises nevertheless, only that the kernel ends is checked. Each program depends on the seed and its
own number alone.
"""

from __future__ import annotations

import ast
import faulthandler
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpacml.errors import CompileError
from hpacml.frontend.python.types import ARRAY_DTYPES
from tests.frontend.kernels import bits, kernel_of

LAST = 2**63 - 1
EXACT = 2**53
FREE = 2**62
"""Bounds of Python's integers: what 64 bits hold, what a float holds, what a sum of two may have."""

INTEGERS = [name for name, type in ARRAY_DTYPES.items() if type.kind in "iu"]
FLOATS = ["float32", "float64"]
NAMES = [
    *(
        "llvm",
        "powf",
        "hpacml_infer",
        "hpacml_site_0",
        "main",
        "malloc",
        "memcpy",
        "sin",
        "exp",
        "floor",
        "fmod",
        "index",
    ),
    *("straße", "变量", "i64", "f64", "true", "func", "scf", "free", "abort", "_", "entry", "hpacml_entry", "printf"),
]
SECONDS = 300
"""A program that takes longer hangs."""


@dataclass
class Scope:
    """What a function may use: integers with their bounds, floats, bools, arrays by dtype, and helpers."""

    integers: dict[str, int] = field(default_factory=dict[str, int])
    floats: list[str] = field(default_factory=list[str])
    bools: list[str] = field(default_factory=list[str])
    arrays: dict[str, str] = field(default_factory=dict[str, str])
    helpers: list[Helper] = field(default_factory=list["Helper"])
    fixed: set[str] = field(default_factory=set[str])
    """Integers that are not assigned: parameters near the ends of 64 bits, and variables of loops."""


@dataclass
class Helper:
    """A kernel that others call: its parameters are an integer below 2**31, a float, and an array."""

    name: str
    dtype: str
    kind: str


class Writer:
    """Writes one function."""

    def __init__(self, rng: random.Random, scope: Scope, kind: str):
        self.rng, self.scope, self.kind = rng, scope, kind
        self.serial = 0
        self.budget = rng.choice([4, 8, 12])
        self.lines: list[str] = []

    # -- expressions -----------------------------------------------------------------------------

    def integer(self, depth: int) -> tuple[str, int]:
        """An `int` and a bound of its absolute value."""
        rng, scope = self.rng, self.scope
        if depth <= 0 or rng.random() < 0.2:
            match rng.randrange(4):
                case 0:
                    value = rng.choice(
                        [0, 1, 2, 3, 7, 255, 256, 300, -1, -2, -128, 2**31, 2**31 - 1, -(2**31), 2**53 + 1]
                    )
                    return f"({value})" if value < 0 else str(value), abs(value)
                case 1:
                    return f"len({rng.choice(list(scope.arrays))})", 64
                case _:
                    name = rng.choice(list(scope.integers))
                    return name, scope.integers[name]
        (a, most_a), (b, most_b) = self.integer(depth - 1), self.integer(depth - 1)
        match rng.randrange(14):
            case 0 | 1 if most_a + most_b <= FREE:
                return f"({a} {rng.choice('+-')} {b})", most_a + most_b
            case 2 | 3 if most_a * most_b <= FREE:
                return f"({a} * {b})", most_a * most_b
            case 4:
                divisors = ["3", "(-7)", "10", "(2 ** 33)", f"({b} % 9 + 1)"]
                divisor = rng.choice(divisors + [f"(-1 - {b} % 5)"] * (most_a <= FREE))
                return f"({a} // {divisor})", most_a + 1 if most_a <= FREE else LAST + 1
            case 5:
                most, divisor = rng.choice([(3, "3"), (7, "(-7)"), (10, f"({b} % 9 + 1)"), (2**40, "(2 ** 40)")])
                return f"({a} % {divisor})", most
            case 6 if max(most_a, most_b) <= FREE:
                return f"({a} {rng.choice('&|^')} {b})", 2 * max(most_a, most_b) + 1
            case 7 if most_a <= FREE:
                return f"(~{a})", most_a + 1
            case 8:
                return f"(({a} % 1000) << ({b} % 40))", 1000 << 40
            case 9:
                return f"({a} >> ({b} % 70))", most_a
            case 10 if most_a <= FREE:
                return f"abs({a})", most_a
            case 11:
                return f"{rng.choice(['min', 'max'])}({a}, {b})", max(most_a, most_b)
            case 12:
                return f"({a} if {self.truth(depth - 1)} else {b})", max(most_a, most_b)
            case 13 if helpers := [h for h in scope.helpers if h.kind == "int" and h.dtype in scope.arrays.values()]:
                return self.call(rng.choice(helpers), depth), 2**31
            case _:
                return f"(({a} % 100) ** {rng.choice('0123')})", 10**6

    def small(self, depth: int, most: int) -> str:
        """An `int` of at most this absolute value."""
        text, bound = self.integer(depth)
        return text if bound <= most else f"({text} % {most})"

    def float(self, depth: int) -> str:
        """A Python float, or a number of float64."""
        rng, scope = self.rng, self.scope
        if depth <= 0 or rng.random() < 0.2:
            match rng.randrange(3):
                case 0:
                    return rng.choice(
                        ["0.0", "(-0.0)", "0.1", "1.5", "(-3.0)", "1e300", "5e-324", "math.pi", "2.0", "1e16"]
                    )
                case 1 if "float64" in scope.arrays.values():
                    return self.element("float64", depth)
                case _:
                    return rng.choice(scope.floats)
        a, b = self.float(depth - 1), self.float(depth - 1)
        match rng.randrange(12):
            case 0 | 1 | 2:
                return f"({a} {rng.choice('+-*')} {b})"
            case 3:
                return f"({a} {rng.choice(['/', '//', '%'])} {rng.choice(['(abs(' + b + ') + 0.5)', '(-0.3)', '2.0'])})"
            case 4:
                return f"({a} {rng.choice('+-*')} {self.small(depth - 1, EXACT)})"
            case 5:
                return f"{rng.choice(['abs', 'math.fabs', '-', 'np.trunc', 'np.rint', 'np.floor', 'np.ceil'])}({a})"
            case 6:
                return f"math.sqrt(abs({a}))"
            case 7:
                return f"{rng.choice(['min', 'max', 'np.minimum', 'np.maximum', 'math.copysign'])}({a}, {b})"
            case 8:
                return f"({a} if {self.truth(depth - 1)} else {b})"
            case 9:
                return f"(abs({a}) ** {rng.choice(['0.5', '2', '3', '(-1)', '1.7'])})"
            case 10 if helpers := [h for h in scope.helpers if h.kind == "float" and h.dtype in scope.arrays.values()]:
                return self.call(rng.choice(helpers), depth)
            case 11:
                return f"{rng.choice(['math.sin', 'math.cos', 'math.atan', 'math.tanh', 'math.erf'])}({a})"
            case _:
                return f"float({self.integer(depth - 1)[0]})"

    def strong(self, dtype: str, depth: int) -> str:
        """A number of one of NumPy's types."""
        rng = self.rng
        if depth <= 0 or rng.random() < 0.3:
            if dtype in self.scope.arrays.values() and rng.random() < 0.8:
                return self.element(dtype, depth)
            return f"np.{dtype}({self.small(1, 100) if dtype in FLOATS else f'({self.small(1, 2**40)} % 100)'})"
        a, b = self.strong(dtype, depth - 1), self.strong(dtype, depth - 1)
        literal = rng.choice(["1", "3", "100", "0.1", "(-2)"] if dtype in FLOATS else ["1", "3", "100", "127"])
        match rng.randrange(6):
            case 0 | 1:
                return f"({a} {rng.choice('+-*')} {rng.choice([b, literal])})"
            case 2:
                return f"({a} {rng.choice(['//', '%'])} {literal})"
            case 3 if dtype not in FLOATS:
                return f"({a} {rng.choice(['&', '|', '^', '<<', '>>', '//', '%'])} {rng.choice([b, literal])})"
            case 4:
                return f"({a} if {self.truth(depth - 1)} else {b})"
            case 5:
                other = rng.choice(INTEGERS)
                return f"np.{dtype}({self.strong(other, depth - 1)})"
            case _:
                return f"{rng.choice(['np.minimum', 'np.maximum'])}({a}, {b})"

    def element(self, dtype: str, depth: int) -> str:
        name = self.rng.choice([name for name, each in self.scope.arrays.items() if each == dtype])
        return f"{name}[{self.place(name, depth)}]"

    def place(self, name: str, depth: int) -> str:
        """An index of an array, which may count from the end."""
        index = self.integer(min(depth, 1))[0]
        inside = f"{index} % len({name})"
        return inside if self.rng.random() < 0.7 else f"-({inside}) - 1"

    def call(self, helper: Helper, depth: int) -> str:
        arrays = [name for name, dtype in self.scope.arrays.items() if dtype == helper.dtype]
        return f"{helper.name}({self.small(depth - 1, 2**31)}, {self.float(depth - 1)}, {self.rng.choice(arrays)})"

    def truth(self, depth: int) -> str:
        rng, scope = self.rng, self.scope
        if depth <= 0:
            return rng.choice([*scope.bools, *scope.bools, "True", "False"])
        compare = ["<", "<=", ">", ">=", "==", "!="]
        match rng.randrange(8):
            case 0 | 1:
                a, b, c = (self.integer(depth - 1)[0] for _ in range(3))
                return f"({a} {rng.choice(compare)} {b}" + (
                    f" {rng.choice(compare)} {c})" if rng.random() < 0.3 else ")"
                )
            case 2 | 3:
                return f"({self.float(depth - 1)} {rng.choice(compare)} {self.float(depth - 1)})"
            case 4:
                dtype = rng.choice(sorted(set(scope.arrays.values())))
                other = [self.strong(dtype, depth - 1), "3"] + (
                    [] if dtype in FLOATS else ["300", "(-1)", str(2**63), str(2**65)]
                )
                return f"bool({self.strong(dtype, depth - 1)} {rng.choice(compare)} {rng.choice(other)})"
            case 5:
                return f"(not {self.truth(depth - 1)})"
            case 6:
                return f"math.{rng.choice(['isnan', 'isinf', 'isfinite'])}({self.float(depth - 1)})"
            case _:
                count = rng.choice([2, 2, 3])
                return "(" + f" {rng.choice(['and', 'or'])} ".join(self.truth(depth - 1) for _ in range(count)) + ")"

    # -- statements ------------------------------------------------------------------------------

    def block(self, indent: int, depth: int, loops: int) -> None:
        for _ in range(self.rng.choice([1, 2, 2, 3, 4])):
            self.budget -= 1
            self.statement(indent, depth if self.budget > 0 else 0, loops)
            if self.budget < 0:
                break

    def line(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def statement(self, indent: int, depth: int, loops: int) -> None:
        rng = self.rng
        match rng.randrange(16):
            case 0 | 1:
                self.assign(indent)
            case 2 | 3 | 4:
                self.store(indent)
            case 5 | 6 | 7 if depth:
                self.branch(indent, depth, loops)
            case 8 | 9 if depth and loops < 3:
                self.counting(indent, depth, loops)
            case 10 if depth and loops < 3:
                self.conditional(indent, depth, loops)
            case 11 | 12 if loops:
                self.line(indent, f"if {self.truth(2)}:")
                self.line(indent + 1, rng.choice(["break", "continue"]))
            case 13 if self.kind:
                self.line(indent, f"if {self.truth(2)}:")
                self.leave(indent + 1)
            case 14 if len(self.scope.floats) > 1:
                a, b = rng.sample(self.scope.floats, 2)
                self.line(indent, f"{a}, {b} = {b}, {a}")
            case _:
                self.assign(indent)

    def assign(self, indent: int) -> None:
        rng, scope = self.rng, self.scope
        free = [name for name in scope.integers if name not in scope.fixed]
        match rng.randrange(3):
            case 0 if free:
                name = rng.choice(free)
                self.line(indent, f"{name} = {self.small(3, scope.integers[name])}")
            case 1:
                self.line(indent, f"{rng.choice(scope.bools)} = {self.truth(2)}")
            case _:
                text, operator = self.float(3), rng.choice(["=", "=", "+=", "*=", "-="])
                self.line(indent, f"{rng.choice(scope.floats)} {operator} {text}")

    def store(self, indent: int) -> None:
        rng = self.rng
        name, dtype = rng.choice(list(self.scope.arrays.items()))
        value = self.float(3) if dtype in FLOATS and rng.random() < 0.4 else self.strong(dtype, 3)
        operator = rng.choice(["=", "=", "+=", "*=", "-="])
        self.line(indent, f"{name}[{self.place(name, 2)}] {operator} {value}")

    def branch(self, indent: int, depth: int, loops: int) -> None:
        rng = self.rng
        self.line(indent, f"if {self.truth(3)}:")
        self.block(indent + 1, depth - 1, loops)
        for _ in range(rng.choice([0, 0, 1, 2])):
            self.line(indent, f"elif {self.truth(2)}:")
            self.block(indent + 1, depth - 1, loops)
        if rng.random() < 0.5:
            self.line(indent, "else:")
            self.block(indent + 1, depth - 1, loops)

    def counting(self, indent: int, depth: int, loops: int) -> None:
        rng, scope = self.rng, self.scope
        self.serial += 1
        name = f"i{self.serial}"
        far = [each for each in ("low", "high") if each in scope.integers]
        array = rng.choice(list(scope.arrays))
        step = rng.choice(["1", "2", "3", "(-1)", "(-2)", str(2**62), f"({self.small(1, 5)} | 1)"])
        simple = [
            (f"{rng.randrange(6)}", 6),
            (f"len({array})", 64),
            (f"{self.small(1, 9)}, {self.small(1, 9)}, {step}", LAST),
            (f"len({array}) - 1, -1, -1", 64),
        ]
        edge = (
            [
                (f"max({far[0]}, {50 - LAST}) - 7, {far[0]}, {step}", LAST),
                (f"{far[0]}, min({far[0]}, {LAST - 50}) + 7, {step}", LAST),
                (f"{far[0]}, {far[-1]}, {step}", LAST),
                (f"{far[-1]}, {far[0]}, {step}", LAST),
            ]
            if far
            else []
        )
        numbers, most = rng.choice(edge) if edge and rng.random() < 0.4 else rng.choice(simple)
        self.line(indent, f"for {name} in range({numbers}):")
        outside, self.scope = (
            self.scope,
            Scope(
                {**scope.integers, name: most},
                scope.floats,
                scope.bools,
                scope.arrays,
                scope.helpers,
                {*scope.fixed, name},
            ),
        )
        if numbers not in [text for text, _ in simple[:2] + simple[3:]]:
            self.line(indent + 1, "ticks += 1")
            self.line(indent + 1, "if ticks > 40:")
            self.line(indent + 2, "break")
        self.block(indent + 1, depth - 1, loops + 1)
        self.scope = outside
        self.otherwise(indent, depth, loops)

    def conditional(self, indent: int, depth: int, loops: int) -> None:
        self.serial += 1
        self.line(indent, f"w{self.serial} = 0")
        name = f"w{self.serial}"
        self.line(indent, f"while {name} < {self.rng.choice([1, 3, 5])} and {self.truth(2)}:")
        self.line(indent + 1, f"{name} += 1")
        self.block(indent + 1, depth - 1, loops + 1)
        self.otherwise(indent, depth, loops)

    def otherwise(self, indent: int, depth: int, loops: int) -> None:
        if self.rng.random() < 0.2:
            self.line(indent, "else:")
            self.block(indent + 1, 0, loops)

    def leave(self, indent: int) -> None:
        value = self.float(2) if self.kind == "float" else self.small(3, 2**31)
        self.line(indent, f"return {value}")


@dataclass
class Program:
    """The text of kernels, the last of which is called, and the dtypes of its arrays."""

    text: str
    dtypes: dict[str, str]
    seed: int

    def arguments(self, number: int) -> tuple[Any, ...]:
        """Arguments of a call, new each time."""
        rng = np.random.default_rng([self.seed, number])
        pick = random.Random(self.seed * 31 + number)
        layout = self.seed % 3 if number < 3 else (self.seed + 1) % 3
        arrays = [_array(rng, dtype, layout) for dtype in self.dtypes.values()]
        low, high = (pick.choice([LAST, LAST - 1, LAST - 13, -LAST - 1, -LAST, -LAST + 12, 0, 5, -7]) for _ in range(2))
        n = pick.choice([0, 1, 3, -1, 100, 2**31, -(2**31), 12345])
        x = pick.choice([0.0, -0.0, 1.0, -2.5, 1e300, float("nan"), float("inf"), 0.1])
        return (*arrays, low, high, n, x, pick.random() < 0.5)


def _array(rng: np.random.Generator, dtype: str, layout: int) -> Any:
    size, type = int(rng.integers(1, 7)), np.dtype(dtype)
    if type.kind == "f":
        values = rng.choice(np.array([0.0, -0.0, 1.0, -1.5, 0.1, np.nan, np.inf, 1e30, -3.0, 7.25]), 2 * size)
    else:
        limits = np.iinfo(type)
        values = rng.choice(
            np.array([0, 1, 2, 3, 7, 100, limits.max, limits.max - 1, limits.min, limits.min + 1], type), 2 * size
        )
    values = values.astype(type)
    return [values[:size].copy(), values[::2], values[::-1][:size]][layout]


def program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    names = rng.sample(NAMES, 9)
    dtypes = [rng.choice(["float64", "float32", *INTEGERS]) for _ in range(rng.choice([1, 2, 3]))]
    if rng.random() < 0.6:
        dtypes[0] = "float64"
    arrays = dict(zip(names, dtypes, strict=False))
    helpers: list[Helper] = []
    parts: list[str] = []
    for name in names[4 : 4 + rng.choice([0, 0, 1, 2])]:
        kind, dtype = rng.choice(["int", "float"]), rng.choice(dtypes)
        scope = Scope({"n": 2**31, "k": 2**31}, ["x", "y"], ["b"], {"a": dtype}, list(helpers), {"n"})
        parts.append(_function(rng, name, scope, kind, f"n: int, x: float, a: {_jaxtyping(dtype)}"))
        helpers.append(Helper(name, dtype, kind))
    kind = rng.choice(["int", "float", "float", ""])
    integers = {"low": LAST + 1, "high": LAST + 1, "n": 2**31, "k": 2**31, "m": 2**20}
    scope = Scope(integers, ["x", "y", "z"], ["b", "use"], arrays, helpers, {"low", "high", "n"})
    given = [f"{name}: {_jaxtyping(dtype)}" for name, dtype in arrays.items()]
    parameters = ", ".join([*given, "low: int", "high: int", "n: int", "x: float", "use: bool"])
    parts.append(_function(rng, rng.choice(names[7:]), scope, kind, parameters))
    return Program("\n\n".join(parts), arrays, seed)


def _function(rng: random.Random, name: str, scope: Scope, kind: str, parameters: str) -> str:
    writer = Writer(rng, scope, kind)
    writer.line(0, "@hpacml.kernel")
    writer.line(0, f"def {name}({parameters}):")
    taken = {each.split(":")[0] for each in parameters.split(", ")}
    for variables, start in ((scope.integers, "0"), (scope.floats, "0.0"), (scope.bools, "False")):
        for variable in variables:
            if variable not in taken:
                writer.line(1, f"{variable} = {start}")
    writer.line(1, "ticks = 0")
    writer.block(1, 3, 0)
    if kind:
        writer.leave(1)
    return "\n".join(writer.lines)


def _jaxtyping(dtype: str) -> str:
    return f'{dtype.capitalize().replace("Uint", "UInt")}[np.ndarray, "_"]'


# -- comparing -------------------------------------------------------------------------------------


def difference(program: Program, calls: int, tally: Counter[str]) -> str | None:
    """What a kernel does otherwise than Python, None if nothing."""
    try:
        kernel = kernel_of(program.text)
        kernel.parameters  # noqa: B018 (reads the annotations)
    except CompileError as error:
        return f"the text does not compile: {error}"
    for number in range(calls):
        ours, theirs = program.arguments(number), program.arguments(number)
        raised: Exception | None = None
        expected = None
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = kernel.py_func(*theirs)
        except (ArithmeticError, ValueError, TypeError) as error:
            raised = error
        try:
            result = kernel(*ours)
        except CompileError as error:
            tally["refused"] += 1
            return None if _is_documented(str(error)) else f"refused: {error}"
        if raised is not None:
            tally["raised"] += 1
            continue
        tally["compared"] += 1
        if (found := _differ(result, expected)) is not None:
            return f"call {number} returns {found}"
        for name, mine, other in zip(program.dtypes, ours, theirs, strict=False):
            if not np.array_equal(bits(mine), bits(other)):
                return f"call {number} leaves '{name}' as\n{mine!r} and not as\n{other!r}"
    return None


REFUSALS = (
    "division by zero",
    "depending on whether a variable",
    "differ between machines",
    "does not fit",
    "convert with",
    "convert first",
)
"""Parts of messages about what docs/python.md says is refused."""


def _is_documented(message: str) -> bool:
    return any(part in message for part in REFUSALS)


def _differ(found: Any, expected: Any) -> str | None:
    if found is None or expected is None:
        return None if found is expected else f"{found!r} and not {expected!r}"
    same = bool((bits(np.asarray(float(found))) == bits(np.asarray(float(expected)))).all())
    exact = isinstance(expected, float) or int(found) == int(expected)
    return None if same and exact else f"{found!r} and not {expected!r}"


# -- making smaller --------------------------------------------------------------------------------


def smaller(program: Program, fails: Callable[[Program], bool], tries: int = 400) -> Program:
    """A program with fewer statements and smaller expressions that still fails."""
    best, improved = program, True
    while improved and tries > 0:
        improved = False
        for text in _reductions(best.text):
            tries -= 1
            candidate = Program(text, best.dtypes, best.seed)
            if tries > 0 and len(text) < len(best.text) and fails(candidate):
                best, improved = candidate, True
                break
    return best


def _reductions(text: str) -> Iterator[str]:
    """Texts with one statement removed, one block in place of its statement, or one expression replaced by a part."""
    count = sum(1 for _ in ast.walk(ast.parse(text)))
    for position in range(count):
        tree = ast.parse(text)
        node = list(ast.walk(tree))[position]
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if not isinstance(block, list):
                continue
            for k in range(len(block)):
                for instead in ([], getattr(block[k], "body", None), getattr(block[k], "orelse", None)):
                    if isinstance(instead, list) and not isinstance(block[k], ast.FunctionDef):
                        changed = [*block[:k], *instead, *block[k + 1 :]]
                        setattr(node, name, changed or ([ast.Pass()] if name == "body" else []))
                        yield _unparsed(tree)
                        setattr(node, name, block)
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr) and not isinstance(value, ast.Name | ast.Constant) and name != "annotation":
                for part in ast.iter_child_nodes(value):
                    if isinstance(part, ast.expr):
                        setattr(node, name, part)
                        yield _unparsed(tree)
                setattr(node, name, value)


def _unparsed(tree: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(tree))


def reproducer(program: Program, calls: int) -> str:
    """A script that shows a difference."""
    return (
        f"from tests.fuzz_programs import Counter, Program, difference\n\nTEXT = '''\n{program.text}\n'''\n"
        f"print(difference(Program(TEXT, {program.dtypes!r}, {program.seed}), {calls}, Counter()))\n"
    )


def search(examples: int, seed: int, trace: Path | None = None, calls: int = 5, enough: int = 10) -> int:
    """Compare so many programs; the number of differences."""
    tally, found, start = Counter[str](), 0, time.time()

    def fails(candidate: Program) -> bool:
        if trace is not None:
            trace.write_text(reproducer(candidate, calls), encoding="utf-8")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            answer = difference(candidate, calls, Counter())
            return answer is not None and not answer.startswith("refused") and "does not compile" not in answer
        except Exception:
            return False
        finally:
            faulthandler.cancel_dump_traceback_later()

    for number in range(examples):
        each = program(seed + number)
        if trace is not None:
            trace.write_text(reproducer(each, calls), encoding="utf-8")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            answer = difference(each, calls, tally)
        except Exception as error:  # of any kind: none is right
            answer = f"raises {type(error).__name__}: {error}"
        faulthandler.cancel_dump_traceback_later()
        if answer is not None:
            found += 1
            small = smaller(each, fails)
            print(f"\n-- seed {each.seed}: {answer}\n{reproducer(small, calls)}", flush=True)
        if number % 100 == 99 or number == examples - 1:
            counts = ", ".join(f"{count} calls {what}" for what, count in sorted(tally.items()))
            print(f"{number + 1} programs in {time.time() - start:.0f} s: {counts}, {found} differences", flush=True)
        if found >= enough:
            break
    return found
