"""A small, fixed share of `python -m tests.fuzz programs`: random kernels beside Python, bit for bit."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from kernels import kernel_of

from tests.random_programs import Program, difference, program, reproducer, smaller
from tests.random_programs.compare import compared
from tests.random_programs.parallel import difference_on_gpu, parallel_program


@pytest.mark.parametrize("seed", range(10))
def test_random_programs(seed: int) -> None:
    each, tally = program(seed), Counter[str]()
    answer = difference(each, 3, tally)
    assert answer is None, f"{answer}\n{reproducer(each, 3, difference)}"


@pytest.mark.parametrize("seed", range(4))
def test_random_parallel_programs(seed: int) -> None:
    each, tally = parallel_program(seed), Counter[str]()
    answer = difference_on_gpu(each, 3, tally)
    assert answer is None, f"{answer}\n{reproducer(each, 3, difference_on_gpu)}"


def test_a_difference_is_found_and_made_small() -> None:
    text = """
@hpacml.kernel
def f(a: Float64[np.ndarray, "N"], low: int, high: int, n: int, x: float, use: bool):
    y = 0.0
    for i in range(3):
        if use:
            y += 1.0
    a[0] = n + low * 2
    return y + n * 2**62 * 2
"""
    parameters = {"a": "float64 N", "low": "far", "high": "far", "n": "int", "x": "float", "use": "bool"}
    wrong = Program(text, parameters, 1)  # an integer beyond 64 bits, which programs do not have

    def fails(candidate: Program) -> bool:
        try:
            return difference(candidate, 3, Counter()) is not None
        except Exception:
            return False

    assert fails(wrong)
    assert len(smaller(wrong, fails, 60).text) < len(text) / 1.5


class Wrong:
    """A kernel whose Python function is that of another."""

    def __init__(self, kernel: Any, other: Any):
        self._kernel, self.py_func = kernel, other.py_func

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._kernel(*arguments, **keywords)


@pytest.mark.parametrize(
    ("python", "kernel", "answer"),
    [
        ("return x + 1", "return x + 2", "returns"),
        ("return np.float32(n)", "return np.float64(n)", "a float64, and not"),
        ("return a", "return a.copy()", "returns other memory"),
        ("return a.astype(np.int8)", "return a.astype(np.int16)", "dtype=int16"),
        ("a[:] = -0.0", "a[:] = 0.0", "leaves"),
        ("raise ValueError('stop')", "raise KeyError('stop')", "raises KeyError"),
        ("return (n, x)", "return (n, x, n)", "returns"),
    ],
)
def test_what_counts_as_a_difference(python: str, kernel: str, answer: str) -> None:
    head = '@hpacml.kernel\ndef f(a: Float64[np.ndarray, "N"], n: int, x: float):\n    '
    wrong: Any = Wrong(kernel_of(f"{head}{kernel}\n"), kernel_of(f"{head}{python}\n"))
    ours, theirs = ({"a": np.ones(3), "n": 2, "x": 1.0} for _ in range(2))
    found = compared(wrong, ours, theirs, 0, Counter())
    assert found is not None
    assert answer in found
