"""Programs: control flow, variables, arrays and calls do what they do in Python, to the last bit."""

import math
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from kernels import check, kernel_of
from xdsl.dialects.arith import AddiOp, CmpiOp, SelectOp
from xdsl.dialects.memref import LoadOp, StoreOp

import hpacml
from hpacml import approx, prange
from hpacml.frontend.kernel import Kernel
from hpacml.runtime import callbacks
from hpacml.runtime.shim import runtime

LIMIT = 7
STEP = -2
RATE = np.float32(0.1)
OFFSET = 1.5
DEBUG = False


@hpacml.kernel
def square(x: float):
    return x * x


@hpacml.kernel
def scale(a: Float64[np.ndarray, "N"], factor: float = 2.0):
    for i in range(len(a)):
        a[i] = square(a[i]) * factor


@hpacml.kernel
def clamp(x: float, low: float, high: float = 1.0):
    if x < low:
        return low
    if x > high:
        return high
    return x


# -- loops ---------------------------------------------------------------------------------------


@hpacml.kernel
def ranges(start: int, stop: int, step: int, out: Int64[np.ndarray, "K"]):
    k = 0
    for i in range(start, stop, step):
        out[k] = i
        k += 1
    for i in range(start, stop, -3):
        out[k] = i
        k += 1
    for i in range(stop, start, 3):
        out[k] = -i
        k += 1
    for i in range(start, stop, STEP):
        out[k] = i
        k += 1
    for i in range(stop, -1, -1):
        out[k] = i
        k += 1
    return k


@pytest.mark.parametrize("step", [1, 2, 5, -1, -2, -7])
@pytest.mark.parametrize("bounds", [(0, 0), (0, 10), (10, 0), (-5, 6), (3, -9), (7, 8)])
def test_ranges(bounds: tuple[int, int], step: int) -> None:
    check(ranges, lambda: (*bounds, step, np.zeros(100, np.int64)))


@hpacml.kernel
def parallel(a: Float64[np.ndarray, "N M"], out: Float64[np.ndarray, "N"]):
    for i in prange(a.shape[0] - 1, -1, -1):
        total = 0.0
        row = np.zeros(a.shape[1])
        for j in hpacml.prange(a.shape[1]):
            if a[i, j] < 0:
                continue
            row[j] = a[i, j] * 2
        for j in range(a.shape[1]):
            total += row[j]
        out[i] = total


@hpacml.kernel
def breaking(a: Int64[np.ndarray, "N"], least: int, most: int):
    count = 0
    found = -1
    for i in range(len(a)):
        if a[i] < least:
            continue
        if a[i] > most:
            found = i
            break
        count += 1
        if a[i] == most:
            if count > 2:
                count += 100
                break
            if count == 2:
                continue
            count += 1000
        count += 10
    return count * 100 + found


@hpacml.kernel
def nested_breaks(a: Int64[np.ndarray, "N"], n: int):
    total = 0
    for i in range(n):
        for j in range(i, -1, -1):
            if a[j] == 3:
                break
            total += a[j]
            k = 0
            while True:
                k += 1
                if k > j:
                    break
                if k % 2 == 0:
                    continue
                total += 1
        if total > 1000:
            break
    return total


@hpacml.kernel
def collatz(n: int):
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n //= 2
        else:
            n = 3 * n + 1
        steps += 1
    return steps


@hpacml.kernel
def find(a: Float64[np.ndarray, "N"], x: float):
    """The right side of `and` must not read beyond the end."""
    i = 0
    while i < len(a) and a[i] < x:
        i += 1
    return i


@hpacml.kernel
def find_or_stop(a: Float64[np.ndarray, "N"], x: float):
    i = 0
    while a[i] < x:
        i += 1
        if i == len(a):
            break
    return i


@hpacml.kernel
def newton(x: float, eps: float):
    guess = 1
    while abs(guess * guess - x) > eps:
        guess = (guess + x / guess) / 2
    return guess


@pytest.mark.parametrize("seed", range(4))
def test_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    integers = random.integers(0, 9, 20)
    floats = np.sort(random.normal(size=12))
    check(parallel, lambda: (random_matrix(seed, np.float64), np.zeros(6)))
    for least in range(4):
        check(breaking, lambda least=least: (integers.copy(), least, 3 + seed))
    check(nested_breaks, lambda: (integers.copy(), 20))
    check(collatz, lambda: (int(random_integer(seed)),))
    for x in (-5.0, 0.0, 0.3, 9.0):
        check(find, lambda x=x: (floats, x))
        check(find_or_stop, lambda x=x: (floats, x))
    check(newton, lambda: (2.0 + seed, 1e-12))


def random_matrix(seed: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(6, 5)).astype(dtype)


def random_integer(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(1, 10000))


@hpacml.kernel
def first(a: Float64[np.ndarray, "N"], x: float):
    for i in range(len(a)):
        if a[i] == x:
            return i
    return -1


@hpacml.kernel
def leaving(n: int, m: int):
    """`return` and `break` out of several loops, with `else`."""
    for i in range(n):
        for j in range(i, n):
            if i * j == m:
                return i * 100 + j
            if j > 50:
                break
        else:
            if i > 30:
                return 1.5
            m += i % 2
    else:
        m += 1
    while m > 7:
        m -= 2
        if m == 10:
            break
    else:
        m += 100
    for _ in range(2):
        m += 1
    else:
        m *= 2
    return m


@hpacml.kernel
def is_prime(n: int):
    for k in range(2, n):
        if n % k == 0:
            break
    else:
        return True
    return False


@hpacml.kernel
def endless(x: float):
    guess = x
    while True:
        better = 0.5 * (guess + x / guess)
        if abs(better - guess) < 1e-9:
            return better
        guess = better


@hpacml.kernel
def never(n: int):
    while 0:
        return 1
    while True:
        n += 1
        if n > 5:
            break
        if n == 3:
            return n
    return -n


@hpacml.kernel
def until_negative(a: Float64[np.ndarray, "N"]):
    for i in range(len(a)):
        if a[i] < 0:
            return
        a[i] += 1
    a[0] = 77


def test_returns_from_loops() -> None:
    numbers = np.arange(6.0)
    for x in (0.0, 3.0, 9.0):
        check(first, lambda x=x: (numbers, x))
    for n in (0, 1, 5, 40, 60):
        for m in (-1, 0, 6, 12, 35):
            check(leaving, lambda n=n, m=m: (n, m), joins=True)
    for n in range(2, 20):
        check(is_prime, lambda n=n: (n,))
    check(endless, lambda: (2.0,))
    for n in (0, 3, 9):
        check(never, lambda n=n: (n,))
    for shift in (0, 3):
        check(until_negative, lambda shift=shift: (numbers - shift,))


# -- variables and branches ----------------------------------------------------------------------


@hpacml.kernel
def branches(x: float, n: int):
    if x < 0 and n > 3:
        sign, y = -1, x * 2
    elif x == 0:
        sign, y = 0, 1
    else:
        sign, y = 1, x / 2
    if n:
        y += 1
    z = sign if n > LIMIT else -sign
    a, b = y, z
    a, b = b, a
    c = d = a + b
    return (c + d) * 10 + (y if not n < 5 else z) + (1 <= n < 5)


@hpacml.kernel
def early(x: float, n: int):
    if n > 10:
        return x
    if n < 0:
        if x < 0:
            return -x
        x = x + 1.0
        if x > 5:
            return 5.0
    else:
        x = x * 2
    n = n + 1
    return x * n


@hpacml.kernel
def nothing(a: Float64[np.ndarray, "N"], n: int):
    if n == 0:
        return
    a[0] = n
    if n > 3:
        a[1] = n
        return None  # noqa: RET501
    a[2] = n


@hpacml.kernel
def accumulate(a: Float32[np.ndarray, "N"], b: Int32[np.ndarray, "N"], c: UInt8[np.ndarray, "N"]):
    total = 0.0
    count = 0
    small = 0
    most = -math.inf
    for i in range(len(a)):
        total += a[i] * RATE
        count += b[i]
        small = small + c[i]
        most = max(most, a[i])
    return total + count + small + most


@hpacml.kernel
def widening(n: int):
    x = 0
    y = False
    for _ in range(n):
        y = x > 3
        for _ in range(2):
            x += 0.5
    return x + y


@hpacml.kernel
def scopes(n: int):
    """Inner variables may be reused after their block."""
    total = 0
    for i in range(n):
        t = i * 2
        total += t
    for i in range(n):
        t = i * 0.5
        if t > 1:
            u = t
            total += u
        else:
            u = 1
            total += u
    t = n
    i = 5
    return total + t + i


@hpacml.kernel
def augmented(n: int):
    """What is read by `+=` only is read."""
    unused = n
    for _ in range(n):
        unused += 1
    unused -= 1
    return n


@hpacml.kernel
def static(n: int):
    if DEBUG:
        n = undefined_name + 1
    x = 1 if DEBUG else n
    return x if not DEBUG or undefined_name else 0


@hpacml.kernel
def annotated(n: int) -> float:
    x: float = 1.5
    y: int
    y = n
    return x * y


@pytest.mark.parametrize("n", [-7, -1, 0, 1, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("x", [-2.5, 0.0, 1.5, 7.0])
def test_branches(x: float, n: int) -> None:
    check(branches, lambda: (x, n), joins=True)
    check(early, lambda: (x, n))
    check(nothing, lambda: (np.zeros(3), n))
    for kernel in (widening, scopes, augmented, static, annotated):
        check(kernel, lambda: (n,), joins=kernel in (widening, scopes))


def test_accumulate() -> None:
    integers = np.arange(30, dtype=np.int32), np.arange(30, dtype=np.uint8)
    check(accumulate, lambda: (random_matrix(1, np.float32).ravel(), *integers))


# -- arrays --------------------------------------------------------------------------------------


@hpacml.kernel
def indices(a: Float32[np.ndarray, "N M"], k: Int32[np.ndarray, "K"], u: UInt8[np.ndarray, "K"]):
    N, M = a.shape
    for i in range(len(k)):
        a[k[i], u[i]] += 1
        a[k[i]][u[i]] *= 1.5
    a[-1, 0] = a[0][-1] - a.size + a.ndim
    a[N - 1, M - 1] = a[-2, -1] + a.shape[-1] + len(a.shape)
    a[0, 0] //= 2
    a[0, 1] **= 2
    a[1, 0] = N > M
    k[0] = a[0, 1] * 3
    k[1] += 2.7
    u[0] = 3.9


@hpacml.kernel
def locals(n: int, a: Float64[np.ndarray, "N"]):
    buffer = np.empty((n, 3), np.float32)
    counts = np.zeros(n, dtype=np.int32)
    fixed = np.zeros(shape=(2, 2))
    like = np.zeros(a.shape, a.dtype)
    for i in range(n):
        inner = np.zeros(3, "uint8")
        for j in range(3):
            buffer[i, j] = i * 0.1 + j
            inner[j] = i + j
            counts[i] += inner[j]
        if i % 2:
            other = np.empty(2)
            other[0] = i
            fixed[0, 1] += other[0]
    total = 0.0
    for i in range(n):
        total += buffer[i, 2] * counts[i]
    for i in range(len(like)):
        a[i] = like[i] + fixed[0, 1] + total
    same = a
    same[0] = -1.0
    return total


@hpacml.kernel
def calls(a: Float64[np.ndarray, "N"], n: int):
    scale(a)
    scale(a, factor=n)
    b = np.zeros(3)
    for i in range(3):
        b[i] = i
    scale(b, 3)
    return clamp(a[0], 0, high=4) + square(n) + b[2] + clamp(square(0.5), n)


@hpacml.kernel
def element_types(
    f: Float32[np.ndarray, "N"], d: Float64[np.ndarray, "N"], i: Int32[np.ndarray, "N"], u: UInt8[np.ndarray, "N"]
):
    for k in range(len(f)):
        f[k] = d[k] * i[k]
        d[k] = f[k] / u[k]
        i[k] = u[k] * 2 - i[k]
        u[k] = u[k] + 200


@hpacml.kernel
def periodic(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]):
    n = len(a)
    for i in range(n):
        b[i] = a[i - 1] + a[(i + 1) % n] * a[i - 2]


@hpacml.kernel
def from_the_end(a: Float64[np.ndarray, "N"], b: Int32[np.ndarray, "M K"], k: int):
    a[k] += 1
    for i in range(-3, 2):
        a[i] *= 2
        b[i, -i - 1] += i
    for i in range(2, k, -1):
        a[i] -= 1
    j = 3
    while j > -4:
        a[j] += 0.5
        j -= 1
    for i in range(len(a)):
        left = i - 1 if i > 2 else -1
        for m in range(i, -6, -2):
            a[m] += left
            a[np.int64(m)] *= 0.5
            a[max(m, -2) - min(m, 3)] -= abs(m)
        left = 2
        a[left] += a[-left] + a[b[0, 0] - 2]
    fixed = np.ones(3)
    fixed[k % 3 - 3] = k
    return fixed[k // 7 - 1] + fixed[-3]


@hpacml.kernel
def from_the_start(a: Float64[np.ndarray, "N M"], limit: UInt8[np.ndarray, "N"]):
    """No index here can be negative."""
    N, M = a.shape
    total = a[0, limit[0]] + a[limit[0] // 2, limit[0] & 1]
    count = 0
    for i in range(1, N - 1):
        for j in prange(M - 1, 0, -1):
            a[i, j] = a[i - 1, j] + a[i + 1, j - 1]
        if a[i, 0] > 0:
            a[count, count % M] += 1
            count += 1
    half = N
    while half > 1:
        half //= 2
        total += a[half, (2 * half) >> 1 if half < M else 0]
    for i in range(N - 1, -1, -1):
        if a[i, i % M] == 5:
            break
        total += a[i, abs(M - i) % M]
    return total


def layouts(array: np.ndarray) -> list[np.ndarray]:
    """The same elements in memory of several kinds."""
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    back = np.array(array[::-1])[::-1]
    return [array.copy(), np.asfortranarray(array), view, back]


@pytest.mark.parametrize("layout", range(4))
def test_arrays(layout: int) -> None:
    k, u = np.array([0, 1, 5, 2], np.int32), np.array([0, 4, 2, 3], np.uint8)
    check(indices, lambda: (layouts(random_matrix(3, np.float32))[layout], k.copy(), u.copy()))
    for n in (0, 1, 5):
        check(locals, lambda n=n: (n, layouts(np.arange(4.0))[layout]), joins=True)
    check(calls, lambda: (layouts(np.arange(1.0, 5.0))[layout], 3))
    u = np.array([1, 2, 100, 255], np.uint8)
    d = np.array([0.5, -2.0, 1e9, 3.3])
    parts = (d.astype(np.float32), d, np.array([1, -5, 7, 2], np.int32), u)
    check(element_types, lambda: tuple(layouts(part)[layout] for part in parts))


def test_indices_count_from_the_end() -> None:
    for n in (2, 3, 7):
        check(periodic, lambda n=n: (np.random.default_rng(n).random(n), np.zeros(n)))
    for k in (-6, -1, 0, 5):
        check(from_the_end, lambda k=k: (np.arange(6.0), np.zeros((4, 5), np.int32), k))
    check(from_the_start, lambda: (np.random.default_rng(0).random((6, 5)), np.ones(6, np.uint8)))


def indices_from_the_end(kernel: Kernel[..., Any]) -> int:
    """In how many places an index may count from the end: a select between it and its sum with the size."""
    accesses = (op for op in kernel.ir().walk() if isinstance(op, LoadOp | StoreOp))
    selects = (index.owner for op in accesses for index in op.indices if isinstance(index.owner, SelectOp))
    return sum(isinstance(s.cond.owner, CmpiOp) and isinstance(s.lhs.owner, AddiOp) for s in selects)


def test_indices_that_are_not_negative_cost_nothing() -> None:
    assert indices_from_the_end(periodic) == 2
    for kernel in (heat, binomial, mandelbrot, from_the_start, breaking, find, accumulate):
        assert indices_from_the_end(kernel) == 0


@hpacml.kernel
def makes(n: int, m: int):
    a = np.zeros((n, 1, m, 1))
    b = np.ones(n)
    c = np.full((2, n), m)
    d = np.full(m, fill_value=b[0] * 0.1, dtype=np.float32)
    a[n - 1, 0, m - 1, 0] = d[-1]
    return a[-1, 0, -1, 0] + b[n // 2] * c[1, n - 1]


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((2**62, 1), "no memory has so many bytes"),
        ((2**31, 2**31), "no memory has so many bytes"),
        ((2**32, 2**32), "no memory has so many bytes"),
        ((2**63 - 1, 2**63 - 1), "no memory has so many bytes"),
        ((-5, 3), "write max(n, 0) for a size that may be negative"),
        ((3, -5), "write max(n, 0) for a size that may be negative"),
        ((0, -5), "write max(n, 0) for a size that may be negative"),
    ],
)
def test_shapes_that_cannot_be(shape: tuple[int, int], why: str) -> None:
    for _ in range(2):
        with pytest.raises(hpacml.HpacmlError) as caught:
            makes(*shape)
        assert str(caught.value) == f"a kernel cannot make an array of the shape [{shape[0]}, 1, {shape[1]}, 1]: {why}"


def test_an_interrupt_between_two_sizes_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = callbacks._handlers["refuse_size"]

    def interrupted(size: int, more: int) -> None:
        refuse(size, more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(callbacks._handlers, "refuse_size", interrupted)
        with pytest.raises(KeyboardInterrupt):
            makes(-5, 3)
    with pytest.raises(hpacml.HpacmlError, match=r"the shape \[3, 1, -5, 1\]"):
        makes(3, -5)


def test_square_that_cannot_be() -> None:
    kernel = kernel_of(
        "@hpacml.kernel\ndef f(n: int):\n    a = np.empty((n, n))\n    a[0, 0] = n\n    return a[0, 0]\n"
    )
    assert kernel(1000) == 1000
    with pytest.raises(hpacml.HpacmlError, match=r"the shape \[4294967296, 4294967296\]: no memory has"):
        kernel(2**32)


def test_shapes_that_can_be() -> None:
    check(makes, lambda: (300000, 1))
    check(makes, lambda: (3, 70000))


def test_no_array_outlives_its_call() -> None:
    before = runtime().live_blocks()
    locals(5, np.zeros(4))
    parallel(random_matrix(0, np.float64), np.zeros(6))
    assert runtime().live_blocks() == before


# -- names ---------------------------------------------------------------------------------------


def test_closure_and_module_constants() -> None:
    rate, shift = 0.25, np.float32(0.1)

    @hpacml.kernel
    def inner(x: float):
        approx("tensor functor(unused: [i] = ([i]))")
        return x * rate + shift + LIMIT + math.pi + np.inf * 0 + OFFSET

    check(inner, lambda: (1.25,))


def test_names_of_c_functions() -> None:
    """A kernel named as a function that compiled code calls must not take its place."""
    kernel = kernel_of("@hpacml.kernel\ndef exp(x: float):\n    return math.exp(x) + x ** 1.5\n")
    check(kernel, lambda: (0.3,))


def test_the_same_functor_name_twice() -> None:
    text = """\
@hpacml.kernel
def one(a: Float64[np.ndarray, "N"]):
    approx("tensor functor(f: [i] = ([i]))")
    a[0] += 1

@hpacml.kernel
def two(a: Float64[np.ndarray, "N"]):
    approx("tensor functor(f: [i, 0:2] = ([i], [i+1]))")
    one(a)
    one(a)
"""
    kernel = kernel_of(text)
    assert "hpacml.functor @f_0" in str(kernel.ir())
    check(kernel, lambda: (np.zeros(3),))


# -- whole programs ------------------------------------------------------------------------------


@hpacml.kernel
def heat(t: Float32[np.ndarray, "N M"], tnew: Float32[np.ndarray, "N M"], steps: int):
    N, M = t.shape
    for _ in range(steps):
        for i in prange(1, N - 1):
            for j in range(1, M - 1):
                tnew[i, j] = t[i, j] + 0.1 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1] - 4.0 * t[i, j])
        for i in prange(1, N - 1):
            for j in range(1, M - 1):
                t[i, j] = tnew[i, j]


@hpacml.kernel
def binomial(s: float, x: float, t: float, r: float, v: float, steps: int):
    """A European call by a binomial tree."""
    dt = t / steps
    up = math.exp(v * math.sqrt(dt))
    down = 1 / up
    grow = math.exp(r * dt)
    p = (grow - down) / (up - down)
    values = np.empty(steps + 1)
    for i in range(steps + 1):
        values[i] = max(s * up ** (2 * i - steps) - x, 0.0)
    for j in range(steps, 0, -1):
        for i in range(j):
            values[i] = (p * values[i + 1] + (1 - p) * values[i]) / grow
    return values[0]


@hpacml.kernel
def mandelbrot(out: UInt8[np.ndarray, "N M"], limit: int):
    N, M = out.shape
    for i in prange(N):
        for j in range(M):
            cx, cy = 3.0 * j / M - 2.0, 2.0 * i / N - 1.0
            x = y = 0.0
            n = 0
            while n < limit and x * x + y * y <= 4.0:
                x, y = x * x - y * y + cx, 2 * x * y + cy
                n += 1
            out[i, j] = n


@hpacml.kernel
def sort(a: Float64[np.ndarray, "N"]):
    for i in range(1, len(a)):
        key = a[i]
        j = i - 1
        while j >= 0 and a[j] > key:
            a[j + 1] = a[j]
            j -= 1
        a[j + 1] = key


@hpacml.kernel
def random_walk(state: Int64[np.ndarray, "1"], n: int):
    """A linear congruential generator: integers, shifts and masks."""
    position = 0
    for _ in range(n):
        state[0] = (state[0] * 1103515245 + 12345) & 0x7FFFFFFF
        position += 1 if (state[0] >> 16) & 1 else -1
    return position / n


def test_programs() -> None:
    random = np.random.default_rng(7)
    t = random.random((9, 7)).astype(np.float32)
    check(heat, lambda: (t.copy(), np.zeros_like(t), 3))
    check(binomial, lambda: (100.0, 95.0, 1.5, 0.02, 0.3, 40))
    check(mandelbrot, lambda: (np.zeros((12, 16), np.uint8), 50))
    numbers = random.normal(size=50)
    check(sort, lambda: (numbers.copy(),))
    check(random_walk, lambda: (np.array([42]), 1000))
