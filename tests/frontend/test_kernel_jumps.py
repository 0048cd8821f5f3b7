"""Jumps in nested branches: the code grows with the text, and variables are what they were on each path."""

from __future__ import annotations

import numpy as np
import pytest

from hpacml.errors import CompileError
from tests.frontend.kernels import check, kernel_of


def guards(count: int, jump: str) -> str:
    lines = (
        f"        if x[i] > {j}.0:\n            if x[i] < {j}.5:\n                c += {j}\n                {jump}\n"
        f"            c += 1\n        elif x[i] < -{j}.0:\n            d = c * 0.5\n"
        for j in range(count)
    )
    return f"""
@hpacml.kernel
def f(x: Float64[np.ndarray, "N"]):
    c, d = 0, 0.0
    for i in range(len(x)):
{"".join(lines)}        x[i] = c + d
        d += 0.25
    return c + d
"""


@pytest.mark.parametrize("jump", ["continue", "break", "return 7.5"])
def test_guards_of_guards(jump: str) -> None:
    kernel = kernel_of(guards(5, jump))
    for seed in range(8):
        check(kernel, lambda seed=seed: (np.random.default_rng(seed).random(9) * 10 - 4,), joins=True)


@pytest.mark.parametrize("jump", ["continue", "return 7.5"])
def test_the_code_is_linear_in_the_guards(jump: str) -> None:
    few, many = (len(str(kernel_of(guards(count, jump)).ir()).splitlines()) for count in (10, 20))
    assert many < 2.2 * few


@pytest.mark.slow
def test_a_hundred_guards() -> None:
    kernel = kernel_of(guards(100, "continue").replace("x[i] < -", "x[i] == -"))
    check(kernel, lambda: (np.random.default_rng(0).random(50) * 100,), joins=True)


def test_a_hundred_plain_guards() -> None:
    lines = "".join(f"    if n == {j}:\n        return {j} + k\n    k += 1\n" for j in range(100))
    kernel = kernel_of(f"@hpacml.kernel\ndef f(n: int, k: int):\n{lines}    return k\n")
    for n in (0, 15, 16, 50, 99, 100, -1):
        check(kernel, lambda n=n: (n, 3))


PATHS = """
@hpacml.kernel
def f(n: int, x: Float64[np.ndarray, "N"]):
    kept, late = 0, 1.5
    for i in range(5):
        if i % 2 == n % 2:
            if i == n:
                kept += 10
                {jump}
            value = i * 3
            if i > 3 and n < 9:
                late = -0.5
                kept -= 1
                {jump}
        else:
            value = i
            for j in range(4):
                if j > i:
                    if j == n:
                        kept += 100
                        break
                    if n < 0:
                        {inner}
                    value += j
                kept += 1
            else:
                if n == 3:
                    kept += 1000
                    {jump}
        kept += value
        x[i] = late + value
        late += kept
    return kept + late
"""


@pytest.mark.parametrize("jump", ["continue", "break", "return -1.0 * kept"])
@pytest.mark.parametrize("inner", ["continue", "break", "return 2.0 * kept"])
def test_variables_on_every_path(jump: str, inner: str) -> None:
    kernel = kernel_of(PATHS.format(jump=jump, inner=inner))
    for n in range(-2, 10):
        check(kernel, lambda n=n: (n, np.zeros(5)), joins=True)


def test_a_value_is_missing_only_where_its_path_goes_on() -> None:
    text = """
@hpacml.kernel
def f(n: int, m: int):
    if n > 0:
        if m > 0:
            return 1
        {value}
    else:
        value = 2
    return value + m
"""
    kernel = kernel_of(text.format(value="value = m"))
    for n, m in ((1, 1), (1, 0), (0, 1), (0, 0)):
        check(kernel, lambda n=n, m=m: (n, m))
    with pytest.raises(CompileError, match="'value' is assigned in only one branch"):
        kernel_of(text.format(value="pass")).ir()


@pytest.mark.parametrize(
    "body",
    [
        "if c > 2:\n        return n\n    return n",
        "if c > 2:\n        m = n\n    else:\n        m = n\n    return m",
        "if c > 2:\n        m = a\n    else:\n        m = a\n    return m[0]",
        "for k in range(c):\n        if k > 2:\n            return n\n    return n",
        "m = 3\n    if c > 2:\n        m = n\n    else:\n        m = n\n    return m",
        "if c > 2:\n        if n > 3:\n            return n\n    elif c == 1:\n        return n\n    return n",
    ],
)
def test_both_branches_give_the_same_value(body: str) -> None:
    kernel = kernel_of(f'@hpacml.kernel\ndef f(n: int, c: int, a: Float64[np.ndarray, "N"]):\n    {body}\n')
    for c in (1, 2, 3, 5):
        check(kernel, lambda c=c: (7, c, np.arange(3.0) + 1))


RETURNS = [
    ("k, a[k]", "-1, np.float64(0.0)"),
    ("a", "a[1:]"),
    ("a[k:], None", "a, None"),
    ("'text', (k, a[k:])", "'text', (n, a)"),
    ("p", "p"),
    ("None", "None"),
    ("'text'", "'text'"),
    ("Pair(a[k:], k)", "p"),
    ("p.u, p", "a, Pair(u=p.u, n=3)"),
    ("made[k:]", "made"),
]


@pytest.mark.parametrize(("inside", "after"), RETURNS)
@pytest.mark.parametrize(
    "body",
    [
        "for k in range(n):\n        if a[k] > 2.5:\n            return {inside}\n    return {after}",
        "for k in range(n):\n        for j in range(k):\n            if a[k] > 2.5:\n                if j == 1:\n"
        "                    return {inside}\n                a[j] += 1\n        a[k] -= 1\n    return {after}",
        "k = 1\n    if n > 2:\n        if n > 4:\n            return {inside}\n        a[0] = 3.0\n"
        "    if n == 2:\n        return {after}\n    a[1] = 4.0\n    return {after}",
        "k = 0\n    while k < n:\n        k += 1\n        if a[k] > 2.5:\n            return {inside}\n"
        "    else:\n        if n == 2:\n            return {inside}\n        a[0] = 5.0\n    return {after}",
    ],
)
def test_values_that_are_returned_from_within(body: str, inside: str, after: str) -> None:
    text = f"""
from typing import NamedTuple
class Pair(NamedTuple):
    u: Float64[np.ndarray, "M"]
    n: int
@hpacml.kernel
def f(a: Float64[np.ndarray, "N"], p: Pair, n: int):
    made = np.arange(4) * 0.5
    {body.format(inside=inside, after=after)}
"""
    kernel = kernel_of(text)
    pair = kernel.py_func.__globals__["Pair"]
    for n in range(6):
        ours, theirs = (np.arange(9.0) for _ in range(2))
        found, expected = (call(a, pair(a[::2], 7), n) for call, a in ((kernel, ours), (kernel.py_func, theirs)))
        assert str(found) == str(expected)
        assert (ours == theirs).all()


def test_names_of_arrays_on_paths_that_leave() -> None:
    text = """
@hpacml.kernel
def f(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "3"], n: int):
    v = a
    for i in range(n):
        if a[i] > 2:
            v = b
            if i > 3:
                continue
            v = a[1:4]
        elif a[i] > 1:
            if n > 6:
                break
            a, v = a[::-1], a
        v[i % 3] += 1.5
        v = v[::-1]
        a[0] -= v[1]
    return a[0] + v[0]
"""
    kernel = kernel_of(text)
    for n in range(9):
        check(kernel, lambda n=n: (np.arange(9.0), np.ones(3), n))
