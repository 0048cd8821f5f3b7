"""Numbers in the targets of maps: arrays of one element, which broadcast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32

import hpacml
from hpacml import approx

TWO = hpacml.functor("f: [i, 0:2] = ([i], [i])")
ONE = hpacml.functor("g: [i, 0:1] = ([i])")
A = np.arange(3, dtype=np.float32)
Vector = Float32[np.ndarray, "N"]

NUMBERS: dict[str, tuple[Any, torch.dtype]] = {
    "float": (0.5, torch.float32),
    "int": (2, torch.float32),
    "bool": (True, torch.float32),
    "float64": (np.float64(0.1), torch.float64),
    "int16": (np.int16(-3), torch.float32),
    "0-d array": (np.array(0.1), torch.float64),
    "0-d tensor": (torch.tensor(7, dtype=torch.int8), torch.float32),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_number_broadcasts(kind: str) -> None:
    number, dtype = NUMBERS[kind]
    x = TWO.gather("a[0:3], dt", a=A, dt=number)
    assert x.dtype == dtype
    assert x.tolist() == [[k, float(number)] for k in range(3)]


def test_numbers_alone_have_an_extent_of_1() -> None:
    assert ONE.gather("x", x=np.uint64(2**63 + 1)).tolist() == [[2**63 + 1]]
    assert TWO.gather("x, y", x=3, y=-4).tolist() == [[3, -4]]
    plane = hpacml.functor("f: [i, j, 0:2] = ([i, j], [0, 0])")
    assert plane.gather("a[0:1, 0:3], x", a=A.reshape(1, 3), x=0.5)[0, 2].tolist() == [2, 0.5]


def test_arrays_without_dimensions_are_written_and_numbers_are_not() -> None:
    array, tensor = np.zeros(()), torch.zeros((), dtype=torch.int8)
    TWO.scatter(np.array([[3.0, -4.0]]), "x, y", x=array, y=tensor)
    assert (array, tensor) == (3, -4)
    with pytest.raises(hpacml.MapError, match="'x' is a number, which cannot be written"):
        ONE.scatter(np.ones((1, 1)), "x", x=0.5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (A, r"'x' has the shape \[3\], but stands in the map as a number: say which elements, as in x\[0:n\]"),
        ("3", "'x' is no array but a str"),
        (1j, "'x' is a complex number"),
        (2**64, "'x' is 18446744073709551616, which does not fit 64 bits"),
    ],
)
def test_what_is_no_number(value: Any, message: str) -> None:
    with pytest.raises(hpacml.MapError, match=message):
        TWO.gather("a[0:3], x", a=A, x=value)


@hpacml.region("""tensor functor(f: [i, 0:2] = ([i], [i]))
                  tensor functor(o: [i, 0:1] = ([i]))
                  ml(predicated: c) in(f(a[0:n], dt)) out(o(b[0:n])) model(net) database("d.h5")""")
def step(a, b, dt, n, c, net):
    b[:] = a * dt


@hpacml.kernel
def compiled(a: Vector, b: Vector, dt: float, k: int, c: bool, net: torch.nn.Module):
    n = a.shape[0]
    approx("tensor functor(f: [i, 0:3] = ([i], [i], [i]))")
    approx("tensor functor(o: [i, 0:1] = ([i]))")
    twice = 2 * dt  # noqa: F841 (the map uses it)
    with approx("ml(predicated: c) in(f(a[0:n], twice, k)) out(o(b[0:n])) model(net) database('d.h5')"):
        for i in range(n):
            b[i] = a[i] * np.float32(dt)


class Product(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.prod(1, keepdim=True)


def test_regions_and_kernels_collect_and_infer_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    b = np.zeros(3, np.float32)
    for dt in (0.5, 0.25):
        step(A, b, dt, 3, False, Product())
        compiled(A, b, dt, 3, False, Product())
    step(A, b, 4.0, 3, True, Product())
    assert b.tolist() == [0, 4, 8]
    compiled(A, b, 0.5, -3, True, Product())
    assert b.tolist() == [0, -3, -6]
    hpacml.flush()
    with hpacml.open_database("d.h5") as database:
        assert database["step"].inputs[0][:].tolist() == [[[k, dt] for k in range(3)] for dt in (0.5, 0.25)]
        assert database["compiled"].inputs[0][:].tolist() == [[[k, 2 * dt, 3] for k in range(3)] for dt in (0.5, 0.25)]
        assert database["step"].inputs[0].dtype == np.float32
