"""Parallel loops on threads: they compute what Python computes, whatever the threads are, and fail as it does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hpacml.errors import CompileError, HpacmlError
from hpacml.runtime import openmp
from hpacml.runtime.shim import runtime
from tests.frontend import orbits
from tests.frontend.kernels import check, kernel_of


@pytest.fixture(params=[1, 2, 5], autouse=True)
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    openmp.provide.cache_clear()
    openmp.provide()  # which forgets that threads have waited in vain
    yield request.param
    torch.set_num_threads(before)


STEPS = """
@hpacml.kernel
def steps(x: Float64[Any, "N"], y: Float32[Any, "N"], z: Int64[Any, "N"], flag: Bool[Any, "N"], first: int, step: int):
    scale = 1.5
    for i in prange(first, len(x), step):
        n = 0
        value = x[i]
        while value < 1e6 and n < 40:
            value = value * scale + math.sin(value)
            n += 1
        x[i], y[i], z[i], flag[i] = value, value, n, n % 2 == 0
"""


@pytest.mark.parametrize(("first", "step"), [(0, 1), (3, 2), (-7, 5)])
def test_ranges(first: int, step: int) -> None:
    kernel = kernel_of(STEPS)
    for size in (0, 1, 2, 3, 7, 1000):
        x = np.random.default_rng(size).standard_normal(max(size, -first))
        results = [np.zeros(len(x), dtype) for dtype in (np.float32, int, bool)]
        check(kernel, lambda x=x, results=results: (x.copy(), *(each.copy() for each in results), first, step), calls=1)


LOCAL = """
@hpacml.kernel
def inner(row: Float64[Any, "M"], out: Float64[Any, "M"]):
    for j in prange(len(row)):
        out[j] = row[j] ** 3 - math.exp(-abs(row[j]))

@hpacml.kernel
def local(a: Float64[Any, "N M"], b: Float64[Any, "N M"], big: int):
    N, M = a.shape
    for i in prange(N - 1, -1, -1):
        own = np.empty(M + i % 3)
        fixed = np.zeros(4)
        for j in range(M):
            own[j] = a[i, j] * big
            fixed[j % 4] += own[j]
        inner(own[:M], b[i])
        b[i] += fixed[i % 4] * a[i, ::-1]
"""


def test_local_arrays_calls_and_expressions() -> None:
    a = np.random.default_rng(1).standard_normal((3000, 37))
    check(kernel_of(LOCAL), lambda: (a[:, ::1], np.zeros_like(a), 3))
    check(kernel_of(LOCAL), lambda: (a[::2, ::-3], np.zeros_like(a[::2, ::-3]), 3))
    assert runtime().live_blocks() == 0


SUMS = """
@hpacml.kernel
def sums(x: Float64[Any, "N"], c: Int64[Any, "N"], small: UInt8[Any, "N"], first: int):
    n, m, k = first, 0, small[0]
    for i in prange(len(x) - 1, -1, -2):
        n += c[i] * 3
        for j in range(i % 7):
            n -= j
        if x[i] > 0.5:
            m += 1
        k += small[i]
    return n, m, k
"""

FLOATS = """
@hpacml.kernel(fastmath=FAST)
def floats(x: Float64[Any, "N"], first: float):
    total, count = first, 0
    for i in prange(len(x)):
        total += x[i] * x[i] - math.sqrt(x[i])
        count += 1
    return total, count
"""


@pytest.mark.parametrize("size", [1, 2, 300, 40_000])
def test_sums_of_integers(size: int) -> None:
    random = np.random.default_rng(size)
    x, c = random.random(size), random.integers(-(2**40), 2**40, size)
    check(kernel_of(SUMS), lambda: (x, c, np.arange(size).astype(np.uint8), -5), calls=1)


def test_sums_of_floats() -> None:
    """Python's order is kept; with fastmath they are the same for every number of threads."""
    x = np.random.default_rng(3).random(100_000)
    check(kernel_of(FLOATS, FAST=False), lambda: (x, 0.1), calls=1)
    fast = kernel_of(FLOATS, FAST=True)
    before, expected, found = torch.get_num_threads(), fast.py_func(x, 0.1), []
    for number in (1, before, 3):
        torch.set_num_threads(number)
        found.append(fast(x, 0.1))
    torch.set_num_threads(before)
    assert found == [found[0]] * 3
    assert found[0] == pytest.approx(expected, rel=1e-10)


EXTREMA = """
@hpacml.kernel
def extrema(x: Float64[Any, "N"], f: Float32[Any, "N"], c: Int64[Any, "N"], u: UInt8[Any, "N"], first: float):
    a, b, p, q, v, w = first, first, first, first, f[0], np.float32(0)
    low, high, ulow, uhigh, ulast = 10**9, -10**9, u[0], u[0], u[0]
    for i in prange(len(x)):
        a = max(a, x[i])
        b = min(b, x[i], -x[i])
        p = np.maximum(p, x[i])
        q = np.minimum(q, x[i])
        if v > f[i] * 2:
            v = f[i] * 2
        if i % 3:
            if f[i] > w:
                w = f[i]
        low = min(c[i], low)
        for j in range(3):
            high = max(high, c[i] + j)
        ulow = np.minimum(u[i], ulow)
        uhigh = max(u[i], uhigh)
        if ulast <= u[i]:
            ulast = u[i]
    return a, b, p, q, v, w, low, high, ulow, uhigh, ulast
"""

SPECIAL = [np.nan, -0.0, 0.0, 1.0, -1.0, np.inf, -np.inf]


@pytest.mark.parametrize("values", [SPECIAL, SPECIAL[1:3], SPECIAL[:1], None], ids=["all", "zeros", "nan", "random"])
def test_least_and_greatest_numbers(values: list[float] | None) -> None:
    """Of equal numbers it is the one of Python, and NaN counts where it does there."""
    random, kernel = np.random.default_rng(4), kernel_of(EXTREMA)
    for size, first in [(1, 0.0), (3000, 0.0), (3000, -0.0), (3000, np.nan), (20_001, -2.0)]:
        x = random.standard_normal(size) if values is None else random.choice(values, size)
        c, u = random.integers(-(2**60), 2**60, size), random.integers(0, 256, size).astype(np.uint8)
        arrays = x, x.astype(np.float32), c, u
        check(kernel, lambda arrays=arrays, first=first: (*arrays, first), calls=1)


@pytest.mark.parametrize(
    "step", ["m = max(x[i], m)", "m = np.maximum(x[i], m)", "if x[i] >= m: m = x[i]", "m = min(max(x[i], 2.0), m)"]
)
def test_orders_of_floats_that_matter(step: str) -> None:
    kernel = kernel_of(f"""
@hpacml.kernel
def k(x: Float64[Any, "N"]):
    m = x[0]
    for i in prange(len(x)):
        {step}
    return m
""")
    x = np.random.default_rng(5).choice(SPECIAL[:3], 100_000)
    check(kernel, lambda: (x,), calls=1, joins=True)


@pytest.mark.parametrize("function", ["g = lambda: s", "g = (lambda: s, 1)[0]"])
def test_functions_that_see_a_sum_as_it_grows(function: str) -> None:
    kernel = kernel_of(f"""
@hpacml.kernel
def k(x: Int64[Any, "N"]):
    s = 0
    {function}
    for i in prange(len(x)):
        s += 1
        x[i] = g()
""")
    with pytest.raises(CompileError, match="'s' has a value before this parallel loop"):
        kernel(np.zeros(10, int))


FAILING = """
@hpacml.kernel
def failing(x: Float64[Any, "N"], y: Float64[Any, "N"], n: int, bad: int):
    for i in prange(len(x)):
        own = np.full(n + i % 3, x[i])
        total = 0.0
        for k in range(n):
            total += own[k] * k
        if i % 100 == bad:
            raise ValueError(f"iteration {i} of {n}: {total}, {own[0]}")
        y[i] = total
"""


@pytest.mark.parametrize("bad", [0, 57, 99])
def test_the_error_is_that_of_the_first_iteration_that_fails(bad: int) -> None:
    kernel = kernel_of(FAILING)
    x = np.random.default_rng(2).random(5000)
    messages: list[str] = []
    for call in (kernel, kernel, kernel.py_func):
        with pytest.raises(ValueError, match=f"iteration {bad} of 50") as caught:
            call(x, np.zeros_like(x), 50, bad)
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert runtime().live_blocks() == 0
    check(kernel, lambda: (x, np.zeros_like(x), 50, -1))


def test_memory_that_a_thread_does_not_get() -> None:
    kernel, x = kernel_of(FAILING), np.zeros(5000)
    with pytest.raises(HpacmlError, match=r"an array of the shape \[-3\]: write max"):
        kernel(x, x, -3, -1)
    with pytest.raises(HpacmlError, match="no memory for a temporary tensor of 9007199254740992 bytes"):
        kernel(x, x, 1 << 50, -1)
    assert runtime().live_blocks() == 0


def test_numbers_that_the_caller_has_flushed() -> None:
    """Other threads compute as the one that calls: denormal numbers are zero for all, or for none."""
    kernel = kernel_of(
        """
        @hpacml.kernel
        def halve(x: Float64[Any, "N"], y: Float64[Any, "N"]):
            for i in prange(len(x)):
                y[i] = x[i] / 4.0
    """.replace("\n        ", "\n")
    )
    x = np.full(400_000, 4e-308)
    for flush in (True, False):
        y = np.ones_like(x)
        torch.set_flush_denormal(flush)
        try:
            kernel(x, y)
        finally:
            torch.set_flush_denormal(False)
        assert (y == (0.0 if flush else 1e-308)).all()


def test_threads_of_python() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for _ in range(3):
                orbits.run(seed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
