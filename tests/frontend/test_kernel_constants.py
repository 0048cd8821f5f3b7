"""Constants beside NumPy's integers: where NumPy raises, a kernel does not compile, and elsewhere both say the same."""

from __future__ import annotations

import numpy as np
import pytest

from hpacml.errors import CompileError, MapError
from tests.frontend.kernels import check, kernel_of

HEAD = """
@hpacml.kernel
def small(u: np.uint8 = 300):
    return u

@hpacml.kernel
def f(x: UInt8[np.ndarray, "N"], y: Int32[np.ndarray, "N"], z: Int64[np.ndarray, "N"], u: np.uint8, n: int):
"""
TOO_LARGE = [
    *("x[0] += 300", "x[0] = u - 256", "u *= 300", "k = 300\n    x[0] = u + k", "x[0] <<= 300", "x[0] = u ** 256"),
    *("x[0] = 300", "x[0] = -1", "t = np.full(2, 256, np.uint8)", "x[0] = u // 300", "x[0] = np.maximum(u, 300)"),
    *("y[0] = y[0] * 2**31", "y[0] = np.int32(2**31)", "z[0] = z[0] + 2**63", "z[0] = z[0] ** 2**63", "x[0] = small()"),
    *("x[0] = small(300)", "x[0] = small(-1)", "x[0] = u % -1"),
]
THAT_FIT = [
    *("x[0] = u < 300", "x[0] = 300 <= u", "x[0] = u == -1", "x[0] = u != 300 and u > -2**70", "x[0] = z[0] < 2**64"),
    *("x[0] = n < 2**63", "x[0] = -2**63 - 1 < n <= 2**70", "x[0] = (n > 2) != 2**64", "x[0] = z[0] == 2**63"),
    *(
        "x[0] = u << 8",
        "x[0] = u >> 9",
        "y[0] = y[0] << 40",
        "x[0] = u ** 255",
        "x[0] = np.int64(300)",
        "x[0] = u + 255",
    ),
    *("y[0] = y[0] * (2**31 - 1)", "x[0] = np.uint8(255) * u", "z[0] = z[0] - 2**62 - 2**62"),
]


def arguments() -> tuple[object, ...]:
    x, y, z = (np.array([5], dtype) for dtype in (np.uint8, np.int32, np.int64))
    return x, y, z, np.uint8(7), 3


@pytest.mark.parametrize("body", TOO_LARGE)
def test_a_constant_that_does_not_fit(body: str) -> None:
    kernel = kernel_of(f"{HEAD}    {body}\n")
    with pytest.raises((OverflowError, MapError)), np.errstate(all="ignore"):
        kernel.py_func(*arguments())
    with pytest.raises(CompileError, match=r"does not fit|64 bits"):
        kernel(*arguments())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("body", THAT_FIT)
def test_a_constant_that_fits(body: str) -> None:
    check(kernel_of(f"{HEAD}    {body}\n"), arguments)


def test_an_argument_that_does_not_fit() -> None:
    kernel = kernel_of("@hpacml.kernel\ndef f(u: np.uint8 = 300):\n    return u\n")
    for given in ((), (256,), (-1,), (np.int64(300),), (2**70,), (1.0,)):
        with pytest.raises(MapError, match=r"takes np\.uint8"):
            kernel(*given)
