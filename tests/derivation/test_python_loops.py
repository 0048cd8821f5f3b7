"""Loops and indices as Python's are compiled: derived maps touch what the function touches when Python runs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jaxtyping import Float64

import hpacml
from hpacml import approx
from tests.random_nests.touched import Place, Touched

Line, Plate = Float64[np.ndarray, "n"], Float64[np.ndarray, "n m"]


class Traced:
    """An array that notes which elements are read before they are written, and which are written."""

    def __init__(self, name: str, shape: tuple[int, ...], read: set[Place], written: set[Place]):
        self.name, self.shape, self._read, self._written = name, shape, read, written

    def __len__(self) -> int:
        return self.shape[0]

    def _place(self, index: Any) -> Place:
        given = index if isinstance(index, tuple) else (index,)
        if not all(-size <= i < size for i, size in zip(given, self.shape, strict=True)):
            raise IndexError
        return self.name, tuple(i + size if i < 0 else i for i, size in zip(given, self.shape, strict=True))

    def __getitem__(self, index: Any) -> float:
        if (place := self._place(index)) not in self._written:
            self._read.add(place)
        return 1.0

    def __setitem__(self, index: Any, value: float) -> None:
        self._written.add(self._place(index))


@hpacml.kernel
def backwards(x: Line, y: Line):
    with approx("ml(collect)"):
        for i in range(len(x) - 1, -1, -1):
            y[i] = x[i]


@hpacml.kernel
def backwards_in_steps(x: Line, y: Line):
    with approx("ml(collect)"):
        for i in range(len(x) - 1, 1, -3):
            y[i] = x[i - 2] + x[i]


@hpacml.kernel
def forwards_in_steps(x: Line, y: Line):
    with approx("ml(collect)"):
        for i in range(1, len(x) - 1, 2):
            y[i] = x[i - 1] + x[i + 1] + x[0] + x[-1]


@hpacml.kernel
def mirrored(x: Line, y: Line):
    n = len(x)
    with approx("ml(collect)"):
        for i in range(n):
            y[n - 1 - i] = x[i]


@hpacml.kernel
def evens_and_odds(x: Line, y: Line):
    with approx("ml(collect)"):
        for i in range(len(x) // 2):
            y[2 * i] = x[2 * i + 1]
            y[2 * i + 1] = x[2 * i]


@hpacml.kernel
def squares(z: Plate, y: Line):
    n, m = z.shape
    with approx("ml(collect)"):
        for i in range(1, n - 1):
            total = 0.0
            for j in range(-1, 2):
                total += z[i + j, 0] + z[i, m - 1]
            y[i] = total


@hpacml.kernel
def recurrence(x: Line, y: Line):
    with approx("ml(collect)"):
        for i in range(2, len(x)):
            y[i] = y[i - 1] + y[i - 2] + x[i]


@hpacml.kernel
def edges_and_middle(x: Line, y: Line):
    n = len(x)
    with approx("ml(collect)"):
        y[0] = x[0]
        y[n - 1] = x[n - 1]
        for i in range(1, n - 1):
            y[i] = 0.5 * (x[i - 1] + x[i + 1])


@hpacml.kernel
def times(x: Line, y: Line):
    n = len(x)
    with approx("ml(collect)"):
        for _ in range(3):
            for i in range(1, n - 1):
                y[i] = x[i - 1] + x[i + 1]
            for i in range(1, n - 1):
                x[i] = y[i]


@hpacml.kernel
def transposed(z: Plate, w: Float64[np.ndarray, "m n"]):
    n, m = z.shape
    with approx("ml(collect)"):
        for i in range(n):
            for j in range(m):
                w[j, i] = z[i, j]


@hpacml.kernel
def choosing(x: Line, y: Line):
    with approx("ml(collect)"):
        for i in range(len(x)):
            if x[i] > 0.0:
                y[i] = 1.0
            else:
                y[i] = 2.0


KERNELS = (
    backwards,
    backwards_in_steps,
    forwards_in_steps,
    mirrored,
    evens_and_odds,
    squares,
    recurrence,
    edges_and_middle,
    times,
    transposed,
    choosing,
)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_touches_what_python_touches(kernel: Any) -> None:
    module = kernel.ir("maps", layout="packed")
    names = list(kernel.signature.parameters)
    compared = 0
    for n, m in ((8, 5), (7, 4), (3, 3), (2, 2), (1, 1), (0, 0)):
        sizes = {"x": (n,), "y": (n,), "z": (n, m), "w": (m, n)}
        read, written = set[Place](), set[Place]()
        try:
            kernel.py_func(*(Traced(name, sizes[name], read, written) for name in names))
        except IndexError:
            continue  # which no program may do
        touched = Touched(module, {}, sizes)
        assert touched.read == read, (n, m)
        assert sorted(touched.written) == sorted(written), (n, m)
        compared += 1
    assert compared >= 3
