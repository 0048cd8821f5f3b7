"""Kernels with `fastmath=True`: near their Python functions, and exact where the option does not reach."""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import Float32, Float64
from xdsl.dialects import arith

import hpacml
from tests.frontend.kernels import kernel_of

Row = Float64[np.ndarray, "N"]
Singles = Float32[np.ndarray, "N"]


@hpacml.kernel(fastmath=True)
def statistics(x: Row, y: Row, scale: float):
    total = squares = product = 0.0
    for i in range(len(x)):
        total += x[i]
        squares += x[i] ** 2 / scale
        product += x[i] * y[i] - y[i] / scale
    return total, squares, product, scale**-3, scale**2.5


numbers = st.floats(0.5, 2.0)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(0, 70), numbers)
def test_results_are_near(data: st.DataObject, n: int, scale: float) -> None:
    x, y = (data.draw(hnp.arrays(np.float64, n, elements=numbers)) for _ in range(2))
    np.testing.assert_allclose(statistics(x, y, scale), statistics.py_func(x, y, scale), rtol=1e-13, atol=1e-12)


@hpacml.kernel
def compensated(x: Row):
    total, lost = 0.0, 0.0
    for i in range(len(x)):
        y = x[i] - lost
        new = total + y
        lost, total = (new - total) - y, new
    return total


def half_of_difference(a: float, b: float) -> float:
    return ((a + b) - a) / 2


def test_the_option_is_of_the_own_code_and_of_plain_functions() -> None:
    @hpacml.kernel(fastmath=True)
    def both(x: Row):
        return compensated(x), half_of_difference(x[0], x[1])

    x = np.random.default_rng(0).random(1000)
    x[:2] = 1.0, 1e-17
    assert both(x)[0] == compensated.py_func(x)
    assert both(x)[1] == 5e-18  # which strict code loses

    @hpacml.kernel
    def strict(x: Row):
        return fast(x), half_of_difference(x[0], x[1])

    @hpacml.kernel(fastmath=True)
    def fast(x: Row):
        return (x[0] + x[1]) - x[0]

    assert strict(x) == (1e-17, 0.0)
    flags = {op.fastmath.data for op in strict.ir().walk() if isinstance(op, arith.SubfOp)}
    assert len(flags) == 2


def test_nan_and_infinity_stay() -> None:
    @hpacml.kernel(fastmath=True)
    def kinds(x: Row, n: Row):
        for i in range(len(x)):
            n[i] = 10 * math.isnan(x[i]) + 20 * math.isinf(x[i]) + 40 * (x[i] != x[i]) + 80 * (x[i] == math.inf)
        worst = -math.inf
        for each in x:
            worst = max(worst, each)
        return worst, x[0] - x[0], x[1] * 0.0, min(x[2], 1.0)

    x = np.array([math.inf, -math.inf, math.nan, 1.0])
    codes, expected = np.zeros(4), np.zeros(4)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(kinds(x, codes), kinds.py_func(x, expected))
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize("exponent", ["2", "3", "-1", "0", "16", "17", "0.5", "-2.5", "float('inf')", "np.float32(2)"])
def test_constant_powers(exponent: str) -> None:
    kernel = kernel_of(f"E = {exponent}\n@hpacml.kernel(fastmath=True)\ndef f(x: float):\n    return float(x ** E)\n")
    for x in (0.3, 1.0, 7.25):
        assert math.isclose(kernel(x), kernel.py_func(x), rel_tol=1e-14)


def test_single_precision_stays_single() -> None:
    @hpacml.kernel(fastmath=True)
    def mean(x: Singles):
        total = np.float32(0.0)
        for each in x:
            total += each
        return total / np.float32(len(x))

    x = np.random.default_rng(1).random(1000).astype(np.float32)
    assert type(mean(x)) is np.float32
    np.testing.assert_allclose(mean(x), x.mean(), rtol=1e-5)


def test_a_copy_in_another_process_has_the_option() -> None:
    @hpacml.kernel(fastmath=True)
    def cancels(a: float, b: float):
        return (a + b) - a

    assert cancels(1.0, 1e-17) == pickle.loads(cloudpickle.dumps(cancels))(1.0, 1e-17) == 1e-17


def test_on_gpus() -> None:
    text = "def f(x: Float64[np.ndarray, 'N'], y: Float64[np.ndarray, 'N']):\n    for i in prange(len(x)):\n"
    text += "        y[i] = x[i] * y[i] + x[i]\n"
    assert "fma.rn.f64" in kernel_of(f"@hpacml.kernel(fastmath=True)\n{text}").ptx("sm_80")
    assert "fma.rn.f64" not in kernel_of(f"@hpacml.kernel\n{text}").ptx("sm_80")


SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    0.5,
    -3.0,
    1.5,
    1e-310,
    1e-40,
    -1e30,
    1e300,
    800.0,
    -800.0,
    np.inf,
    -np.inf,
    np.nan,
]


def _numbers(dtype: Any) -> np.ndarray:
    """Numbers of all exponents and both signs, and where functions have their results of most interest."""
    generator = np.random.default_rng(3)
    bits = np.uint32 if dtype is np.float32 else np.uint64
    anything = generator.integers(0, np.iinfo(bits).max, 2000, bits).view(dtype)
    near = [generator.uniform(*ends, 1000) for ends in ((-5, 5), (-100, 100), (0.9, 1.1))]
    with np.errstate(all="ignore"):
        return np.concatenate([anything, *(each.astype(dtype) for each in (*near, np.array(SPECIAL)))])


def _apart(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest distance of results in units in the last place; NaN must be where it is."""
    expected = exact.astype(found.dtype)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    finite = np.isfinite(expected) & np.isfinite(found)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    return float(np.max(abs(found[finite] - exact[finite]) / np.spacing(abs(expected[finite]))))


@pytest.mark.parametrize("array", ["Float32", "Float64"])
def test_functions_in_vectors(array: str) -> None:
    names = "exp", "exp2", "log", "log2", "log10", "tanh"
    lines = "\n".join(f"        y[{k}, i] = np.{name}(x[i])" for k, name in enumerate(names))
    kernel = kernel_of(
        f"@hpacml.kernel(fastmath=True)\ndef f(x: {array}[np.ndarray, 'N'], y: {array}[np.ndarray, 'K N']):\n"
        f"    for i in range(len(x)):\n{lines}\n"
    )
    assert len(re.findall(r"math\.(exp|log|tanh)", str(kernel.ir(stage="functions")))) == len(names)
    x = _numbers(np.dtype(array.lower()).type)
    found = np.empty((len(names), len(x)), x.dtype)
    kernel(x, found)
    with np.errstate(all="ignore"):
        exact = [getattr(np, name)(x.astype(np.longdouble)) for name in names]
        assert max(map(_apart, found, exact)) <= 4


@pytest.mark.parametrize("array", ["Float32", "Float64"])
def test_powers_in_vectors(array: str) -> None:
    kernel = kernel_of(
        f"T = {array}[np.ndarray, 'N']\n@hpacml.kernel(fastmath=True)\ndef f(x: T, y: T, z: T):\n"
        "    for i in range(len(x)):\n        z[i] = x[i] ** y[i]\n"
    )
    numbers = _numbers(np.dtype(array.lower()).type)
    pairs = np.array(np.meshgrid(numbers[-len(SPECIAL) :], numbers[-len(SPECIAL) :])).reshape(2, -1)
    x = np.concatenate([numbers, pairs[0]])
    y = np.concatenate([np.random.default_rng(4).permutation(numbers), pairs[1]])
    y[:500] = np.round(y[:500] % 40 - 20)
    found = np.empty_like(x)
    kernel(x, y, found)
    with np.errstate(all="ignore"):
        exact = x.astype(np.longdouble) ** y.astype(np.longdouble)
        assert _apart(found, exact) <= 4
    there = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found)[there], np.signbit(exact)[there])


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
def test_few_and_many_iterations(n: int) -> None:
    @hpacml.kernel(fastmath=True)
    def total(x: Row, y: Row):
        sum = 1.0
        for i in range(len(x)):
            sum += math.exp(x[i])
        for i in hpacml.prange(len(x)):
            y[i] = math.log(x[i]) ** 3.5
        y[:] = y + np.tanh(x)
        return sum

    x = 1.5 + np.random.default_rng(n).random(n)
    y, expected = np.zeros((2, n))
    np.testing.assert_allclose(total(x, y), total.py_func(x, expected), rtol=1e-14)
    np.testing.assert_allclose(y, expected, rtol=1e-13)
