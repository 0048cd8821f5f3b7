"""Tuples, bundles, texts, constants, functions and results of kernels are Python's."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from kernels import kernel_of, same

import hpacml
from hpacml.frontend.python import compiler
from hpacml.runtime.shim import runtime

HEAD = """\
import dataclasses, enum
from dataclasses import dataclass
from typing import NamedTuple
V = Float64[np.ndarray, "n"]
M = Float64[np.ndarray, "n m"]
@dataclass
class Grid:
    u: V
    dx: float
    n: int = 3
    def area(self, factor=1.0):
        return self.dx * self.n * factor
class Point(NamedTuple):
    x: float
    y: float
class Case(enum.IntEnum):
    BOX = 1
    RING = 2
WEIGHTS = (0.25, 0.5, 0.25)
TABLE = np.array([1, 2, 3], np.uint64)
PAIRS = ((0, 1.5), (1, 2.5))
SCHEME = "upwind"
def flux(a, i, scale=1e-3):
    if i == 0:
        return 0.0
    return (a[i] - a[i - 1]) * scale
def extent(a):
    low, high = a[0], a[0]
    for x in a:
        low, high = (x, high) if x < low else (low, high)
        if x > high:
            high = x
    return low, high
"""


def results_of(body: str, parameters: str, *arguments: Any) -> tuple[Any, Any]:
    """What a kernel and its Python function return."""
    indented = body.replace("\n", "\n    ")
    kernel = kernel_of(f"{HEAD}@hpacml.kernel\ndef f({parameters}):\n    {indented}\n")
    return kernel(*arguments), kernel.py_func(*arguments)


def require_same(a: Any, b: Any) -> None:
    if isinstance(a, tuple):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            require_same(x, y)
    elif isinstance(a, str):
        assert a == b
    else:
        assert same(a, b), (a, b)


BODIES = [
    ("x: float, n: int", "return x, 2 * x, n, n > 2, None, 'text'"),
    (
        "x: float, n: int",
        "p = (x, n)\nq = p if n > 2 else (0.0, 1)\na, b = q\nreturn a + b, q[0], q[-1], len(q), q[1:]",
    ),
    ("x: float, n: int", "t = (0.0, 1)\nfor k in range(n):\n    t = (t[0] + x, k)\nreturn t"),
    ("x: float, n: int", "t = (x, (n, 1.0))\nif n > 2:\n    t = (1.0, (n + 1, x))\nreturn t[1][0], t"),
    (
        "x: float, n: int",
        "s = 0.0\nfor k in range(3):\n    s += WEIGHTS[k] * x\nreturn s, WEIGHTS[n % 3], TABLE[n % 3]",
    ),
    ("x: float, n: int", "s = 0.0\nfor k, (a, b) in enumerate(PAIRS):\n    s += a * b + k\nreturn s, PAIRS[n % 2]"),
    (
        "x: float, n: int",
        "return n == Case.BOX, Case.RING + n, n in (1, 2), SCHEME == 'upwind', 'up' in SCHEME, SCHEME",
    ),
    ("x: float, n: int", "def g(y, k=n):\n    return y * k\nn += 1\nh = lambda z: z + n\nreturn g(x), g(x, 2), h(x)"),
    ("x: float, n: int", "def g(y):\n    return y * n\nn += 1\nreturn g(x), g(y=2)"),
    ("x: float, n: int", "return divmod(n, 7), divmod(x, 0.7), pow(n, 3), n ** n, pow(abs(x), 0.5)"),
    (
        "x: float, n: int",
        "return np.clip(x, 0.0, 1.0), np.sign(-x), np.hypot(x, 3.0), math.radians(x), math.degrees(x)",
    ),
    ("x: float, n: int", "return (n, x) == (3, 1.5), (n, x) != (3, x), (n,) + (x,), (x,) * 3, n is None"),
    ("x: float, n: int", "p = Point(x, y=2.0)\nq = Point(*(1.0, 2.0)) if False else p\nreturn p.x + q[1], q"),
    (
        "x: float, n: int",
        "*_, last = (1, 2, n)\nfirst, *mid, end = (x, 2, 3, n)\n(p, *q), r = ((1, 2, 3), 4)\n"
        "return last, first, mid[0], len(mid), end, p, len(q), r",
    ),
    (
        "x: float, n: int",
        "a = np.array([x, 2.0])\nif x and a[0] > 0:\n    return 1\nif not (n and (x or a[1] > 9)):\n    return 2\n"
        "while n and a[1] > 0 and x:\n    n -= 1\nreturn 3 if n == 3 or (n == 0 and a[0]) else n",
    ),
    ("x: float, n: int", "lo, hi = extent(np.array([x, 2.0, -1.0]))\nreturn lo, hi"),
    (
        "x: float, n: int",
        "assert n > 0, 'n'\nif x > 100:\n    raise ValueError('x')\nelif n > 100:\n    raise ValueError\nelse:\n    y = 2.0\nreturn y",
    ),
]


@pytest.mark.parametrize(("parameters", "body"), BODIES)
def test_values(parameters: str, body: str) -> None:
    for x, n in ((1.5, 3), (-0.25, 1), (2.0, 2)):
        if "*(" not in body:
            require_same(*results_of(body, parameters, x, n))


def test_plain_functions_that_write() -> None:
    text = "for i in range(len(a)):\n    a[i] += flux(a, i) + flux(a, i, scale=1.0)\nreturn extent(a)"
    ours, theirs = np.arange(5.0) ** 2, np.arange(5.0) ** 2
    kernel = kernel_of(HEAD + "@hpacml.kernel\ndef f(a: V):\n    " + text.replace("\n", "\n    ") + "\n")
    require_same(kernel(ours), kernel.py_func(theirs))
    assert (ours == theirs).all()


def test_bundles() -> None:
    body = "g.u[0] = g.dx * g.n + g.area(2.0)\nh = dataclasses.replace(g, dx=5.0)\nh.u[1:] += h.dx\nreturn h, h.area()"
    kernel = kernel_of(HEAD + "@hpacml.kernel\ndef f(g: Grid):\n    " + body.replace("\n", "\n    ") + "\n")
    grid = kernel.py_func.__globals__["Grid"]
    ours, theirs = (grid(np.arange(4.0), 0.5) for _ in range(2))
    (mine, area), (other, expected) = kernel(ours), kernel.py_func(theirs)
    assert mine.u is ours.u
    assert (mine.dx, mine.n, area) == (other.dx, other.n, expected)
    assert (ours.u == theirs.u).all()
    with pytest.raises(hpacml.MapError, match="argument 'g' takes a Grid, not a int"):
        kernel(3)
    with pytest.raises(hpacml.MapError, match=r"argument 'g\.u' of f"):
        kernel(grid(np.arange(4), 0.5))


OBJECTS = """\
@dataclass
class Base:
    x: float
    n: int = 2
    def area(self):
        return self.x * self.n
    @property
    def half(self):
        return self.x / 2
    @property
    def twice(self):
        if self.n > 1:
            return self.half * 4
        return 0.0
    @staticmethod
    def after(y):
        return y + 1
    @classmethod
    def of(cls, y):
        return cls(y, 3)
@dataclass
class Derived(Base):
    z: float = 1.0
    K = 5
    def area(self):
        return Base.area(self) + self.z + self.half + self.K
class State(NamedTuple):
    u: float
    t: int = 0
    def later(self):
        return self._replace(t=self.t + 1)
def square(x):
    return x * x
@dataclass
class Setting:
    u: V
    function: Any
    large: Any
@dataclass
class Row:
    u: V
    @property
    def moved(self):
        self.u[0] += 1.0
        return self.u
class Plain:
    k = 2
    def times(self, x):
        return self.k * x
CONFIG, START, PLAIN = Base(1.5), State(2.5, 4), Plain()
SETTING = Setting(np.arange(3.0), square, np.zeros(70_000))
def used(setting, x):
    return setting.function(x) + setting.u[1]
@hpacml.kernel
def taken(g: Base, s: State):
    return g.x + s.u
"""

OF_OBJECTS = [
    "return CONFIG.area(), CONFIG.half, CONFIG.of(x).n, CONFIG.after(1), CONFIG.x, CONFIG == Base(x)",
    "u, t = START\nreturn u, t, START[1], len(START), 4 in START, START[1:] + (x,), START.later(), taken(CONFIG, START)",
    "s = 0.0\nfor v in START:\n    s += v\nreturn s",
    "g = Base(x, n)\nreturn g.half, g.twice, g.area(), g.after(x), g.of(x).n, Base.after(x), Base.of(x).twice",
    "g = Derived(x)\nreturn g.area(), g.half, g.K, g.after(x)",
    "s = State(x)\nfor _ in range(n):\n    s = s.later()\nreturn s, s._replace(u=1.0)",
    "g = Base(x)\nreturn g == Base(x, n), g != g, g == Derived(x), g == n, g is None, State(x) == (x, 0)",
    "return SETTING.function(x), used(SETTING, x), PLAIN.times(x)",
    "c = SETTING\nreturn used(c, x), c.u[2], c.function(x)",
    "c = SETTING\ndef g(y):\n    return c.function(y)\nh = lambda y: c.function(y) + SETTING.function(y)\nreturn g(x), h(x)",
    "r = Row(np.zeros(2) + x)\ns = r.u * 2 + r.moved\nreturn s[0], s[1], r.u[0]",
]


@pytest.mark.parametrize("body", OF_OBJECTS)
def test_methods_and_constant_objects(body: str) -> None:
    for x, n in ((1.5, 3), (-0.25, 2)):
        kernel = kernel_of(
            f"{HEAD}{OBJECTS}@hpacml.kernel\ndef f(x: float, n: int):\n    " + body.replace("\n", "\n    ") + "\n"
        )
        require_same(kernel(x, n), kernel.py_func(x, n))


def test_methods_of_constants_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernel_of(f"{HEAD}{OBJECTS}@hpacml.kernel\ndef f(x: float):\n    return CONFIG.area() + TABLE.sum() + x\n")
    assert kernel(1.0) == 10.0
    monkeypatch.setattr(compiler, "compile_kernel", None)
    assert kernel(2.0) == 11.0


def test_a_constant_object_with_a_large_array() -> None:
    kernel = kernel_of(f"{HEAD}{OBJECTS}@hpacml.kernel\ndef f():\n    c = SETTING\n    return c.large[0]\n")
    with pytest.raises(hpacml.CompileError, match=r"'\.large' is an array of 70000 elements, and a constant has"):
        kernel()


def test_models_that_may_be_missing() -> None:
    inner = (
        "@hpacml.kernel\ndef g(a: V, net: Any = None):\n    if net is None:\n        a[0] = 1.0\n    else:\n"
        '        approx("tensor functor(g: [i, 0:1] = ([i]))")\n'
        '        with approx("ml(infer) inout(g(a[:])) model(net)"):\n            a[0] = 5.0\n'
    )
    outer = "@hpacml.kernel\ndef f(a: V, net: Any = None):\n    g(a, net)\n"
    for kernel in kernel_of(HEAD + inner), kernel_of(HEAD + inner + outer):
        a, found = np.zeros(2), list[Any]()
        for net in (None, lambda x: x + 10, None, lambda x: x + 100):
            kernel(a, net)
            found.append(a.tolist())
        assert found == [[1, 0], [11, 10], [1, 10], [101, 110]]


def test_bundles_of_a_module_whose_annotations_are_texts() -> None:
    text = """
from __future__ import annotations
import dataclasses
from typing import NamedTuple
class Pair(NamedTuple):
    u: Float64[np.ndarray, "n"]
    x: np.float32
@dataclasses.dataclass
class Both:
    pair: Pair
    n: int = 3
@hpacml.kernel
def f(b: Both):
    b.pair.u[0] = b.n
    return b.pair.x
"""
    kernel = kernel_of(text)
    names = kernel.py_func.__globals__
    u = np.zeros(2)
    assert kernel(names["Both"](names["Pair"](u, np.float32(0.1)))) == np.float32(0.1)
    assert u[0] == 3


CLASSES = """\
class Coarse(Grid):
    def area(self, factor=1.0):
        return -self.dx
@dataclass
class Doubled:
    x: float
    def __init__(self, x):
        self.x = 2 * x
MASKED = np.ma.array([1.0, 2.0], mask=[0, 1])
class Odd:
    def __eq__(self, other):
        return True
ODD = Odd()
"""


def test_bundles_of_other_classes() -> None:
    kernel = kernel_of(HEAD + CLASSES + "@hpacml.kernel\ndef f(g: Grid):\n    return g.area()\n")
    coarse = kernel.py_func.__globals__["Coarse"]
    with pytest.raises(hpacml.MapError, match="argument 'g' takes a Grid, not a Coarse"):
        kernel(coarse(np.ones(1), 2.0))


@pytest.mark.parametrize(
    ("parameter", "body", "refusal"),
    [
        ("x: float", "b = Doubled(x)\n    return b.x", r"Doubled\(\.\.\.\) cannot be compiled"),
        ("i: int", "return MASKED[i]", "'MASKED' is a MaskedArray"),
        ("i: int", "return 1 if ODD == i else 2", "cannot be compared"),
    ],
)
def test_objects_whose_own_code_would_not_run(parameter: str, body: str, refusal: str) -> None:
    kernel = kernel_of(f"{HEAD}{CLASSES}@hpacml.kernel\ndef f({parameter}):\n    {body}\n")
    with pytest.raises(hpacml.CompileError, match=refusal):
        kernel.ir()


def test_optional_parameters_by_name() -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(a: V, *, case: str = 'box', b: V | None = None):\n"
        "    if case == 'ring':\n        a[0] = 1\n    return 0.0 if b is None else b.sum()\n"
    )
    a = np.zeros(1)
    assert (kernel(a), a[0]) == (0.0, 0)
    assert (kernel(a, case="ring", b=np.full(1, 2.0)), a[0]) == (2.0, 1)
    with pytest.raises(TypeError, match=r"f\(\): too many positional arguments"):
        kernel(a, "ring")


def test_numbers_do_not_decide_unless_annotated() -> None:
    kernel = kernel_of(HEAD + "@hpacml.kernel\ndef f(c: Any):\n    return 1.0 if c == 0.0 else 2.0\n")
    with pytest.raises(hpacml.CompileError, match=r"depends on 'c', a float: .* annotate numbers as such") as caught:
        kernel(0.0)
    assert str(caught.value).splitlines()[1].strip() == "return 1.0 if c == 0.0 else 2.0"


def test_enumerations_that_decide() -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(case: Any):\n    return 2 * case if case == Case.RING else int(case)\n"
    )
    cases = kernel.py_func.__globals__["Case"]
    assert [kernel(case) for case in cases] == [kernel.py_func(case) for case in cases] == [1, 4]


def test_an_array_that_may_be_missing() -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(a: V, b: V | None = None, c: V | None = None):\n    if b is not None:\n"
        "        a[0] = b[0]\n    return 1 if c is None else c.sum()\n"
    )
    a = np.zeros(2)
    assert kernel(a) == 1
    assert a[0] == 0
    assert kernel(a, np.ones(2), np.ones(2)) == 2
    assert a[0] == 1
    assert kernel(a, c=np.full(2, 3.0)) == 6
    with pytest.raises(hpacml.MapError, match="'n' is 2"):
        kernel(a, np.ones(3))


def test_texts_that_decide() -> None:
    kernel = kernel_of(
        HEAD
        + "@hpacml.kernel\ndef f(a: V, case: str = 'box'):\n    if case == 'ring':\n        a[0] = 1\n    return case\n"
    )
    a = np.zeros(1)
    assert (kernel(a), a[0]) == ("box", 0)
    assert (kernel(a, "ring"), a[0]) == ("ring", 1)
    assert kernel(a, case="other") == "other"
    with pytest.raises(hpacml.CompileError, match="depends on 'case', a list"):
        kernel(a, ["box"])
    with pytest.raises(hpacml.CompileError, match=r"value of 'case', which a call has: give it one by constants="):
        kernel.ir()
    texts = {case: str(kernel.ir(constants={"case": case})) for case in ("box", "ring")}
    assert ["memref.store" in text for text in texts.values()] == [False, True]
    with pytest.raises(hpacml.HpacmlError, match="no parameter 'cases': it has a, case"):
        kernel.ir(constants={"cases": "box"})
    with pytest.raises(hpacml.HpacmlError, match=r"'a' of f\(\) cannot be the constant 'box'"):
        kernel.ptx(constants={"a": "box"})


def test_code_for_absent_arrays() -> None:
    kernel = kernel_of(HEAD + "@hpacml.kernel\ndef f(a: V, b: V | None):\n    if b is not None:\n        a[:] = b\n")
    there, absent = str(kernel.ir(stage="runtime")), str(kernel.ir(stage="runtime", constants={"b": None}))
    assert there.count("memref<?xf64, strided") > absent.count("memref<?xf64, strided") == 1


def test_arrays_that_are_returned() -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(a: M, n: int):\n    b = np.zeros(n)\n    c = np.arange(n)\n    b[:] = c * 2\n"
        "    return a, a[1, ::2], b, (c[1:], b), a.T[0]\n"
    )
    before = runtime().live_blocks()
    a = np.arange(12.0).reshape(3, 4)
    whole, part, made, (rest, again), column = kernel(a, 4)
    expected = kernel.py_func(a, 4)
    assert whole is a
    for mine, other in zip((part, made, rest, again, column), (*expected[1:3], *expected[3], expected[4]), strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype
    part[0], made[0] = 77.0, 5.0
    assert a[1, 0] == 77
    assert again[0] == 0  # it is a copy, unlike Python's, where it is the same array
    del whole, part, made, rest, again
    gc.collect()
    assert runtime().live_blocks() == before
    tensor = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    whole, part, made, *_ = kernel(tensor, 2)
    assert whole is tensor
    part[0] = 55
    assert tensor[1, 0] == 55
    assert isinstance(made, np.ndarray)


def test_parts_without_elements_are_of_the_argument_that_they_are_taken_of() -> None:
    """They begin behind its memory, where nothing of it is, and perhaps another argument."""
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(a: V, b: Float64[np.ndarray, 'm'], first: bool, k: int):\n"
        "    if first:\n        return a[k:]\n    return b[k:]\n"
    )
    small, large = (torch.ones(n, dtype=torch.float64) for n in (5, 500_000))
    for a, b in ((small, large), (large, small), (small, large.numpy()), (large.numpy(), small)):
        for first, source in ((True, a), (False, b)):
            for k in (len(source), len(source) - 2):
                part = kernel(a, b, first, k)
                assert type(part) is type(source)
                assert part.tolist() == source[k:].tolist()
                if isinstance(source, torch.Tensor):
                    assert part.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()
                    assert part.storage_offset() == k


def test_arrays_of_called_kernels_are_freed() -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef make(n: int):\n    a = np.ones(n)\n    return a, a[1:].sum()\n"
        "@hpacml.kernel\ndef f(n: int):\n    s = 0.0\n    for k in range(1, n):\n        a, t = make(k)\n        s += a.sum() + t\n"
        "    return s\n"
    )
    before = runtime().live_blocks()
    assert kernel(50) == kernel.py_func(50)
    assert runtime().live_blocks() == before


FAILING = """\
@hpacml.kernel
def f(a: V, n: int, x: float):
    print("n", n, f"{x:.2f}|{n!r:>4}", (n, x), sep="-", end="!\\n")
    assert n > 0, f"n is {n}"
    for i in range(n):
        a[i] = x
        if x < 0:
            raise ValueError(f"bad {x:.1f} at {i}")
    if n > 3:
        raise RuntimeError
    return n
"""


def test_numbers_in_texts(capfd: pytest.CaptureFixture[str]) -> None:
    kernel = kernel_of(
        HEAD + "S = np.float32(0.1)\n@hpacml.kernel\ndef f(n: int, c: np.bool_, x: np.float32):\n"
        "    print((c, x), f'{n!s:>4}|{x!r}|{c}|{x!a}|{S!r}|{S}|{SCHEME!a:>9}')\n"
        "    print(n) if n > 5 else print(x, flush=True)\n"
        "    print(x, S, x * n, np.float32(16777216.0), c, n, SCHEME, None, (n, x * x))\n"
    )
    texts: list[str] = []
    for call in (kernel, kernel.py_func):
        call(3, np.True_, np.float32(0.1))
        texts.append(capfd.readouterr().out)
    assert texts[0] == texts[1]
    assert "|np.float32(0.1)|" in texts[0]


def test_an_exception_whose_text_makes_an_array() -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(a: V, n: int):\n    if n > 1:\n        raise ValueError(f'{extent(a * n)[1]}')\n"
        "    assert (a + n).sum() > 0, f'{(a + n).copy().min()}'\n"
    )
    for n in (2, 1, -1):
        seen: list[Any] = []
        for call in (kernel, kernel.py_func):
            try:
                seen.append(call(np.arange(3.0), n))
            except Exception as error:
                seen.append((type(error), error.args))
        assert seen[0] == seen[1]


@pytest.mark.parametrize(("n", "x"), [(2, 1.5), (0, 1.0), (3, -2.0), (4, 1.0)])
def test_what_fails_and_what_is_printed(n: int, x: float, capfd: pytest.CaptureFixture[str]) -> None:
    kernel = kernel_of(HEAD + FAILING)
    seen: list[Any] = []
    for call in (kernel, kernel.py_func):
        a = np.zeros(5)
        try:
            outcome: Any = call(a, n, x)
        except Exception as error:
            outcome = type(error), error.args
        seen.append((outcome, a.tolist(), capfd.readouterr().out))
    assert seen[0] == seen[1]


def test_an_error_in_a_region_is_not_recorded(tmp_path: Any) -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef f(a: V, x: float, path: str):\n    n = len(a)\n"
        '    approx("tensor functor(g: [i] = ([i]))")\n'
        '    with approx("ml(collect) inout(g(a)) database(path)"):\n'
        "        a[0] = x\n        if x < 0:\n            raise ValueError(f'x is {x}')\n        a[1] = x\n"
    )
    path, a = str(tmp_path / "x.h5"), np.zeros(3)
    kernel(a, 1.0, path)
    with pytest.raises(ValueError, match=r"x is -1\.0") as caught:
        kernel(a, -1.0, path)
    assert "in a compiled kernel" in caught.value.__notes__[0]
    assert a.tolist() == [-1.0, 1.0, 0.0]
    kernel(a, 2.0, path)
    hpacml.flush()
    with hpacml.open_database(path) as database:
        assert len(database["f"].inputs[0]) == 2


def test_kernels_with_models_are_called_by_kernels(tmp_path: Any) -> None:
    kernel = kernel_of(
        HEAD + "@hpacml.kernel\ndef step(a: V, use: bool, net: Any, path: str):\n"
        '    approx("tensor functor(g: [i, 0:1] = ([i]))")\n'
        '    with approx("ml(predicated: use) inout(g(a[:])) model(net) database(path)"):\n        a[0] += 1.0\n'
        "@hpacml.kernel\ndef f(a: V, steps: int, model: Any, file: str):\n"
        "    for s in range(steps):\n        step(a, s > 1, model, file)\n"
    )
    a = np.zeros(3)
    kernel(a, 4, lambda x: x + 10, str(tmp_path / "y.h5"))
    assert a.tolist() == [22.0, 20.0, 20.0]
    hpacml.flush()
    with hpacml.open_database(str(tmp_path / "y.h5")) as database:
        assert len(database["step"].inputs[0]) == 2


def test_threads_whose_texts_decide() -> None:
    kernel = kernel_of(
        HEAD
        + "@hpacml.kernel\ndef f(n: int, case: str, other: str):\n    m = n\n    if case == 'ring':\n        m += 1\n"
        "    if other == 'twice':\n        m *= 2\n    return m\n"
    )
    with ThreadPoolExecutor(8) as pool:
        calls = [(k, ("ring", "box")[k % 2], ("twice", "once")[k % 3 == 0]) for k in range(64)]
        found = list(pool.map(lambda call: kernel(*call), calls))
    assert found == [kernel.py_func(*call) for call in calls]


def outcome(function: Any, *arguments: Any) -> tuple[Any, str, Any]:
    """What a call returns, or the exception that it raises, its text, and the arrays after it."""
    try:
        return function(*arguments), "", arguments
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        return type(error), str(error), arguments


DECIDED = """
def pick(how, x):
    assert how != "d", "no d"
    if how == "a":
        return x
    if how == "b":
        return x * 2
    raise KeyError("none")
@hpacml.kernel
def least(a: V, how: str):
    a[1] = -1.0
    if how == "a":
        r = a[0]
    elif how == "b":
        r = a[1]
    else:
        raise ValueError(f"not {how}")
    return r
@hpacml.kernel
def calls(a: V, how: str):
    return least(a, how) + 1
@hpacml.kernel
def inlined(a: V, how: str):
    y = 0.0
    if a[0] < 3:
        y = pick(how, a[0])
    return y
@hpacml.kernel
def in_a_loop(a: V, how: str):
    s = 0.0
    for i in range(len(a)):
        if a[i] > 2:
            if how == "a":
                raise ValueError("a")
            s += 1
        else:
            s += a[i]
    return s
@hpacml.kernel
def behind_a_return(a: V, how: str):
    for x in a:
        if x > 2:
            return x
        if how == "a":
            raise ValueError("a")
    return 0.0
@hpacml.kernel
def unrolled(a: V, how: str):
    for u in (1.0, 2.0):
        if how == "a":
            if a[0] > u:
                raise ValueError("big")
        else:
            raise TypeError("h")
    return a[0]
@hpacml.kernel
def absent(a: V, how: str, w: V | None = None):
    a[0] += 1
    if w is None:
        raise ValueError("need w")
    return a[0] * w[0]
"""


@pytest.mark.parametrize("how", ["a", "b", "c", "d"])
@pytest.mark.parametrize("name", ["least", "calls", "inlined", "in_a_loop", "behind_a_return", "unrolled", "absent"])
def test_exceptions_that_are_known_when_the_kernel_is_compiled(name: str, how: str) -> None:
    kernel = kernel_of(HEAD + DECIDED).py_func.__globals__[name]
    for start in (0.0, 9.0):
        ours, theirs = (np.arange(4.0) + start for _ in range(2))
        mine, other = outcome(kernel, ours, how), outcome(kernel.py_func, theirs, how)
        assert mine[:2] == other[:2]
        assert (ours == theirs).all()


def test_an_exception_in_a_part_of_an_expression() -> None:
    kernel = kernel_of(
        f"{HEAD}{DECIDED}@hpacml.kernel\ndef f(a: V, how: str):\n    return 1.0 if a[0] > 0 else pick(how, 1.0)\n"
    )
    assert kernel(np.ones(2), "a") == 1.0
    with pytest.raises(hpacml.CompileError, match="a part of this always raises an exception: write an 'if' statement"):
        kernel(np.ones(2), "c")


ORDER = """
def count(a):
    a[0] += 1
    return a[0]
def h(p, q, r=5.0):
    return p * 100 + q * 10 + r
@hpacml.kernel
def k(p: float, q: float):
    return p * 100 + q
"""


@pytest.mark.parametrize(
    "body",
    [
        "return h(q=count(u), p=count(u))",
        "return h(count(u), r=count(u), q=count(u))",
        "return k(q=count(u), p=count(u))",
        "return (lambda p, q: p * 10 + q)(q=count(u), p=count(u))",
        "g = Grid(dx=count(u), u=u * 2)\nu[1] = 7.0\nreturn g.u, g.dx",
        "g = dataclasses.replace(Grid(u, 1.0), u=u * 2)\nu[1] = 7.0\ng.u[0] = 5.0\nreturn g.u",
        "g = Grid(u, 1.0)\nfor i in range(2):\n    g = Grid(g.u, g.dx + i)\ng.u += 1\nreturn g.u, g.dx",
        "return Point(y=count(u), x=count(u))",
    ],
)
def test_arguments_are_computed_as_they_are_written(body: str) -> None:
    indented = body.replace("\n", "\n    ")
    kernel = kernel_of(f"{HEAD}{ORDER}@hpacml.kernel\ndef f(u: V):\n    {indented}\n")
    ours, theirs = np.zeros(3), np.zeros(3)
    require_same(kernel(ours), kernel.py_func(theirs))
    assert (ours == theirs).all()


def test_fields_that_python_does_not_assign() -> None:
    frozen = "@dataclass(frozen=True)\nclass Frozen:\n    u: V\nclass Pair(NamedTuple):\n    u: V\n"
    for name in ("Frozen", "Pair"):
        kernel = kernel_of(f"{HEAD}{frozen}@hpacml.kernel\ndef f(g: {name}):\n    g.u += 1.0\n")
        with pytest.raises(hpacml.CompileError, match="a field cannot be assigned: the elements of its array can"):
            kernel(kernel.py_func.__globals__[name](np.zeros(3)))
