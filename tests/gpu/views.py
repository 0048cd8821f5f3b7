"""Kernels whose parallel loops have views, constant arrays, and expressions of arrays, with arguments for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from jaxtyping import Float64

import hpacml
from hpacml import prange
from hpacml.frontend.kernel import Kernel

Row = Float64[np.ndarray, "N"]
Wide = Float64[np.ndarray, "N M"]
Cube = Float64[np.ndarray, "N M K"]
Columns = Float64[np.ndarray, "M"]
Any1 = Float64[np.ndarray, "_"]

WEIGHTS = np.array([0.25, 0.5, 0.25])
ORDER = np.array([[2, 0], [1, 1], [0, 2]], np.int32)
FLAGS = np.array([True, False, True])
FACTORS = (1.0, -2.0, 0.5)
PAIRS = ((1, 2.0), (3, 4.0), (5, 6.0))


class Case(NamedTuple):
    """A kernel and its arguments; those that are arrays may be written."""

    kernel: Any
    arguments: Callable[[], tuple[Any, ...]]


CASES: dict[str, Case] = {}


def rtol(name: str) -> float:
    """How far results may differ from Python's: NumPy adds in pairs."""
    return 1e-14 if name in ("reduced", "sums_of_rows", "growing") else 0


def in_python(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """The arguments after a call in Python, in which all kernels are plain functions."""
    kernel, arguments = CASES[name].kernel, CASES[name].arguments()
    with monkeypatch.context() as python:
        for other, value in list(globals().items()):
            if isinstance(value, Kernel):
                python.setitem(globals(), other, value.py_func)
        kernel.py_func(*arguments)
    return arguments


def case(*shapes: Any) -> Callable[[Callable[..., Any]], Any]:
    """Keep a kernel under its name, with random arrays of these shapes; what is no shape is an argument itself."""

    def decorate(function: Callable[..., Any]) -> Any:
        def arguments() -> tuple[Any, ...]:
            random = np.random.default_rng(7)
            return tuple(random.random(shape) - 0.5 if isinstance(shape, tuple) else shape for shape in shapes)

        kernel = hpacml.kernel(function)
        CASES[function.__name__] = Case(kernel, arguments)
        return kernel

    return decorate


# -- views -------------------------------------------------------------------------------------------


@case((5, 7), (5, 7))
def rows(a: Wide, b: Wide):
    for i in prange(len(a)):
        row, other = a[i], b[-1 - i]
        for j in range(len(row)):
            row[j] = other[j] + 1


@case((5, 7), (5, 7))
def slices(a: Wide, b: Wide):
    for i in prange(len(a)):
        inner = a[i, 1:-1]
        backwards = b[i, ::-2]
        for j in range(min(len(inner), len(backwards))):
            inner[j] += backwards[j] * len(inner)
        inner[-1] = backwards[0]


@case((4, 3), (3, 4))
def transposed(a: Wide, b: Float64[np.ndarray, "M N"]):
    t = b.T
    for i in prange(len(a)):
        column = t[i]
        for j in range(a.shape[1]):
            a[i, j] = column[j] + b.T[i, 0] + a.T[j, i]


@case((4, 6), (24,))
def flat(a: Wide, b: Any1):
    for i in prange(len(b)):
        b[i] += a.reshape(-1)[i] + a.reshape(6, 4)[i // 4, i % 4] + a.ravel()[0]


@case((3, 4, 5), (5,))
def planes(a: Cube, b: Any1):
    first, last = a[0], a[2]
    middle = a[1, :, 1:4]
    for i in prange(a.shape[1]):
        for j in prange(a.shape[2]):
            last[i, j] = first[i, j] * b[j] + middle[i, j % 3]


@case((3, 4), (4,))
def new_axes(a: Wide, b: Columns):
    column = a[:, None]
    for i in prange(len(a)):
        line = b[None, :]
        for j in range(a.shape[1]):
            column[i, 0, j] += line[0, j]


@hpacml.kernel
def scale(row: Any1, factor: float) -> float:
    total = 0.0
    for i in range(len(row)):
        row[i] *= factor
        total += row[i]
    return total


@hpacml.kernel
def axpy(to: Any1, x: Any1):
    to[:] = 2 * x + to


def middle_of(row):
    return row[1:-1]


@case((4, 6), (4,), (4, 4))
def helpers(a: Wide, b: Row, c: Float64[np.ndarray, "N _"]):
    for i in prange(len(a)):
        b[i] = scale(a[i, ::2], 3.0) + scale(row=a[i][1::2], factor=0.5)
        part = middle_of(a[i])
        axpy(c[i], part)
        part[0] = b[i]


@case((6, 5), 3)
def chosen(a: Wide, n: int):
    for i in prange(len(a)):
        row = a[i] if i < n else a[i, ::-1]
        row[0] = 1.0
        last = a[i]
        if i % 2:
            last = a[i, :-1]
        last[-1] = len(last)


# -- expressions and assignments ---------------------------------------------------------------------


@case((5, 7), (5, 7))
def assigned_rows(a: Wide, b: Wide):
    for i in prange(len(a)):
        a[i] = 2 * b[i] + i


@case((5, 8), (5, 8))
def stencil_of_rows(a: Wide, b: Wide):
    for i in prange(1, len(a) - 1):
        a[i, 1:-1] = 0.5 * (b[i - 1, 1:-1] + b[i + 1, :-2]) - b[i, 2:]


@case((5, 8))
def over_itself(a: Wide):
    for i in prange(len(a)):
        a[i, 1:-1] = 0.5 * (a[i, :-2] + a[i, 2:])
        a[i, 1:] += a[i, :-1]
        a[i] = a[i, ::-1]


@case((5, 70))
def over_itself_by_other_names(a: Wide):
    for i in prange(len(a)):
        row = a[i]
        left, right = row[:-1], a[i, 1:]
        left[:] = right * 2


@case((5, 8), (8,), 0.25)
def broadcast(a: Wide, b: Columns, x: float):
    for i in prange(len(a)):
        a[i] = b * x
        a[i, ::2] += 1
        a[i, 1:3] = 7
        a[i][3:5] *= b[3:5]


@case((3, 4, 5), (3, 4, 5))
def assigned_planes(a: Cube, b: Cube):
    for i in prange(len(a)):
        a[i] = b[i] * b[i, 0] + a[i, :, 0][:, None]
        a[i, 1:, :] -= 1


@case((4, 9), (4, 9))
def made(a: Wide, b: Wide):
    for i in prange(len(a)):
        c = a[i] + b[i]
        d = np.where(c > 0, c, -c)
        e = np.zeros(9)
        e[1:-1] = d[:-2] + d[2:]
        e[2:] = e[:-2] * 2
        part = e[::2]
        part += 1
        few = np.array([c[0], d[1], 3.0])
        few[1:] = few[:-1] + 1
        turned = np.empty((3, 3))
        turned[:] = e.reshape(3, 3).T
        a[i] = e + turned.reshape(-1) + few[2] + turned[1].sum()
        b[i] = np.copy(c)[::-1] + few.sum() * len(part)


@case((40, 100), (40, 100))
def made_of_many(a: Wide, b: Wide):
    for i in prange(len(a)):
        c = a[i] * b[i]
        inner = c[1:-1]
        inner[:] = c[:-2] + c[2:]
        a[i] = c
        for j in prange(b.shape[1]):
            b[i, j] = inner[j % len(inner)] + c.T[j]


@case((6, 8))
def views_of_made(a: Wide):
    c = a * 2
    d, e = c[:, 1:], c[:, :-1]
    for i in prange(len(a)):
        c[i, 1:] = e[i] - 1
        d[i] = e[i] + c[i, 0]
        local = np.zeros(8)
        part = local[1:]
        part[:] = e[i]
        local[:-1] = part * 2
        a[i] = local + c[i]


@case((6, 8), 3)
def swapped(a: Wide, times: int):
    for i in prange(len(a)):
        now, new = a[i].copy(), np.zeros(a.shape[1])
        for _ in range(times):
            new[1:-1] = 0.5 * (now[:-2] + now[2:])
            now, new = new, now
        a[i] = now


@case((6, 8), (6, 8), True)
def in_branches(a: Wide, b: Wide, flag: bool):
    for i in prange(len(a)):
        if flag and a[i, 0] > 0:
            a[i] = b[i]
        else:
            a[i] -= 1
            for k in range(3):
                a[i, 1:-1] += b[i, 2:] * k


@case((6, 6))
def triangles(a: Wide):
    for i in prange(len(a)):
        a[i, :i] += 1
        part = a[i, i:]
        part[:] = part * a[i, 0]
        a[i, i:][::-1] -= 2


@case((6, 6), (6, 6))
def lower_parts(a: Wide, b: Wide):
    for i in prange(len(a)):
        a[i, :i] = b[i, :i]


@case((6, 6))
def eliminated(a: Wide):
    for k in range(len(a) - 1):
        for i in prange(k + 1, len(a)):
            a[i, k] /= a[k, k]
            a[i, k + 1 :] -= a[i, k] * a[k, k + 1 :]


@case((9, 8), 6)
def growing(a: Wide, n: int):
    for i in prange(len(a)):
        b = np.full(i + 1, 2.0)
        c = np.ones((i, 5))
        c[i // 2 :, 1] += b[i // 2 :, None][0]
        d = a[i, i:] * 2
        for k in range(1, n):
            e = a[i, :k] + k
            e[1:] += e[:-1]
            a[i, k:] = a[i, k:][::-1] + e[-1]
            f = np.empty((len(e), min(i, 4) + 1))
            f[:] = e[:, None]
            a[i, 0] += f.T[-1, len(e) // 2] + f[0, 0]
        a[i, :1] += b[-1] + c.sum() + d.sum()


@case((6, 3))
def made_before(a: Wide):
    table = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for i in prange(len(a)):
        a[i] += table[i % 2] * np.array([1, 2, 3])


# -- reductions, loops, tuples, bundles, functions -------------------------------------------------------


@case((5, 8), (8, 5), (5, 9))
def reduced(a: Wide, b: Float64[np.ndarray, "M N"], c: Float64[np.ndarray, "N _"]):
    for i in prange(len(a)):
        row = a[i]
        c[i, 0], c[i, 1], c[i, 2] = row.sum(), row.max(), np.min(row[::2])
        c[i, 3], c[i, 4] = row.mean(), max(row) - min(row)
        c[i, 5] = a[i] @ b[:, i]
        c[i, 6] = (row * 2 - 1).sum() + sum(row)
        c[i, 7] = b.sum(0)[i] + (b > 0).sum(axis=1)[i]
        c[i, 8] = 1.0 if (row > 0.4).any() and (row > -0.6).all() else 0.0


@case((5, 6), (5, 6))
def loops(a: Wide, b: Wide):
    for i in prange(len(a)):
        total = 0.0
        for j, (x, y) in enumerate(zip(a[i], reversed(b[i]))):  # noqa: B905 (kernels have no 'strict')
            total += j * x - y
        for p, q in np.ndindex(2, 3):
            a[i, p * 3 + q] += total * (p - q)
        for row in (a[i, :3], a[i, 3:]):
            row[0] += 1
        for x in b[i, 1:]:
            total += x
        for x, y in zip(b[i, :2], FACTORS[1:]):  # noqa: B905
            total += x * y
        for n, x in PAIRS:
            total += n * x
        b[i, 0] = total


class Ends(NamedTuple):
    first: Any1
    last: Any1


@dataclasses.dataclass
class Grid:
    u: Wide
    dx: float

    def row(self, i):
        return self.u[i]

    def step(self, i):
        inner = self.u[i, 1:-1]
        return (self.u[i, 2:] - self.u[i, :-2]) / (2 * self.dx) + inner


@hpacml.kernel
def ends_of(row: Any1):
    return row[:2], row[-2:], len(row)


@case((5, 8), (5, 8))
def structured(a: Wide, b: Wide):
    grid = Grid(a, 0.5)
    for i in prange(len(b)):
        b[i, 1:-1] = grid.step(i)
        first, last, n = ends_of(b[i])
        first[0], last[-1] = last[0], n + first[1]
        pair = (grid.row(i), b[i])
        ends = Ends(pair[0][:1], pair[1][-1:])

        def put(to, value):
            to[0] += value
            return to

        put(ends.first, 3.0)[0] *= 2
        twice = lambda x: x + x  # noqa: E731
        ends.last[0] = twice(ends.last[0])


# -- constants ---------------------------------------------------------------------------------------


@case((40,), (40,))
def weighted(a: Row, b: Row):
    for i in prange(1, len(a) - 1):
        total = 0.0
        for k in range(3):
            total += WEIGHTS[k] * b[i - 1 + k]
        a[i] = total + (WEIGHTS * WEIGHTS[::-1]).sum() + WEIGHTS[i % 3] + FACTORS[i % 3] + PAIRS[i % 3][1]
        n, x = PAIRS[i % 3]
        a[i] += n * x + ORDER[i % 3, 1] + ORDER.T[0, i % 3] + ORDER[i % 3].sum() + FLAGS[i % 3]
        for w in WEIGHTS[::-1]:
            a[i] += w
        for order in ORDER:
            a[i] += order[0]


@case((9,), (3,))
def named_before(a: Row, b: Any1):
    weights, tail, turned = WEIGHTS, WEIGHTS[1:], ORDER.T
    first = WEIGHTS[0]
    for i in prange(len(a)):
        a[i] = weights[i % 3] + tail[i % 2] + turned[i % 2, i % 3] + first
    b[:] = WEIGHTS
    b[1:] += tail


@hpacml.kernel
def times_weights(a: Row, weights: Any1):
    for i in prange(len(a)):
        a[i] *= weights[i % len(weights)]


@case((9,), True)
def passed_on(a: Row, flag: bool):
    times_weights(a, WEIGHTS)
    times_weights(a, WEIGHTS[:-1])
    some = WEIGHTS if flag else WEIGHTS[::-1]
    for i in prange(len(a)):
        a[i] += some[i % 3]
    for k in range(3):
        times_weights(a, some)


# -- whole arrays between loops ----------------------------------------------------------------------


@case((9,), (9,))
def whole(a: Row, b: Row):
    a[1:-1] = 0.5 * (b[:-2] + b[2:])
    b[1:] += b[:-1]
    c = np.sqrt(abs(a)) * 2
    c[::2] = 1
    a[:] = np.maximum(c, b[::-1])


@case((6, 7), 3)
def heat(u: Wide, steps: int):
    for _ in range(steps):
        u[1:-1, 1:-1] += 0.1 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1])


@case((6, 7), (6,))
def sums_of_rows(u: Wide, s: Row):
    s[:] = u.sum(axis=1)
    t = (u * u).max(axis=0)
    u[0] = t
    u -= s[:, None]


# -- what a GPU cannot -------------------------------------------------------------------------------


@hpacml.kernel
def asserting(a: Wide):
    for i in prange(len(a)):
        assert a[i, 0] > 0
