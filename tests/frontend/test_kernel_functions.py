"""NumPy's functions of numbers, whose last bits are those of the C library: in the dtype of their argument, and near NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.frontend.kernels import kernel_of

NAMES = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "cbrt",
    "cos",
    "cosh",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "sin",
    "sinh",
    "tan",
    "tanh",
]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, 0.5, 88.0, -88.0, 709.0, -745.0, 2.0, np.pi]


def _of_all_ranges(dtype: type) -> np.ndarray:
    """Numbers of all exponents and both signs, and where functions have their results of most interest."""
    generator = np.random.default_rng(7)
    bits = np.uint32 if dtype is np.float32 else np.uint64
    anything = generator.integers(0, np.iinfo(bits).max, 2000, bits).view(dtype)
    near = [np.asarray(SPECIAL), *(generator.normal(size=1000) * scale for scale in (0.01, 1.0, 30.0))]
    return np.concatenate([anything, *(each.astype(dtype) for each in near)])


def _ordered(x: np.ndarray) -> np.ndarray:
    """Integers that differ by the number of floats between two floats."""
    bits = x.view(f"i{x.itemsize}").astype(object)
    return np.where(bits < 0, -(bits + (1 << (8 * x.itemsize - 1))), bits)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_near(dtype: type) -> None:
    lines = "\n".join(f"        y[{k}, i] = np.{name}(x[i])" for k, name in enumerate(NAMES))
    array = "Float32" if dtype is np.float32 else "Float64"
    kernel = kernel_of(
        f"@hpacml.kernel\ndef f(x: {array}[np.ndarray, 'N'], y: {array}[np.ndarray, 'K N']):\n"
        f"    for i in range(len(x)):\n{lines}\n"
    )
    x = _of_all_ranges(dtype)
    found, expected = np.empty((2, len(NAMES), len(x)), dtype)
    kernel(x, found)
    with np.errstate(all="ignore"):
        for row, name in zip(expected, NAMES, strict=True):
            row[:] = getattr(np, name)(x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    there = ~np.isnan(expected)
    apart = np.abs(_ordered(found[there]) - _ordered(expected[there]))
    assert apart.max() <= 4


@pytest.mark.parametrize("number", ["np.float32", "float", "int", "np.int16"])
def test_types_of_results(number: str) -> None:
    kernel = kernel_of(
        f"@hpacml.kernel\ndef f(x: {number}, y: {number}):\n"
        "    return np.exp(x), np.arctan2(x, y), np.log(2), np.sin(np.float32(0.5)), np.tanh(x) + x, np.expm1(y)\n"
    )
    found, expected = kernel(1, 0), kernel.py_func(*map(eval(number), (1, 0)))
    assert [type(each) for each in found] == [type(each) for each in expected]
    np.testing.assert_allclose(found, expected, rtol=4e-7)
