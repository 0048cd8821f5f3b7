"""Ranges whose numbers are close to the ends of 64 bits: a kernel runs as many iterations as Python."""

from __future__ import annotations

from itertools import islice, product
from typing import Any

import numpy as np
import pytest

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
