"""Loops that write what they read, or memory beside it, compute what Python does."""

import numpy as np
import pytest
from jaxtyping import Float64

import hpacml


@hpacml.kernel
def scale(a: Float64[np.ndarray, "N M"], b: Float64[np.ndarray, "N K"], by: float):
    for i in range(a.shape[0]):
        for j in range(1, a.shape[1]):
            b[i, j] = a[i, j] / by + a[i, j] * j


@hpacml.kernel
def total(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]) -> float:
    sum, last = 0.0, 0.0
    for i in range(len(a)):
        b[i] = a[i] - 0.5
        last = a[i] / (b[i] + 3.0)
        sum += last
    return sum + last


@hpacml.kernel
def totals(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]) -> float:
    spread(a, a)
    return total(a, a) + total(a, b)


@hpacml.kernel
def spread(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]):
    for i in hpacml.prange(len(a)):
        if a[i] > 0.3:
            b[i] = 3.0 * a[i]


@hpacml.kernel
def helped(a: Float64[np.ndarray, "N M"], b: Float64[np.ndarray, "N K"], by: float):
    scale(a, b, by)
    scale(b, b, by)
    scale(a, a, by)


@hpacml.kernel
def wider(a: Float64[np.ndarray, "N M"], b: Float64[np.ndarray, "N K"], by: float):
    scale(a[:, 1:], a[:, 1:], by)
    scale(a[1:], a[:-1], by)
    scale(a, b, by)


def memory():
    return np.random.default_rng(1).random((23, 41))


VIEWS = {
    "apart": lambda m: (m[:10], m[10:20]),
    "the same": lambda m: (m, m),
    "views that are the same": lambda m: (m[1:20, 3:], m[1:20, 3:]),
    "a row further": lambda m: (m[:-1], m[1:]),
    "a column back": lambda m: (m[:, 1:], m[:, :-1]),
    "of one start, with other strides": lambda m: (m[:20:2, ::2], m[:10, ::2]),
    "of one start, backwards": lambda m: (m[::-1, ::-1], m[::-1, ::-1]),
    "of one start, transposed": lambda m: (m[:20, :20], m[:20, :20].T),
    "of one start, with wider rows": lambda m: (m.reshape(-1)[:60].reshape(6, 10), m.reshape(-1)[:72].reshape(6, 12)),
    "of no elements": lambda m: (m[:0], m[:0]),
}


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("kernel", [scale, helped, wider], ids=str)
def test_nests(kernel, views):
    ours, theirs = memory(), memory()
    a, b = views(theirs)
    kernel.py_func(a, b, 3.7)
    kernel(*views(ours), 3.7)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 15, 33])
@pytest.mark.parametrize("shift", [0, 1, 8])
def test_rows(n, shift):
    ours, theirs = memory().reshape(-1), memory().reshape(-1)
    ours[3] = theirs[3] = -0.0
    ours[5] = theirs[5] = np.nan
    results = [f(m[:n], m[shift : n + shift]) for f, m in ((totals, ours), (totals.py_func, theirs))]
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours.view(np.int64), theirs.view(np.int64))


def eight(k):
    k = k + k
    k = k + k
    k = k + k
    k = k + k
    k = k + k
    k = k + k
    k = k + k
    return k + k


def test_indices_to_which_there_are_many_ways():
    """To go each of them would take hours."""

    @hpacml.kernel
    def moved(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"], k: int):
        for i in range(len(a)):
            b[i + eight(eight(eight(eight(k))))] = 2.0 * a[i + eight(eight(eight(eight(k))))]

    @hpacml.kernel
    def moved_in_place(a: Float64[np.ndarray, "N"], k: int):
        moved(a, a, k)

    ours, theirs = memory()[0], memory()[0]
    moved_in_place(ours, 0)
    moved_in_place.py_func(theirs, 0)
    np.testing.assert_array_equal(ours, theirs)


def test_one_array_under_two_names_in_a_kernel():
    @hpacml.kernel
    def both(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"], n: int):
        for k in range(n):
            for i in range(len(a)):
                b[i] = b[i] + 0.5 * a[i]
            a, b = b, a

    for second in (lambda m: m, np.copy):
        ours, theirs = memory()[0], memory()[0]
        both(ours, second(ours), 3)
        both.py_func(theirs, second(theirs), 3)
        np.testing.assert_array_equal(ours, theirs)
