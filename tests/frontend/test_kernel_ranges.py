"""Ranges whose numbers are close to the ends of 64 bits: a kernel runs as many iterations as Python."""

from __future__ import annotations

from itertools import islice, product
from typing import Any

import numpy as np
import pytest

import hpacml
from tests.frontend.kernels import kernel_of

LAST, FIRST = 2**63 - 1, -(2**63)
EDGES = [FIRST, FIRST + 1, FIRST + 12, -(2**62), -3, 0, 2, LAST - 12, LAST - 1, LAST]
STEPS = [1, -1, 2, -2, 5, -5, 2**62, LAST, FIRST, FIRST + 1]
MOST = 16

BREAKS = """
@hpacml.kernel
def some(a: int, b: int, s: int, out: Int64[np.ndarray, "K"]):
    c = 0
    for i in range(a, b, {step}):
        if c == len(out):
            break
        out[c] = i
        c += 1
    return c
"""
COUNTS = """
@hpacml.kernel
def every(a: int, b: int, s: int, out: Int64[np.ndarray, "K"]):
    c = 0
    for i in range(a, b, {step}):
        out[c] = i
        c += 1
    return c
"""
PARALLEL = """
@hpacml.kernel
def side(a: int, b: int, s: int, out: Int64[np.ndarray, "K"]):
    for i in prange(a, b, {step}):
        out[(i - a) // {step}] = i
    return s
"""


def compare(kernel: Any, a: int, b: int, step: int, stops: bool = False) -> None:
    numbers = range(a, b, step)
    expected = list(islice(numbers, MOST))
    if len(expected) == MOST and not stops:
        return
    out = np.zeros(MOST, np.int64)
    assert kernel(a, b, step, out) == len(expected), numbers
    assert out[: len(expected)].tolist() == expected, numbers


@pytest.mark.parametrize("text", [COUNTS, BREAKS], ids=["counts", "breaks"])
def test_a_step_that_is_an_argument(text: str) -> None:
    kernel = kernel_of(text.format(step="s"))
    for a, b, step in product(EDGES, EDGES, STEPS):
        compare(kernel, a, b, step, text is BREAKS)
    assert kernel(0, 5, 0, np.zeros(MOST, np.int64)) == 0


@pytest.mark.parametrize("step", [-1, 2, -5, FIRST])
def test_a_step_that_is_constant(step: int) -> None:
    counts, breaks = (kernel_of(text.format(step=step)) for text in (COUNTS, BREAKS))
    for a, b in product(EDGES, EDGES):
        compare(counts, a, b, step)
        compare(breaks, a, b, step, True)


@pytest.mark.parametrize("step", [1, 5, -1, -2])
def test_a_parallel_loop(step: int) -> None:
    kernel = kernel_of(PARALLEL.format(step=step))
    for a in (FIRST, FIRST + 12, -3, LAST - 12, LAST):
        for b in (max(FIRST, a - 12), a, min(LAST, a + 12)):
            compare(lambda a, b, step, out: kernel(a, b, len(range(a, b, step)), out), a, b, step)


def test_bounds_that_have_wrapped_around() -> None:
    kernel = kernel_of("""
@hpacml.kernel
def wrapped(n: int):
    c = 0
    for i in range(n + 7, n + 7 + 12, 5):
        c += 1
    for i in range(0, n, n):
        c += 10
    return c
""")
    assert kernel(LAST) == 13  # n + 7 is FIRST + 6
    assert kernel(LAST - 13) == 10  # n + 19 is FIRST + 5, which is less than n + 7


WITHOUT_SIGN = [0, 5, LAST - 1, LAST, LAST + 1, LAST + 8, 2**64 - 9, 2**64 - 1]
WITH_SIGN = [FIRST, FIRST + 5, -7, -1, 3, LAST]
BOUNDS = {"np.uint64": WITHOUT_SIGN, "np.int64": WITH_SIGN, "int": WITH_SIGN, "np.uint32": [0, 7, 2**32 - 1]}
UNSIGNED_STEPS = [1, 3, 2**62, LAST, LAST + 1, LAST + 2, 2**64 - 1]
MIXED = """
@hpacml.kernel
def some(a: {start}, b: {stop}, s: {step}, out: UInt64[np.ndarray, "K"]):
    c = 0
    for i in range(a, b, s):
        if c == len(out):
            break
        out[c] = i
        c += 1
    return c
"""


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [
        ("np.uint64", "np.uint64", "np.uint64"),
        ("np.uint64", "np.uint64", "int"),
        ("np.int64", "np.uint64", "np.uint64"),
        ("np.uint64", "int", "np.int64"),
        ("np.uint32", "np.uint32", "np.uint64"),
    ],
)
def test_numbers_without_a_sign_beside_others(start: str, stop: str, step: str) -> None:
    kernel = kernel_of(MIXED.format(start=start, stop=stop, step=step))
    for a, b, s in product(BOUNDS[start], BOUNDS[stop], UNSIGNED_STEPS if step == "np.uint64" else STEPS):
        expected = list(islice(range(a, b, s), MOST))
        out = np.zeros(MOST, np.uint64)
        assert kernel(a, b, s, out) == len(expected), (a, b, s)
        assert out[: len(expected)].tolist() == [number % 2**64 for number in expected], (a, b, s)


@pytest.mark.parametrize(
    ("numbers", "results"),
    [
        ("n", {3: 3, 0: 0}),
        ("n, LARGE", {LAST + 3: 3, 2**64 - 1: 0}),
        ("n, n - np.uint64(6), -2", {LAST + 3: 3, 2**64 - 1: 3}),
        ("-5, n, LARGE", {0: 1, 2**64 - 1: 2}),
        ("helper(n), n, LARGE", {2**64 - 1: 2, 1: 1}),
    ],
)
def test_numbers_without_a_sign_as_constants_and_results(numbers: str, results: dict[int, int]) -> None:
    kernel = kernel_of(
        f"""
@hpacml.kernel
def helper(n: np.uint64):
    return n >> np.uint64(60)
@hpacml.kernel
def every(n: np.uint64):
    c = 0
    for i in range({numbers}):
        c += 1
    return c
""",
        LARGE=np.uint64(LAST + 6),
    )
    for number, expected in results.items():
        assert kernel(np.uint64(number)) == kernel.py_func(np.uint64(number)) == expected


def test_a_start_that_is_known_to_be_too_large() -> None:
    kernel = kernel_of(
        "@hpacml.kernel\ndef f(n: np.uint64):\n    for i in range(LARGE, n):\n        pass\n", LARGE=np.uint64(LAST + 6)
    )
    with pytest.raises(hpacml.CompileError, match="does not fit the 64 bits"):
        kernel(np.uint64(3))


def test_a_map_up_to_a_number_without_a_sign() -> None:
    kernel = kernel_of("""
@hpacml.kernel
def f(a: Float64[np.ndarray, "N"], n: np.uint64):
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(f(a[0:n])) out(f(a[0:n])) model('none.pt')"):
        pass
""")
    for number in (LAST + 1, 2**64 - 3):  # which is not -3
        with pytest.raises(hpacml.MapError, match="64 bits"):
            kernel(np.zeros(9), np.uint64(number))
