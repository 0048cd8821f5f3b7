"""Loops of vectors compute what is left over behind the last whole vector as Python does, and touch nothing behind it."""

import numpy as np
import pytest
from jaxtyping import Float32, Float64

import hpacml
from hpacml.backend import llvm


def kernels(Array):
    @hpacml.kernel
    def rows(a: Array, b: Array, n: int):
        for i in range(a.shape[0]):
            for j in range(n):
                b[i, j] = a[i, j] / a[0, 1] - b[i, j] / a[i, j]

    @hpacml.kernel
    def roots(a: Array, b: Array, n: int):
        for i in hpacml.prange(n):
            b[0, i] = a[0, 0] + np.sqrt(a[1, i]) + b[1, i]

    @hpacml.kernel
    def arrays(a: Array, b: Array, n: int):
        b[1:, :n] = a[:-1, :n] / b[:-1, :n] + np.sqrt(b[1:, :n])

    return {"rows": rows, "roots": roots, "arrays": arrays}


KERNELS = {type.dtypes[0]: kernels(type[np.ndarray, "N M"]) for type in (Float32, Float64)}


@pytest.mark.parametrize("name", ["rows", "roots", "arrays"])
@pytest.mark.parametrize("dtype", KERNELS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33])
def test_remainders(name, dtype, n):
    a, b = (np.random.default_rng(n).random((2, 3, 37)) + 0.5).astype(dtype)
    expected = b.copy()
    kernel = KERNELS[dtype][name]
    kernel(a, b, n)
    kernel.py_func(a, expected, n)
    np.testing.assert_array_equal(b, expected)


def four(t):
    t = t + t * t
    t = t + t * t
    t = t + t * t
    return t + t * t


def test_values_to_which_there_are_many_ways():
    """To go each of them would take days."""

    @hpacml.kernel
    def chain(a: Float64[np.ndarray, "N"], c: float):
        for i in range(len(a)):
            a[i] = c / four(four(four(four(four(four(c))))))

    ours, theirs = np.empty(9), np.empty(9)
    chain(ours, 0.01)
    chain.py_func(theirs, 0.01)
    np.testing.assert_array_equal(ours, theirs)


def test_machines_whose_vectors_have_no_masks(monkeypatch):
    """LLVM would make no vectors of such loops there."""
    kernel = KERNELS["float64"]["rows"]
    a = np.ones((2, 3))
    kernel(a, a, 1)
    host = llvm.host()._replace(cpu="x86-64", features="+sse2")
    if not host.triple.startswith("x86_64"):
        pytest.skip("the machine is no x86")
    monkeypatch.setattr(llvm, "host", lambda: host)
    text = kernel.llvm()
    assert "fdiv <2 x double>" in text
    assert "llvm.masked" not in text
