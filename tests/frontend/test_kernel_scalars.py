"""Arithmetic in kernels is that of Python and NumPy: every operator, conversion and function, for every type."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import bits, kernel_of

import hpacml

SAMPLES: dict[str, Any] = {
    "bool": True,
    "int": 1,
    "float": 1.0,
    "bool_": np.bool_(True),
    "uint8": np.uint8(1),
    "int32": np.int32(1),
    "int64": np.int64(1),
    "float32": np.float32(1),
    "float64": np.float64(1),
}
CLASSES = tuple(type(sample) for sample in SAMPLES.values())
READ = {
    "bool": "bool(n{0}[i] > 0)",
    "int": "int(n{0}[i])",
    "float": "float(x{0}[i])",
    "bool_": "(n{0}[i] > 0)",
    "uint8": "u8{0}[i]",
    "int32": "i32{0}[i]",
    "int64": "i64{0}[i]",
    "float32": "f32{0}[i]",
    "float64": "f64{0}[i]",
}
"""How a number of each type is read, from the first or the second set of arrays."""

COLUMNS = {"n": "Int64", "x": "Float64", "u8": "UInt8", "i32": "Int32", "i64": "Int64", "f32": "Float32"}
COLUMNS["f64"] = "Float64"
OPERATORS = ("+", "-", "*", "/", "//", "%", "&", "|", "^", "<", "<=", ">", ">=", "==", "!=")
ROWS = 200
FLOATS = [0.0, -0.0, 0.1, 1.5, -1.5, 2.0, 3.0, -7.0, 1e10, 1e30, 1e-40, math.inf, -math.inf, math.nan]


def columns(seed: int, small: bool = False) -> list[np.ndarray]:
    """The arrays that `READ` reads, with edge cases; `small` numbers convert to all types."""
    random = np.random.default_rng(seed)

    def integers(dtype: Any) -> np.ndarray:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        edges = (
            [0, 1, 2, 3, 7, 100] if small else [0, 1, 2, 3, 7, most, most // 2, least, *([-1, -2, -7] * (least < 0))]
        )
        return random.choice(np.array(edges, dtype), ROWS)

    def floats(dtype: Any) -> np.ndarray:
        edges = random.choice([0.0, 0.1, 1.5, 2.0, 100.0] if small else FLOATS, ROWS)
        return np.where(random.random(ROWS) < 0.5, edges, random.uniform(0, 50, ROWS)).astype(dtype)

    numbers = random.integers(0 if small else -200, 200, ROWS)
    kinds = (np.uint8, np.int32, np.int64)
    return [numbers, floats(np.float64), *map(integers, kinds), floats(np.float32), floats(np.float64)]


def evaluate_all(expressions: list[tuple[str, type]], seed: int, small: bool = False) -> None:
    """Compile a kernel with all expressions, whose types are known; Python must compute the same bits."""
    names = [f"{name}{k}" for k in range(2) for name in COLUMNS]
    parameters = [f'{name}: {COLUMNS[name[:-1]]}[np.ndarray, "N"]' for name in names]
    parameters += ['floats: Float64[np.ndarray, "K N"]', 'integers: Int64[np.ndarray, "K N"]']
    body = [
        f"        {'floats' if issubclass(kind, float | np.floating) else 'integers'}[{k}, i] = {expression}"
        for k, (expression, kind) in enumerate(expressions)
    ]
    lines = ["@hpacml.kernel", f"def f({', '.join(parameters)}):", "    for i in range(len(n0)):", *body]
    kernel = kernel_of("\n".join(lines) + "\n")
    given = [*columns(seed, small), *columns(seed + 1, small)]
    results = [(np.zeros((len(body), ROWS)), np.zeros((len(body), ROWS), np.int64)) for _ in (kernel, kernel.py_func)]
    kernel(*given, *results[0])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        kernel.py_func(*given, *results[1])
    for k, (expression, _) in enumerate(expressions):
        for ours, theirs in zip(*results, strict=True):
            wrong = np.flatnonzero(bits(ours[k]) != bits(theirs[k]))
            assert not len(wrong), f"{expression}: {ours[k][wrong[0]]!r} is not {theirs[k][wrong[0]]!r}"


def type_of(expression: str, **names: Any) -> type | None:
    """The type of the expression's value, None if it has none that kernels have."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            kind = type(eval(expression, {"math": math, "np": np, **names}))
    except TypeError:
        return None
    return kind if kind in CLASSES else None


@pytest.mark.parametrize("left", SAMPLES)
def test_operators(left: str) -> None:
    expressions: list[tuple[str, type]] = []
    for right, operator in itertools.product(SAMPLES, OPERATORS):
        a, b = READ[left].format(0), READ[right].format(1)
        # NumPy raises where Python's number does not fit a uint8.
        if {left, right} == {"int", "uint8"}:
            a, b = (text if "int(" not in text else f"int(abs({text}))" for text in (a, b))
        kind = type_of(f"a {operator} b", a=SAMPLES[left], b=SAMPLES[right])
        if kind is None:
            continue
        expression = f"{a} {operator} {b}"
        if operator in ("/", "//", "%"):
            zero = kind(0) if kind in (int, float) else f"np.{kind.__name__}(0)"
            expression = f"{expression} if {b} != 0 else {zero}"
        expressions.append((expression, kind))
    evaluate_all(expressions, seed=1)


@pytest.mark.parametrize("kind", SAMPLES)
def test_unary_and_conversions(kind: str) -> None:
    templates = ["-{0}", "+{0}", "~{0}", "not {0}", "abs({0})", "np.abs({0})", "np.sqrt({0})", "np.floor({0})"]
    templates += ["np.ceil({0})", "np.trunc({0})", "np.rint({0})", "np.fabs({0})", "np.isnan({0})", "np.isinf({0})"]
    templates += ["np.isfinite({0})", "math.isnan({0})", "math.isinf({0})", "math.isfinite({0})", "bool({0})"]
    templates += ["float({0})", "np.float32({0})", "np.float64({0})", "np.bool_({0})", "math.fabs({0})"]
    templates += ["{0} ** 2", "{0} ** 3", "{0} ** 0", "{0} ** 5"]
    if kind not in ("bool", "bool_"):
        templates += ["min({0}, {1})", "max({0}, {1})", "min({0}, {1}, {0})", "np.minimum({0}, {1})"]
        templates += ["np.maximum({0}, {1})", "{0} if {0} < {1} else {1}", "{0} and {1}", "{0} or {1}"]
        templates += ["{0} < {1} <= {0}", "{0} == {1} != {0}"]
    expressions: list[tuple[str, type]] = []
    for template in templates:
        sample = type_of(template.format("a", "b"), a=SAMPLES[kind], b=SAMPLES[kind])
        if sample is not None and not (kind == "bool" and template == "~{0}"):
            expressions.append((template.format(READ[kind].format(0), READ[kind].format(1)), sample))
    evaluate_all(expressions, seed=2)


@pytest.mark.parametrize("kind", SAMPLES)
def test_conversions_to_integers(kind: str) -> None:
    """Of numbers that fit: what does not is unspecified in NumPy, too."""
    functions = ("int", "round", "np.int32", "np.int64", "np.uint8", "math.floor", "math.ceil", "math.trunc")
    read = READ[kind].format(0)
    expressions = [(f"{f}({read})", np.int64) for f in functions if type_of(f"{f}(a)", a=SAMPLES[kind])]
    if kind == "float":
        expressions.append((f"int(-{read})", int))
    evaluate_all(expressions, seed=3, small=True)


def test_integers_wrap_as_numpys_do() -> None:
    expressions = [
        (f"np.{t}({READ[kind].format(0)})", np.int64) for t, kind in [("int32", "int64"), ("uint8", "int64")]
    ]
    expressions += [("np.uint8(i320[i])", np.int64), ("np.int32(u80[i])", np.int64)]
    expressions += [("n0[i] << (n1[i] & 63)", np.int64), ("i640[i] >> (n1[i] & 63)", np.int64)]
    expressions += [("u80[i] << np.uint8(9)", np.int64), ("u80[i] >> np.uint8(3)", np.int64)]
    expressions += [("i640[i] << np.int64(64)", np.int64), ("i640[i] >> np.int64(70)", np.int64)]
    expressions += [("i320[i] // (i321[i] & 0)", np.int64), ("i640[i] % (i641[i] & 0)", np.int64)]
    expressions += [("i320[i] // np.int32(-1)", np.int64), ("i640[i] % (i641[i] | -1)", np.int64)]
    expressions += [("int(n0[i]) // -3", np.int64), ("int(n0[i]) % -3", np.int64), ("int(n0[i]) % 3", np.int64)]
    evaluate_all(expressions, seed=4)


@pytest.mark.parametrize("kind", ["int", "float", "float32", "float64", "uint8"])
def test_mathematics(kind: str) -> None:
    """Python's `math` computes in double precision whatever it is given."""
    x = f"abs({READ[kind].format(0)})"
    anywhere = ["atan", "asinh", "cbrt", "cos", "sin", "tan", "tanh", "erf", "erfc", "log1p", "sqrt", "exp", "exp2"]
    anywhere += ["expm1", "cosh", "sinh", "fabs"]
    expressions = [f"math.{name}({x} * 0.01)" for name in anywhere]
    expressions += [f"math.{name}({x} + 1.0)" for name in ("log", "log2", "log10", "acosh")]
    expressions += [f"math.{name}(1 / ({x} + 2.0))" for name in ("acos", "asin", "atanh")]
    expressions += [f"math.log({x} + 2.0, 3)", f"math.atan2({x}, 1.5)", f"math.pow({x} + 0.5, -1.25)"]
    expressions += [f"math.copysign({x}, -0.0)", f"math.fmod({x}, 0.3)"]
    evaluate_all([(expression, float) for expression in expressions], seed=5, small=True)


def test_powers_are_the_c_librarys() -> None:
    """`x * x` rounds differently from `pow(x, 2)` once in a thousand, and LLVM must not make one of the other."""
    bases = {"abs(x0[i])": float, "f320[i]": np.float32, "f640[i]": np.float64}
    exponents = ("2", "3", "0.5", "-1", "2.0", "-0.5", "1.7")
    expressions = [(f"{base} ** {exponent}", kind) for base, kind in bases.items() for exponent in exponents]
    expressions += [("2.0 ** x0[i]", float), ("10.0 ** x0[i]", float), ("2 ** -3", float), ("2 ** 0.5", float)]
    expressions += [("int(n0[i]) ** -2 if n0[i] > 0 else 0.0", float), ("f320[i] ** f641[i]", np.float64)]
    expressions += [("i320[i] ** 3", np.int64), ("u80[i] ** f321[i]", np.float32), ("u80[i] ** 2", np.int64)]
    expressions += [("float(i320[i]) ** f321[i]", np.float32), ("float(i320[i]) ** 0.7", float)]
    evaluate_all(expressions, seed=6, small=True)


def operands() -> st.SearchStrategy[str]:
    literals = st.sampled_from(["0", "1", "3", "7", "0.1", "2.5", "1e-3", "True"])
    reads = st.tuples(st.sampled_from(list(READ)), st.integers(0, 1)).map(lambda p: READ[p[0]].format(p[1]))
    return literals | reads


def larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operator = st.sampled_from(["+", "-", "*", "<", "<=", ">", ">=", "==", "!="])
    return st.one_of(
        st.tuples(parts, operator, parts).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(parts, parts).map(lambda t: f"({t[0]} / (abs({t[1]}) + 1))"),
        st.tuples(parts, parts).map(lambda t: f"({t[0]} % (abs({t[1]}) + 1))"),
        st.tuples(parts, parts, parts).map(lambda t: f"(float({t[0]}) if {t[1]} > {t[2]} else float({t[2]}))"),
        st.tuples(parts, parts).map(lambda t: f"({t[0]} > {t[1]} and {t[1]} >= 0)"),
        st.tuples(st.sampled_from(["np.float32", "np.float64", "float", "math.sin"]), parts).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
    )


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.recursive(operands(), larger, max_leaves=8), min_size=8, max_size=8), st.integers(0, 99))
def test_compound_expressions(candidates: list[str], seed: int) -> None:
    """Expressions that mix types at random. Those that NumPy refuses, on these numbers, are left out."""
    data = dict(
        zip(
            (f"{name}{k}" for k in range(2) for name in COLUMNS),
            [*columns(seed, True), *columns(seed + 1, True)],
            strict=True,
        )
    )
    expressions: list[tuple[str, type]] = []
    for expression in candidates:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                code = compile(expression, "", "eval")
                kinds = {type(eval(code, {"math": math, "np": np, "i": i, **data})) for i in range(ROWS)}
        except (TypeError, OverflowError, ValueError):
            continue
        if len(kinds) == 1 and kinds <= set(CLASSES):
            expressions.append((expression, *kinds))
    try:
        evaluate_all(expressions or [("0", int)], seed, small=True)
    except hpacml.CompileError as error:  # a type that Python knows only when it runs
        if "depending on whether" not in str(error) and "numpy boolean" not in str(error):
            raise
