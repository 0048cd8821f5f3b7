"""Slices, views, expressions and reductions of arrays in kernels equal NumPy's, also where memory is shared."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from kernels import bits, check, kernel_of, same

import hpacml

HEAD = """\
V = Float64[np.ndarray, "n"]
M = Float64[np.ndarray, "n m"]
"""


def vector(n: int = 9) -> Any:
    return np.random.default_rng(n).standard_normal(n)


def matrix(n: int = 5, m: int = 7) -> Any:
    return np.random.default_rng(n * m).standard_normal((n, m))


VECTORS = [
    "a[1:-1] = 0.5 * (b[:-2] + b[2:])",
    "a[1:-1] = 0.5 * (a[:-2] + a[2:])",
    "a[1:] = a[:-1]",
    "a[:-1] = a[1:]",
    "a[:] = a[::-1]",
    "a[0:8:2] = a[1:9:2]",
    "a[:4] += b[5:]",
    "a[2:2] = 1.0",
    "a[5:2] = 1.0",
    "a[-3:] = a[-1]",
    "a[100:] = 1.0",
    "a[-100:100] = 2",
    "a[7:2:-2] = b[:3]",
    "a[:] = np.where(a > 0, a, -b) ** 2",
    "a[:] = np.clip(a, -0.5, 0.5) + np.sign(b)",
    "a[:] = abs(a) - np.minimum(a, b) * np.sqrt(b * b)",
    "a *= 2\n    a -= b",
    "c = a + b\n    a[0] = 5.0\n    b[:] = c",
    "c = a[1:]\n    c[0] = 5.0\n    b[1:] = c * c",
    "c = a.copy()\n    a[:] = 0\n    b[:] = c",
    "c = a.astype(np.float32)\n    b[:] = c",
    "c = np.zeros_like(a)\n    c[:3] = a[:3]\n    b[:] = c + np.arange(9)",
    "c = np.array([1.0, 2, 3])\n    b[:3] = c / a[:3]",
    "b[:] = (a > 0) & ~(b > 0) | (a == b)",
    "b[:] = a if a[0] > 0 else b",
    "a, b = b, a\n    a[0] = 3.0",
    "for k in range(5):\n        b[1:-1] = 0.5 * (a[:-2] + a[2:])\n        a, b = b, a\n    a[0] = 7.0",
    "for x in a:\n        b[0] += x",
    "for k, (x, y) in enumerate(zip(a, reversed(b))):\n        a[k] = x * y + k",
    "for w in (0.25, 0.5, 0.25):\n        b[0] += w\n        b[1:] = b[:-1]",
    "for u in (a, b):\n        u[1:] -= u[:-1]",
    "a[:3] = (1.0, 2, a[5])\n    b[1:3] = [a[0], 4]",
    "c = np.array([a, 2 * b, a > 0])\n    b[:3] = c[:, 1]",
    "b[0] = (a[3] in a) + 2 * (7.5 in a) + 4 * (2 not in a)",
    "k = np.arange(9)\n    *c, d = (a, b, k)\n    d[:] = d * 2\n    c[0][0] = d[3]",
    "for u, k in zip((a, b), range(2)):\n        u[k] = k",
    "for u, k in zip((a, b), range(int(b[0]) % 3)):\n        u[k] = 5.0",
    "for u, x in zip((a, b), a[:1]):\n        u[1] = x\n        if x > 0:\n            break",
    "for k, (u, x) in enumerate(zip((a, 2.0 * b, 3.0), reversed(b))):\n        b[k] += x",
    "for k, (i, j) in enumerate(np.ndindex(2, 4)):\n        a[k] = i + 10 * j",
    "for x, (i,) in zip(b, np.ndindex(a.shape)):\n        a[i] += x",
    "for k, (i, j) in enumerate(np.ndindex(len(a), 0)):\n        a[i + j] = k",
    "b[:] = a[np.newaxis][0] + a[np.newaxis, :][0] + a[:, np.newaxis][:, 0]",
    "for u, k in zip((a, b), (1, 2)):\n        if k == 2:\n            break\n        u[k] = 9.0",
    "a[0], a[1] = a[1], a[0]",
    "b.fill(2.0)\n    b[:3] = a.reshape(3, 3)[1]",
    "c, d = a + 1, b * 2\n    a[:] = d\n    b[:] = c",
    "c = [a * b, a - b]\n    a[:] = 0\n    b[:] = c[1]",
    "a[1:], b[1:] = b[:-1] + 0, a[:-1] + 0",
    "a[:3] = b[1:2]\n    a[3:] += b[-3:-2] * a[-1:]",
    "a[:] = a[0:1] + a",
]


@pytest.mark.parametrize("body", VECTORS)
def test_vectors(body: str) -> None:
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(a: V, b: V):\n    {body}\n")
    check(kernel, lambda: (vector(), vector()[::-1].copy()))
    if "reshape" not in body:
        check(kernel, lambda: (np.stack([vector()] * 3, axis=1)[:, 1], vector()[::-1]))


MATRICES = [
    "m[1:-1, 1:-1] = 0.25 * (m[:-2, 1:-1] + m[2:, 1:-1] + m[1:-1, :-2] + m[1:-1, 2:])",
    "m[:, 0] = m[:, 1]\n    m[:, -1] = m[:, -2]\n    m[0] = m[1]\n    m[-1, :] = m[-2]",
    "m[0, :] = m[:, 0].sum()",
    "m[:] = m - m.mean()",
    "row = m[1]\n    row[2:] = 4.0\n    m[2, 1:3] += row[:2]",
    "for r in m:\n        r[0] = r.sum() + r.min() * r.max()",
    "for i, j in np.ndindex(m.shape):\n        if i == 3:\n            break\n        if j == 1:\n            continue\n        m[i, j] *= i - j",
    "for at in np.ndindex(m.shape):\n        m[at] *= at[0] - at[1]",
    "t = (1, 2)\n    m[t] += m[0, 1]\n    t = (2, 0) if m[t] > 0 else t\n    m[t] = 3.0\n    m[0][t[1]] = 4.0",
    "t = (1,)\n    m[t] = 2.0\n    m[t][1] = 3.0",
    "m[..., 0] = 1.0\n    m[1, ...] = 2.0",
    "c = m.T\n    c[0, :] = 3.0\n    m[1:3, 0:2] = c[0:2, 1:3].T",
    "m[:] = m.sum(axis=0) + m.sum(axis=1)[:, None]",
    "m[:] = m.sum(axis=(0, 1)) + m.max(axis=1, keepdims=True) * m.min(0, keepdims=True) + m.sum(keepdims=True)",
    "m[:] = m.mean(0, dtype=np.float64) + np.sum(m > 0, axis=(-1,), dtype=np.int32)[:, None] + m.prod(axis=())",
    "m[0, :] = m.T @ m[:, 0] * 0 + m[0] * (m > 0).sum()",
    "m[:, 1:] = m[:, :-1]",
    "m[:, ::2] = m[:, ::2] * 2",
    "m[:, :2] = m[:, 2:3]\n    m[-1:] = m[-2:-1]",
    "m[:] = m - m[:, -1:] * m[0:1]",
]


@pytest.mark.parametrize("body", MATRICES)
def test_matrices(body: str) -> None:
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(m: M):\n    {body}\n")
    sums = "mean" in body or "sum" in body or "@" in body
    for make in (matrix, lambda: matrix(7, 5).T, lambda: matrix(10, 14)[::2, ::-2]):
        ours, theirs = make(), make()
        kernel(ours)
        kernel.py_func(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-13 if sums else 0, atol=0)


def test_every_pair_of_slices_of_one_array() -> None:
    kernel = kernel_of(
        f"{HEAD}@hpacml.kernel\ndef f(a: V, b: V):\n    a[:] = 2 * b - a\n"
        f"@hpacml.kernel\ndef g(a: V, i: int, j: int, n: int):\n    a[i:i + n] = 3 * a[j:j + n] + a[i:i + n]\n"
    )
    copied = kernel.py_func.__globals__["f"]
    for i, j, n in itertools.product(range(5), range(5), (0, 1, 3)):
        check(kernel, lambda i=i, j=j, n=n: (vector(), i, j, n))
    for start, step, other in itertools.product(range(4), (1, 2, -1, -2), range(4)):
        ours, theirs = vector(20), vector(20)
        for call, base in ((copied, ours), (copied.py_func, theirs)):
            target = base[start : start + 8 : abs(step)]
            call(target, base[other : other + 8 : abs(step)][:: (1 if step > 0 else -1)])
        assert (bits(ours) == bits(theirs)).all(), (start, step, other)


@pytest.mark.parametrize("dtype", ["Bool", "Int8", "Int32", "UInt8", "UInt64", "Float32", "Float64"])
def test_types_of_results(dtype: str) -> None:
    expressions = "a.sum(), a.prod(), a.min(), a.max(), a.any(), a.all(), a.mean(), sum(a), min(a), max(a)"
    kernel = kernel_of(f'@hpacml.kernel\ndef f(a: {dtype}[np.ndarray, "n"]):\n    return {expressions}\n')
    values = np.array([1, 0, 1, 1, 0, 1]).astype(dtype.lower())
    for mine, other in zip(kernel(values), kernel.py_func(values), strict=True):
        assert same(mine, other), (mine, other, type(mine), type(other))


def test_results_that_are_expressions() -> None:
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(a: V, b: V):\n    return a + b, (a[1:] > 0, b * a)\n")
    a, b = vector(), vector()[::-1]
    (total, (mask, product)), expected = kernel(a, b), kernel.py_func(a, b)
    for mine, other in zip((total, mask, product), (expected[0], *expected[1]), strict=True):
        assert same(mine, other)


@pytest.mark.parametrize(
    "made",
    ["np.zeros_like(m.T)", "m.T + 1", "-m.T", "np.copy(m.T)", "m.T.astype(np.float32)", "np.where(m.T > 0, m.T, 0.0)"],
)
def test_reshape_of_what_numpy_has_in_another_order(made: str) -> None:
    text = f"{HEAD}@hpacml.kernel\ndef f(m: M):\n    c = {made}\n    c.reshape(-1)[1] = 5.0\n    return c\n"
    with pytest.raises(hpacml.CompileError, match="reshape may be a copy here"):
        kernel_of(text)(matrix())
    for way in ("m.T.copy()", "np.empty((m.shape[1], m.shape[0]))\n    c[:] = m.T"):
        check(kernel_of(text.replace(made, way)), lambda: (matrix(),))
    helper = "@hpacml.kernel\ndef g(c: M):\n    c.reshape(-1)[1] = 5.0\n"
    with pytest.raises(hpacml.CompileError, match="reshape is of packed arrays"):
        kernel_of(f"{HEAD}{helper}@hpacml.kernel\ndef f(m: M):\n    g(m.T + 1)\n")(matrix())
    check(
        kernel_of(f"{HEAD}@hpacml.kernel\ndef f(m: M):\n    m[0] = (m[:, ::2] + 1).reshape(-1)[:7]\n"),
        lambda: (matrix(5, 7),),
    )


UFUNCS = "arccos arcsin arcsinh arctan arctanh cbrt cos cosh exp exp2 expm1 log log10 log1p log2 sin sinh tan tanh"


@pytest.mark.parametrize(
    "body",
    [
        "v = m[1:3].reshape(-1)\n    v[0] = 77.0\n    return v",
        "v = c[1, 1 : n + 1].reshape(5, n)\n    v[1] = -1\n    return v",
        "v = c[n].ravel()\n    v[1] = -1\n    return v",
        "return m[n:n].reshape(-1), m[1].reshape(2, 2)",
        "m[1:].ravel()[1:] = m[:-1].ravel()[:-1]\n    return m[1:].reshape(-1)[::-1]",
        "a = np.zeros((3, 4))\n    a[1:].reshape(-1)[2] = 5.0\n    return a",
    ],
)
def test_reshape_of_leading_parts_is_a_view(body: str) -> None:
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(m: M, c: Float64[np.ndarray, 'k 4 5'], n: int):\n    {body}\n")
    ours, theirs = ((np.arange(20.0).reshape(5, 4), np.arange(60.0).reshape(3, 4, 5)) for _ in range(2))
    found, expected = kernel(*ours, 2), kernel.py_func(*theirs, 2)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for mine, other in [*pairs, *zip(ours, theirs, strict=True)]:
        np.testing.assert_array_equal(mine, other)
        assert mine.shape == other.shape


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_functions_whose_last_bits_are_the_machines(dtype: str) -> None:
    calls = [f"np.{name}(a)" for name in UFUNCS.split()] + ["np.arccosh(a + 1)", "np.arctan2(a, b)"]
    powers = ["a ** 1.4", "(a + 1) ** -0.3", "a ** 3.0", "2.5 ** a", "a ** 3"]
    powers += ["a ** b", "a ** n"] if dtype != "int32" else []
    kernel = kernel_of(
        f'T = {dtype.capitalize()}[np.ndarray, "n"]\n@hpacml.kernel\ndef f(a: T, b: T, n: int):\n'
        f"    return {', '.join(calls + powers)}\n"
    )
    a = np.array([0.25, 0.5, 0.75]).astype(dtype)
    arguments = a, a[::-1], 3
    with np.errstate(divide="ignore"):
        expected = kernel.py_func(*arguments)
    for mine, other, text in zip(kernel(*arguments), expected, calls + powers, strict=True):
        assert mine.dtype == other.dtype, text
        np.testing.assert_allclose(mine, other, rtol=4 * np.finfo(other.dtype).eps if other.dtype.kind == "f" else 0)


def test_a_target_whose_index_writes_what_is_assigned() -> None:
    kernel = kernel_of(
        f"{HEAD}@hpacml.kernel\ndef bump(a: V):\n    a[:] = a + 100.0\n    return 1\n"
        f"@hpacml.kernel\ndef f(a: V, b: V):\n    b[bump(a):] = a[1:] * 2\n"
    )
    check(kernel, lambda: (vector(), vector()[::-1].copy()))


def test_views_with_sizes_of_1_and_0() -> None:
    text = """
T = np.arange(6, dtype=np.int8).reshape(2, 3)
@hpacml.kernel
def f(a: Float64[np.ndarray, "n m 3"], k: int):
    a[k][::-1, :-1:2] += 1.0
    a[-1][-2:0:-1, 1:2] += a[k, :-2, :1] * 2
    none = np.zeros((0, 3))
    row, part = none[0:, k], a[:, :, 2:2][k, 1:]
    return row, part[1:, 0:], none[:, 1:].T, a[:, 1:2, k]
@hpacml.kernel
def g(b: Float64[np.ndarray, "m 3"], k: int):
    c = (b + 1)[k, 1:]
    return (b > 0)[:, None], (b * 2)[k, 1], c.astype(T.dtype), T.sum(), T[k].max(), T.copy()
"""
    kernel = kernel_of(text)
    for make in (lambda: np.arange(60.0).reshape(4, 5, 3), lambda: np.arange(60.0).reshape(3, 5, 4).T):
        for call, argument in (
            (kernel.py_func.__globals__["f"], make),
            (kernel, lambda make=make: make()[0]),
        ):
            ours, theirs = argument(), argument()
            for mine, other in zip(call(ours, 1), call.py_func(theirs, 1), strict=True):
                assert same(mine, other)
                assert (np.shape(mine), mine.dtype) == (np.shape(other), other.dtype)
            assert (ours == theirs).all()


def test_zeros_that_are_clipped() -> None:
    text = """
@hpacml.kernel
def f(a: V, b: V, low: float, high: float):
    c = np.clip(a, b, high)
    return np.clip(a, low, high), c, np.clip(a, low, b), np.clip(a, b, b[::-1]), np.clip(a[0], low, high), np.clip(low, b[1], 3)
"""
    kernel = kernel_of(HEAD + text)
    values = (0.0, -0.0, np.nan, 1.0)
    for low, high in itertools.product(values, values):
        a, b = np.array([0.0, -0.0, 0.0, -0.0, np.nan]), np.array([0.0, 0.0, -0.0, -0.0, 1.0])
        for mine, other in zip(kernel(a, b, low, high), kernel.py_func(a, b, low, high), strict=True):
            assert same(mine, other), (low, high, mine, other)


def test_sizes_that_do_not_fit() -> None:
    kernel = kernel_of(f'{HEAD}@hpacml.kernel\ndef f(a: V, b: Float64[np.ndarray, "k"]):\n    a[:] = a + b\n')
    with pytest.raises(hpacml.MapError, match=":5: arrays of 3 and 9 elements in one dimension do not fit together"):
        kernel(vector(), vector(3))
    for slice, size in (("2:3", 3), ("-2:-1", 2), ("-1:", 1)):
        kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(a: V, b: V):\n    b[:] = a[{slice}]\n")
        check(kernel, lambda size=size: (vector(size), vector(size)))
        message = f":5: this slice takes no element of {size - 1}: it needs an array of {size}"
        with pytest.raises(hpacml.MapError, match=message):
            kernel(vector(size - 1), vector(size - 1))
    with pytest.raises(hpacml.MapError, match="the max of an array without elements"):
        kernel_of(f"{HEAD}@hpacml.kernel\ndef f(a: V):\n    return a.max()\n")(vector(0))


def test_views_in_the_ir() -> None:
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(a: V, b: V):\n    a[1:-1] = 0.5 * (b[:-2] + b[2:])\n")
    text = str(kernel.ir(layout="packed"))
    assert text.count("memref.subview") == 3
    assert text.count("scf.parallel") == 2  # and the way back, where arrays share memory
    own = kernel_of(
        f"{HEAD}@hpacml.kernel\ndef f(a: V):\n    b = np.zeros(len(a))\n    b[1:] = a[1:] * 2\n    a[:] = b\n"
    )
    assert "hpacml_meet" not in str(own.ir())


@pytest.mark.parametrize(
    "body",
    [
        "a[1:-1] += a[:-2] + b[2:]",
        "a[2:] = b[:-2]",
        "a[::-1] += a * b",
        "a[i + 1:] -= b[0] * b[i + 1:]",
        "c[i] -= c[0, 0] * c[i - 1]",
        "c[i, i:] -= c[0, i:] * c[i, 0]",
        "c[1:, 2:] += d[:-1, 1:-1]",
    ],
)
def test_sizes_that_are_computed_alike_are_not_compared(body: str) -> None:
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f(a: V, b: V, c: M, d: M, i: int):\n    {body}\n")
    assert "hpacml_refuse_sizes" not in str(kernel.ir())
    assert ("memref.alloc" in str(kernel.ir())) == body.startswith(("a[1:-1]", "a[2:]", "a[::-1]", "a[i", "c[1:"))
    for i in (0, 1, 3, -2):
        check(kernel, lambda i=i: (vector(), vector(), matrix(9, 9), matrix(9, 9), i))


def test_indices_are_checked_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "bounds")
    kernel = kernel_of(
        f"{HEAD}@hpacml.kernel\ndef f(a: V, i: int):\n    row = a[1:]\n    row[i] += 1.0\n    return a[i + 1]\n"
    )
    for i in (0, 3, -1, -2):
        check(kernel, lambda i=i: (vector(5), i))
    for i in (4, -5, 1 << 62):
        a = vector(5)
        with pytest.raises(hpacml.MapError, match=f":6: index {i} is outside dimension 0 of 'row', which has size 4"):
            kernel(a, i)
        assert (a == vector(5)).all()


def test_indices_of_what_has_no_name_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "bounds")
    head = f"{HEAD}TABLE = np.arange(3.0)\ndef item(v, i):\n    return v[i]\n@hpacml.kernel\n"
    for body, name in (
        ("item(m[1], i)", "v"),
        ("TABLE[i]", "TABLE"),
        ("(m + m)[0][i]", "m + m"),
        ("(m[0], m[1])[0][i]", "(m[0], m[1])[0]"),
        ("m[1:][0, i]", "m[1:]"),
    ):
        kernel = kernel_of(f"{head}def f(m: M, i: int):\n    return {body}\n")
        with pytest.raises(hpacml.MapError, match=re.escape(f"of '{name}', which has size")):
            kernel(matrix(), 9)
