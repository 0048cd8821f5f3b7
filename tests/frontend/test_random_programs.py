"""A small, fixed share of `python -m tests.fuzz programs`: random kernels beside Python, bit for bit."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fuzz_programs import Program, difference, program, reproducer, smaller


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed: int) -> None:
    each, tally = program(seed), Counter[str]()
    answer = difference(each, 3, tally)
    assert answer is None, f"{answer}\n{reproducer(each, 3)}"


def test_a_difference_is_found_and_made_small() -> None:
    text = """
@hpacml.kernel
def f(a: Float64[np.ndarray, "_"], low: int, high: int, n: int, x: float, use: bool):
    y = 0.0
    for i in range(3):
        if use:
            y += 1.0
    a[0] = n + low * 2
    return y + n * 2**62 * 2
"""
    wrong = Program(text, {"a": "float64"}, 1)  # an integer beyond 64 bits, which programs do not have

    def fails(candidate: Program) -> bool:
        try:
            return difference(candidate, 3, Counter()) is not None
        except Exception:
            return False

    assert fails(wrong)
    assert len(smaller(wrong, fails, 60).text) < len(text) / 1.5
