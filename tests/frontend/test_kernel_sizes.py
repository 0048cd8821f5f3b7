"""Sizes of arrays that a kernel passes to another: what a call from Python checks is proved, or checked by the code."""

from __future__ import annotations

import numpy as np
import pytest

from hpacml.errors import CompileError, MapError
from tests.frontend.kernels import kernel_of

HELPERS = """
@hpacml.kernel
def add(x: Float64[np.ndarray, "N"], y: Float64[np.ndarray, "N"]):
    for i in range(len(x)):
        x[i] += y[i]

@hpacml.kernel
def square(x: Float64[np.ndarray, "N N"]):
    x[len(x) - 1, len(x) - 1] = 1.0

@hpacml.kernel
def third(x: Float64[np.ndarray, "3"]):
    return x[2]

@hpacml.kernel
def deep(x: Float64[np.ndarray, "A"], y: Float64[np.ndarray, "_"]):
    add(y, x)

@hpacml.kernel
def deeper(x: Float64[np.ndarray, "A"], y: Float64[np.ndarray, "B"]):
    deep(x, y)

@hpacml.kernel
def called(x: Float64[np.ndarray, "A"], y: Float64[np.ndarray, "B"], z: Float64[np.ndarray, "A B"]):
    n = len(x)
"""

REFUSED = {
    "add(x, y)": "'N' is 5 in dimension 0 of argument 'x' of add(), but 3 in dimension 0 of 'y'",
    "deeper(x, y)": "'N' is 3 in dimension 0 of argument 'x' of add(), but 5 in dimension 0 of 'y'",
    "square(z)": "'N' is 5 in dimension 0 of argument 'x' of square(), but 3 in dimension 1 of 'x'",
    "third(x)": "dimension 0 of argument 'x' of third() is 5, but its annotation says 3",
    "add(np.zeros(n + 1), x)": "'N' is 6 in dimension 0 of argument 'x' of add(), but 5 in dimension 0 of 'y'",
    "for i in range(9):\n        if i == 4:\n            add(x, y)": "'N' is 5",
}


@pytest.mark.parametrize("call", REFUSED)
@pytest.mark.parametrize("strided", [False, True])
def test_sizes_that_differ(call: str, strided: bool) -> None:
    kernel = kernel_of(f"{HELPERS}    {call}\n")
    x, y = (np.ones(2 * n)[::2] if strided else np.ones(n) for n in (5, 3))
    with pytest.raises(MapError) as caught:
        kernel(x, y, np.zeros((5, 3)))
    assert REFUSED[call] in str(caught.value)
    assert f":{26 + call.count(chr(10))}: " in str(caught.value) or call == "deeper(x, y)"
    assert (x == 1).all()
    assert (y == 1).all()


def test_a_call_that_does_not_run_is_not_checked() -> None:
    kernel = kernel_of(f"{HELPERS}    if n == len(y):\n        add(x, y)\n        third(y)\n")
    kernel(np.ones(5), np.ones(4), np.zeros((5, 4)))
    x = np.ones(3)
    kernel(x, np.ones(3), np.zeros((3, 3)))
    assert (x == 2).all()


def test_sizes_that_are_known_to_be_the_same_are_not_checked() -> None:
    kernel = kernel_of(f"""{HELPERS}
    N, M = z.shape
    t, u = np.zeros(n), np.zeros(N)
    add(x, x)
    add(x, t)
    add(u, t)
    add(np.zeros(M), y)
    third(np.zeros(3))
    square(np.zeros((n, N)))
""")
    assert "hpacml_refuse_sizes" not in str(kernel.ir())
    kernel(np.ones(5), np.ones(3), np.zeros((5, 3)))


def test_sizes_that_are_known_to_differ_do_not_compile() -> None:
    with pytest.raises(CompileError, match=r"'N' is 3 in dimension 0 of argument 'x' of add\(\), but 4 in dimension 0"):
        kernel_of(f"{HELPERS}    add(np.zeros(3), np.zeros(4))\n").ir()


def test_on_a_gpu_the_check_comes_before_the_loop() -> None:
    kernel = kernel_of(f"{HELPERS}    for i in prange(n):\n        add(x, y)\n")
    text = str(kernel.ir(stage="gpu"))
    assert text.index("call @hpacml_refuse_sizes") < text.index("gpu.launch")
