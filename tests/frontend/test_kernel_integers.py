"""Kernels on integers of every width and on bools: what NumPy computes, to the last bit."""

from typing import Any

import numpy as np
import pytest
from jaxtyping import Bool, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64

import hpacml
from tests.frontend.kernels import check, kernel_of

TYPES = {
    np.int8: Int8,
    np.int16: Int16,
    np.int32: Int32,
    np.int64: Int64,
    np.uint8: UInt8,
    np.uint16: UInt16,
    np.uint32: UInt32,
    np.uint64: UInt64,
}


Unsigned, Signed, Double, Single = (t[np.ndarray, "N"] for t in (UInt64, Int64, Float64, Float32))
Flags, Three, Eight = (Bool[np.ndarray, dims] for dims in ("N", "N 3", "N 8"))
Found = Int64[np.ndarray, "K"]


def numbers(kind: type[np.integer[Any]]) -> np.ndarray[Any, Any]:
    info = np.iinfo(kind)
    return np.array([info.min, info.min + 1, info.max, info.max - 1, info.max // 2 + 1, 0, 1, 2, 7, 100], kind)


@pytest.mark.parametrize("kind", TYPES)
def test_arithmetic_wraps_around_and_knows_its_sign(kind: type[np.integer[Any]]) -> None:
    Column = TYPES[kind][np.ndarray, "N"]
    Nine = TYPES[kind][np.ndarray, "N 9"]

    @hpacml.kernel
    def compute(
        a: Column,
        b: Column,
        out: Nine,
        less: Three,
        quotient: Double,
        single: Single,
        last: kind,
    ):
        for i in range(a.shape[0]):
            x = a[i]
            y = b[i]
            out[i, 0] = x + y
            out[i, 1] = x - y
            out[i, 2] = x * y
            out[i, 3] = x // y
            out[i, 4] = x % y
            out[i, 5] = x >> (y & kind(3))
            out[i, 6] = ~x ^ y
            out[i, 7] = abs(x) + last
            out[i, 8] = max(x, y)
            less[i, 0] = x < y
            less[i, 1] = x > 5
            less[i, 2] = x == y
            quotient[i] = x / y
            single[i] = x
        return last

    a = np.repeat(numbers(kind), 10)
    b = np.tile(numbers(kind), 10)
    made = [
        (np.zeros((100, 9), kind), np.zeros((100, 3), bool), np.zeros(100), np.zeros(100, np.float32)) for _ in range(2)
    ]
    for function, results in zip((compute, compute.py_func), made, strict=True):
        with np.errstate(all="ignore"):
            last = function(a, b, *results, np.iinfo(kind).max)
        assert (int(last), type(last)) in {(np.iinfo(kind).max, kind), (np.iinfo(kind).max, int)}
    for found, expected in zip(*made, strict=True):
        np.testing.assert_array_equal(found, expected)


@hpacml.kernel
def mixed(u: Unsigned, i: Signed, n: int, out: Eight):
    for k in range(u.shape[0]):
        out[k, 0] = u[k] < i[k]
        out[k, 1] = i[k] <= u[k]
        out[k, 2] = u[k] == i[k]
        out[k, 3] = u[k] > n
        out[k, 4] = n != u[k]
        out[k, 5] = u[k] > -1
        out[k, 6] = u[k] <= -1
        out[k, 7] = u[k] >= 9223372036854775808


@pytest.mark.parametrize("n", [-1, 0, 7, 2**63 - 1])
def test_large_unsigned_integers_compare_exactly(n: int) -> None:
    u = np.array([0, 7, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1], np.uint64)
    i = u.astype(np.int64)
    found, expected = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    mixed(u, i, n, found)
    mixed.py_func(u, i, n, expected)
    np.testing.assert_array_equal(found, expected)


@hpacml.kernel
def convert(x: Double, u: Unsigned, y: Double):
    for k in range(x.shape[0]):
        u[k] = np.uint64(x[k])
        y[k] = float(u[k])


def test_floats_of_all_64_bits() -> None:
    x = np.array([0, 1.9, 2.0**53 + 2, 2.0**63 - 1024, 2.0**63, 2.0**64 - 2048])
    u, y = np.zeros(6, np.uint64), np.zeros(6)
    convert(x, u, y)
    np.testing.assert_array_equal(u, x.astype(np.uint64))
    np.testing.assert_array_equal(y, np.trunc(x))


@hpacml.kernel
def sieve(n: int, out: Found):
    prime = np.full(n, True)
    flags = np.zeros(n, np.bool_)
    for i in range(2, n):
        if prime[i]:
            flags[i] = True
            for j in range(i * i, n, i):
                prime[j] = False
    count = 0
    for i in range(n):
        if flags[i] and i != 2:
            out[count] = i
            count += 1
    return count


def test_local_arrays_of_bools() -> None:
    out = np.zeros(50, np.int64)
    assert sieve(50, out) == 14
    assert out[:5].tolist() == [3, 5, 7, 11, 13]


@hpacml.kernel
def any_byte(a: Flags, b: Flags):
    for i in range(a.shape[0]):
        b[i] = not a[i]


def test_a_byte_that_is_not_0_is_true() -> None:
    a, b = np.array([0, 1, 2, 255], np.uint8).view(bool), np.zeros(4, bool)
    any_byte(a, b)
    assert b.view(np.uint8).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("kind", TYPES)
def test_scalars_outside_of_their_type_are_refused(kind: type[np.integer[Any]]) -> None:
    @hpacml.kernel
    def same(x: kind):
        return x

    info = np.iinfo(kind)
    for number in (int(info.min), int(info.max)):
        found = same(number)
        assert (int(found), type(found)) == (number, kind)
    for number in (int(info.min) - 1, int(info.max) + 1):
        with pytest.raises(hpacml.MapError, match=f"'x' takes np.{kind.__name__}, and the value given is {number}"):
            same(number)


@pytest.mark.parametrize(
    ("parameters", "body", "told"),
    [
        (
            "c: bool, u: np.uint8",
            "s = 0\n    if c:\n        s = 300\n    if u > 3:\n        s = u",
            "300 does not fit a uint8",
        ),
        (
            "c: bool, u: np.uint64",
            "s = 0\n    if c:\n        s = -1\n    if u > 3:\n        s = u",
            "-1 does not fit a uint64",
        ),
        ("c: bool, u: np.int8", "s = (1000 if c else 2) if u > 3 else u", "1000 does not fit an int8"),
        ("c: bool, u: np.float32", "s = (1e300 if c else 2.0) if u > 3 else u", "does not fit a float32"),
        ("n: int, u: np.uint64", "s = n\n    if u > 3:\n        s = u", "a uint64 on one path and an int on the other"),
        ("n: int, u: np.uint64", "s = min(n, u)", "a uint64 on one path and an int on the other|an int on one path"),
        (
            "n: int, u: np.uint8",
            "s, p, q = 0, 1, 2\n    for i in range(n):\n        s, p, q = p, q, 5000\n    if u > 3:\n        s = u",
            "5000 does not fit a uint8|an int on the other",
        ),
    ],
)
def test_numbers_of_python_that_another_path_does_not_hold(parameters: str, body: str, told: str) -> None:
    kernel = kernel_of(f"@hpacml.kernel\ndef f({parameters}):\n    {body}\n    return s\n")
    with pytest.raises(hpacml.CompileError, match=told):
        kernel.ir()


def test_numbers_of_python_that_another_path_holds() -> None:
    kernel = kernel_of("""
@hpacml.kernel
def f(u: UInt64[np.ndarray, "N"], b: UInt8[np.ndarray, "N"], n: int):
    largest, last, k = 0, 1, len(u)
    for i in range(len(u)):
        if u[i] > largest:
            largest = u[i]
        if i == n:
            k = u[i]
        last = 250
    if n == 1:
        last = b[0]
    return largest + last + k
""")
    for n in range(3):
        check(kernel, lambda n=n: (np.array([3, 2**63], np.uint64), np.array([200, 9], np.uint8), n), joins=True)


@pytest.mark.parametrize("kind", TYPES)
def test_division_by_constants(kind: type[np.integer[Any]]) -> None:
    name, divisors = kind.__name__, [1, 2, 3, 7, 10, 64, 100, 127]
    if kind is np.int64:
        divisors += [2**40, 10**12 + 1, 2**63 - 1]
    results = ", ".join(f"n // {d}, n % {d}" for d in divisors)
    kernel = kernel_of(f"@hpacml.kernel\ndef f(n: np.{name}):\n    return {results}\n")
    whole = kernel_of(f"@hpacml.kernel\ndef f(n: int):\n    return {results}, -n // 7, -n % 7\n")
    for n in numbers(kind):
        check(kernel, lambda n=n: (n,))
        if -(2**63) < n < 2**63:
            check(whole, lambda n=n: (int(n),))
