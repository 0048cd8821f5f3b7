"""Conditions on points compute as Python does, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hpacml

Array = np.ndarray[Any, np.dtype[Any]]

NUMBERS = [0.9, -0.9, 0.3, 7.0, -7.0, 5.5, 1e-30, 1e30, 0.0, -0.0, 0.1, 0.7]


@pytest.mark.parametrize(
    "text",
    [
        "a % 0.3 > 0.15",
        "a % -0.3 < -0.15",
        "a // 0.1 >= 6",
        "-a // 0.1 < 6",
        "a % b > b / 2",
        "a // b == (a - a % b) / b",
        "not a % 2 > 1 and a + b != 3",
    ],
)
def test_remainders_and_quotients_are_those_of_python(text: str) -> None:
    @hpacml.region(
        f"""tensor functor(f: [i, 0:1] = ([i]))
        ml(infer) in(f(a[0:n]), f(b[0:n])) out(f(y[0:n])) model(net) guard(where: {text})"""
    )
    def region(a: Array, b: Array, y: Array, n: int, net: Any) -> None:
        y[:] = 1

    pairs = [(a, b) for a in NUMBERS for b in NUMBERS if b != 0]
    a, b = np.array(pairs).T
    y = np.zeros(len(pairs))
    region(a, b, y, len(pairs), lambda x, _: 0 * x + 2)
    code = compile(text, "condition", "eval")
    for k, (one, other) in enumerate(pairs):
        assert (y[k] == 2) == eval(code, {"a": one, "b": other}), (one, other)


@pytest.mark.parametrize(
    "text", ["a > 10", "not a > 10", "a", "not a", "a != 3", "not a == 3", "not (a > 10 and b < 3)", "not 0 < a < 9"]
)
def test_neither_a_comparison_with_nan_nor_its_negation_holds(text: str) -> None:
    @hpacml.region(
        f"""tensor functor(f: [i, 0:1] = ([i]))
        ml(infer) in(f(a[0:n]), f(b[0:n])) out(f(y[0:n])) model(net) guard(where: {text})"""
    )
    def region(a: Array, b: Array, y: Array, n: int, net: Any) -> None:
        y[:] = 1

    y = np.zeros(1)
    region(np.array([np.nan]), np.ones(1), y, 1, lambda x, _: 0 * x + 2)
    assert y[0] == 1
