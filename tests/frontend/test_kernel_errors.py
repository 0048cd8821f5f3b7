"""What cannot be compiled is refused at its place, with the fix."""

from __future__ import annotations

import re

import numpy as np
import pytest
from kernels import kernel_of

import hpacml

MATRIX = 'a: Float64[np.ndarray, "N M"]'

# Each: parameters, body, the text under the carets, a part of the message.
SIGNATURES = [
    ("a", "pass", "a", "'a' has no annotation: write for example a: float, or a: Float32[np.ndarray"),
    ("a: np.ndarray", "pass", "np.ndarray", "'a' needs element type and dimensions: write Float32[np.ndarray"),
    ("a: list", "pass", "list", "'a' has the type list, which no kernel argument can have"),
    ('a: Float32[np.ndarray, "..."]', "pass", 'Float32[np.ndarray, "..."]', "the dimension '...' of 'a'"),
    ('a: Float32[np.ndarray, "N+1"]', "pass", 'Float32[np.ndarray, "N+1"]', "write a name, an integer, or _"),
    ('a: Float32[np.ndarray, ""]', "pass", 'Float32[np.ndarray, ""]', "'a' has no dimensions"),
    (
        'a: Float[np.ndarray, "N"]',
        "pass",
        'Float[np.ndarray, "N"]',
        "of Float32, Float64, Int8, Int16, Int32, Int64, UInt8, ",
    ),
    ("a: Level", "pass", "Level", "'a' is an enumeration: write a: Any (from typing), for each member of which"),
    ("a: Level", "pass", "Level", "or a: int, which takes its numbers"),
    ("a: float | None", "pass", "float | None", "but no float: write a: float, and beside it has_a: bool"),
    ("a: Pair | None", "pass", "Pair | None", "but no Pair: write a: Pair, and beside it has_a: bool"),
    ("a: int | float", "pass", "int | float", "'a' has one type: write a: float, which takes the others"),
    ("a: Post", "pass", "Post", "which has a __post_init__, and a kernel does not heed that: write a class without it"),
    ("a: Own", "pass", "Own", "which has an __init__ of its own"),
    ("a: Part", "pass", "Part", "which has the field 'y', which is no argument of its __init__"),
    ('a: Missing[np.ndarray, "N"]', "pass", 'Missing[np.ndarray, "N"]', "NameError: name 'Missing'"),
    ("*a: int", "pass", "a: int", "takes any number of arguments"),
    ("**a: int", "pass", "a: int", "takes any number of arguments"),
]

EXPRESSIONS: list[tuple[str, str, str | None, str]] = [
    (MATRIX, "return a[0, 1, 2]", "a[0, 1, 2]", "'a' has 2 dimensions, and 3 indices are given"),
    (MATRIX, "return a[0][1][2]", "a[0][1][2]", "'a' has only 2 dimensions"),
    (MATRIX, "return a[::0]", "0", "the step of this slice is 0"),
    (MATRIX, "return a[..., ...]", "...", "a subscript has one '...'"),
    (MATRIX, "return math.sqrt(a)", "math.sqrt(a)", "math.sqrt(...) is of numbers: write np.sqrt(...)"),
    (MATRIX, "return math.asin(a)", "math.asin(a)", "math.asin(...) is of numbers: write np.asin(...)"),
    (MATRIX, "return np.power(a, 3)", "np.power(a, 3)", "write a ** b"),
    (MATRIX, "return 1 if a else 2", "a", "which is neither true nor false: write .any() or .all()"),
    (MATRIX, "return 0 < a < 1", "0 < a < 1", "use & between the results"),
    (MATRIX, "return a[0.5, 0]", "0.5", "an index must be an integer, and this is a float: write int(...)"),
    (MATRIX, 'a[0, 0] = "x"', '"x"', "this is the text 'x', where a number is needed"),
    (MATRIX, "a[0, 0] = a", "a", "this is an array, where a number is needed"),
    (MATRIX, "return a.sort()", "a.sort()", "'.sort(...)' of an array: kernels know all, any, astype, copy"),
    (MATRIX, "return a.sum(axis=2)", "a.sum(axis=2)", "axis 2 of an array with 2 dimensions"),
    (MATRIX, "return a.flags", "a.flags", "kernels know shape, ndim, size, dtype and T of arrays"),
    (MATRIX, "return np.cumsum(a)", "np.cumsum(a)", "write the loop over the elements"),
    (MATRIX, "return M", "M", "an annotation defines no variable, so write M = a.shape[1]"),
    (MATRIX, "return a.shape[2]", "2", "index 2 is outside of a tuple of 2"),
    ("x: float", "return math.gamma(x)", "math.gamma(x)", "cannot be compiled: call it outside of the kernel"),
    ("x: float", "return math.sin()", "math.sin()", "math.sin takes 1 argument, not 0"),
    ("x: float", "return min(x)", "min(x)", "min(...) of a number (float): it is of an array or of numbers"),
    ("x: float", "return math.sin(x, y=3)", "y=3", "takes no 'y=' here"),
    ("x: float", "return math.sin(*x)", "*x", "write the arguments one by one"),
    ("x: float", "return math.sin(**x)", "x", "write the arguments one by one"),
    ("x: float", "print(x, file=3)", "file=3", "takes no 'file=' here"),
    ("x: float", "return x()", "x()", "'x' is a number (float), no function"),
    ("value: float", "return valu", "valu", "'valu' is not defined; did you mean 'value'?"),
    ("x: float", "return [x for _ in range(3)]", "[x for _ in range(3)]", "a list comprehension cannot"),
    ("x: float", "return x in math", "x in math", "'in' of a module: kernels know it of tuples, arrays"),
    ("x: float", "return x is x", "x is x", "compare numbers with == and !="),
    ("x: float", "return (y := x)", "y := x", "':=' in an expression cannot"),
    ("x: float", "return 1j * x", "1j", "1j is no number of kernels: write two floats, or two arrays"),
    (MATRIX, "return a[a > 0]", "a > 0", "values as an index: write a[:] = np.where(a > 0, ..., a), or a loop"),
    (MATRIX, "return a[[0, 1]]", "[0, 1]", "a tuple as an index: write a loop over the indices, as in for i in [0, 1]"),
    (MATRIX, "a[0] = [a[1], a[2]]", "[a[1], a[2]]", "this has 2 dimensions, and what it is assigned to has 1"),
    (MATRIX, "return 1 if a is a.T else 2", "a is a.T", "only who makes them knows: pass a bool that says it"),
    (MATRIX, "return a.sum(axis=(0, -2))", "a.sum(axis=(0, -2))", "an axis of this reduction is given twice"),
    (MATRIX, "return a.sum(out=a)", "a.sum(out=a)", "write b[:] = a.sum(...)"),
    (MATRIX, "return a.max(dtype=np.float32)", "dtype=np.float32", "takes no 'dtype=' here"),
    (MATRIX, "return np.array([a, a[0]])", "[a, a[0]]", "the arrays in this array differ in their dimensions"),
    (MATRIX, "return np.transpose(a)", "np.transpose(a)", "write a.T"),
    (MATRIX, "return np.add(a, a)", "np.add(a, a)", "write a + b"),
    (MATRIX, "return np.linalg.norm(a)", "np.linalg.norm(a)", "write math.sqrt((a * a).sum())"),
    (MATRIX, "return any(a)", "any(a)", "write a.any() of an array, and 'or' between conditions"),
    ("x: float", "return np.random.rand(3)", "np.random.rand(3)", "draw the numbers before the call, and pass them"),
    (
        "x: float",
        "return np.finfo(np.float64).eps",
        "np.finfo(np.float64)",
        "write a constant of the module, as in EPS",
    ),
    ("x: float", "return np.foo(x)", "np.foo(x)", "'np.foo' is not defined; did you mean 'np.floor'?"),
    ("x: float", "return np.arange(x, 1, 0.5)", "x", "np.arange is of integers: write x + 0.5 * np.arange(n)"),
    ("x: float", "return math.hypot(x, x)", "math.hypot(x, x)", "write np.hypot(x, y), whose last bit may differ"),
    ("x: float", "return math.gcd(3, 4)", "math.gcd(3, 4)", "write the loop: while b: a, b = b, a % b"),
    ("x: float", "return x.is_integer()", "x.is_integer()", "write x == math.floor(x)"),
    ("x: float", "return cached(x)", "cached(x)", "a kernel has no cache: write cached.__wrapped__(...)"),
    ("x: float", "return Post(x)", "Post(x)", "it has a __post_init__, and a kernel does not heed that"),
    ("x: float", "return super().f(x)", "super()", "write the class, as in Base.method(self)"),
    ("n: int", "return n in range(5)", "range(5)", "write i in range(n) as 0 <= i < n, len(range(n)) as n"),
    ("n: int", "c = [0.0] * n", "[0.0] * n", "write np.zeros(n) or np.full(n, x)"),
    ("n: int", "return 'n=%d' % n", "'n=%d' % n", "write an f-string where it is printed or raised"),
    ("n: int", "m = f'n={n}'", "f'n={n}'", "write all of it where it is printed or raised, as in raise ValueError(f'n"),
    ("n: int", "return 'a' if n else 'b'", "'a' if n else 'b'", "an 'if' statement with what uses it in each branch"),
    (MATRIX, "n = a.shape[0]\n    return a[::n]", "n", "write a loop over range(start, stop, step)"),
    (
        "x: float",
        "return None if x > 0 else 1",
        "None if x > 0 else 1",
        "which are not alike: write a number that stands for None, such as -1 or math.nan",
    ),
    ("n: np.int32", "return n ** -1", "n ** -1", "NumPy does not raise integers to negative powers"),
    ("n: np.int32", "return n ** 0.5", "n ** 0.5", "differ between machines: write float(...)"),
    ("n: np.uint8", "return n + 300", "n + 300", "300 does not fit a uint8 (0 to 255)"),
    ("n: np.bool_", "return n - n", "n - n", "numpy boolean subtract"),
    ("n: np.int8", "return np.sqrt(n)", "np.sqrt(n)", "this makes a float16, which kernels do not have"),
    ("n: np.uint8", "return np.sqrt(n)", "np.sqrt(n)", "this makes a float16, which kernels do not have"),
    ("n: bool", "return ~n", "~n", "write 'not'"),
    ("n: int", "return n // 0", "n // 0", "division by zero"),
    ("n: int", "return n + 2 ** 70", "n + 2 ** 70", "does not fit the 64 bits of a kernel's integers"),
    ("n: int", "return 2 ** 70", None, "does not fit the 64 bits of a kernel's integers"),
    ("n: int", "for i in range(2 ** 70):\n        pass", "2 ** 70", "does not fit the 64 bits"),
    ("n: int", "return 2 ** 10 ** 9", "2 ** 10 ** 9", "is too much here"),
    ("x: float", "return x * 10 ** 400", "x * 10 ** 400", "of 401 digits does not fit a float"),
    ("n: int", "return n @ n", "n @ n", "'@' cannot be compiled"),
    ("n: int", "return f(n - 1)", "f(n - 1)", "'f' calls itself"),
    ("n: int", "return prange(n)", "prange(n)", "can only be what a 'for' loop runs over"),
    ("n: int", "return table[0]", "table", "'table' is an array of 100000 elements, and a constant has at most 65536"),
    ("n: int", "small[0] = n", "small[0]", "this array is a constant of the kernel: write np.copy(...) of it"),
    ("n: int", "return (1, 2.5, 'x')[n]", "n", "which item of the tuple this is must be known when the kernel is"),
    ("n: int", "return np.bogus", "np.bogus", "'np.bogus' is not defined"),
    ("n: str", "return n + 1", "n + 1", "an operator for an argument that compiled code does not see"),
    ("é: int", "return é + undefiné", "undefiné", "'undefiné' is not defined"),
    ("x: np.float32, y: np.float64", "return x if x > 0 else y", "x if x > 0 else y", "np.float64(...)"),
]

STATEMENTS: list[tuple[str, str, str | None, str]] = [
    ("n: int", "return n, min", "n, min", "this returns a builtin_function_or_method, which a kernel cannot"),
    ("n: int", "raise KeyboardInterrupt", "raise KeyboardInterrupt", "an exception of a kernel has one text"),
    ("n: int", "raise hpacml.MapError('x')", "raise hpacml.MapError('x')", "a kernel raises built-in exceptions"),
    ("n: int", "try:\n        pass\n    finally:\n        pass", None, "'try' cannot be compiled"),
    ("n: int", "import os", "import os", "'import' in a kernel cannot be compiled"),
    ("n: int", "n", "n", "this statement has no effect"),
    ("n: int", "del n", "del n", "'del' cannot be compiled"),
    ("n: int", "n.x = 3", "n.x", "a field cannot be assigned"),
    ("n: int", "n.x += 3", "n.x", "'.x' of a number (int), which has none"),
    ("n: int", "a, b = n", "n", "which cannot be taken apart"),
    ("n: int", "a, b = 1, 2, 3", "a, b", "2 names for 3 values"),
    ("n: int", "z = y\n    y = 1", "y", "'y' is read before it is assigned"),
    ("n: int", "with open('x'):\n        pass", "open('x')", "the only 'with' in a kernel"),
    ("n: int", "if n:\n        y = 1\n    return y", "y", "'y' is assigned in only one branch of the 'if' in"),
    ("n: int", "if n:\n        return 1", "return 1", "return one on every path"),
    ("n: int", "for i in range(n):\n        y = 1\n    return y", "y", "only in the loop of line 3"),
    ("n: int", "for i in range(n):\n        pass\n    return i", "i", "the variable of the loop in line 3"),
    ("n: int", "while n > 1:\n        y = n\n        n -= 1\n    return y", "y", "only in the loop of line 3"),
    ("n: int", "for i in n:\n        pass", "n", "a loop over a number (int): kernels have loops over range(...)"),
    (MATRIX, "for r in reversed(enumerate(a)):\n        pass", "enumerate(a)", "Python does not reverse enumerate(a)"),
    ("x: float", "for i in range(x):\n        pass", "x", "must be an integer, and this is a float"),
    ("n: int", "for i in range(0, n, 0):\n        pass", "0", "the step of a range is 0"),
    ("n: int", "for i in range():\n        pass", "range()", "one to three numbers"),
    ("n: int", "for i, j in range(n):\n        pass", "range(n)", "a number (int), which cannot be taken apart"),
    ("n: int", "for i in range(n):\n        return n", "return n", "return one on every path"),
    (
        "n: int",
        "if n > 2:\n        return n, 1\n    return 1, 2, n",
        "return n, 1",
        "a tuple of 2 on one path and a tuple of 3",
    ),
    (
        "n: int",
        "if n > 2:\n        return n, 1\n    return 1.5",
        "return n, 1",
        "a tuple of 2 on one path and a number (float)",
    ),
    (
        "n: int",
        "for i in range(n):\n        if n > i:\n            return n, 1\n        if n < i:\n            return 2\n    return 1, 2",
        "return n, 1",
        "a tuple of 2 on one path and a number (int) on another",
    ),
    (
        MATRIX,
        "for i in range(9):\n        return a",
        "return a",
        "return one on every path",
    ),
    ("n: int", "while n:\n        if n > 2:\n            return\n        return n", None, "return one on every path"),
    ("n: int", "yield n", "yield n", "'yield' cannot be compiled"),
    ("n: int", "s = 0\n    for i in prange(n):\n        s = i\n    return s", "s", "must not depend on each other"),
    ("n: int", "for i in prange(n):\n        break", None, "a parallel loop has no order to 'break' in"),
    ("n: int", "for i in prange(n):\n        while n:\n            return 1", None, "or 'return' from"),
    (
        "n: int",
        "c = np.zeros(n)\n    while n:\n        c = np.zeros(n)\n    return c[0]",
        "c",
        "make it before, and assign c[:] = ...",
    ),
    (
        "x: np.float32, y: np.int32",
        "if x > 0:\n        return x\n    return y",
        "return x",
        "the returned value is a float32 on one path and an int32 on the other: convert with np.float32(...) or",
    ),
    (
        "x: np.float32, y: np.float64",
        "for i in range(3):\n        x = y\n    return x",
        "x",
        "'x' is a float32 before the loop and a float64 after an iteration: convert with np.float32(...) or",
    ),
    (
        "x: float, y: np.float32",
        "return max(x, y)",
        "max(x, y)",
        "this is a float32 on one path and a float on the other: convert with np.float32(...) or float(...)",
    ),
    (
        "x: float, y: np.float64, z: np.float32",
        "for i in range(3):\n        x = x + y\n    return x * z",
        "x * z",
        "this is float32 or float64, depending on whether a variable in it is float or np.float64",
    ),
    ("x: np.uint8", "for i in range(3):\n        x = 300\n    return x", None, "300 does not fit a uint8"),
    ("n: int", "p = Pair(n, 1.0)\n    return p.z", "p.z", "'.z' of a Pair is not among x, y"),
    ("n: int", "p = Pair(n, 1.0)\n    return p._replace(2.0)", "p._replace(2.0)", "takes fields by name, as in x=..."),
    ("n: int", "p = Pair(n, 1.0)\n    return p.far()", "p.far()", "is no method that is written with 'def'"),
    ("n: int", "t = Table()", "Table()", "the default of 'rows' is made by a function: give rows=..."),
    ("n: int", "return len(n)", "len(n)", "len(...) of a number (int): it is of an array, a tuple or a text"),
    ("n: int", "c = [1, n]\n    c[0] = n", "c[0]", "lists are tuples in a kernel: write c = np.array(...) before"),
    ("n: int", "c = [1, n]\n    c[0] += n", "c[0]", "which has no elements to assign: tuples do not change"),
    ("n: int", "c = (small, small)\n    c[0] = n", "c[0]", "tuples do not change, and lists are tuples in a kernel"),
    ("n: int", "k = np.arange(3)\n    k[1:] += 0.5", "k[1:] += 0.5", "here: write k[1:] = k[1:] + 0.5"),
    (
        "n: int",
        "k = np.arange(3)\n    k /= n",
        "k /= n",
        "NumPy does not cast float64 to int64 here: write k[:] = k / n",
    ),
    ("n: int", "a, *b, c = (1,)", "a, *b, c", "3 names for 1 values: write one name for each"),
    ("n: int", "a = np.zeros(-1)", "-1", "the size -1 is negative"),
    ("n: int", "a = np.zeros(1.5)", "1.5", "a size must be an integer"),
    ("n: int", "a = np.zeros(())", "np.zeros(())", "at least one dimension"),
    ("n: int", "a = np.zeros()", "np.zeros()", "write np.zeros(shape, dtype)"),
    ("n: int", "a = np.full(n)", "np.full(n)", "write np.full(shape, fill_value, dtype)"),
    ("n: int", "a = np.full(n, 300, np.uint8)", "300", "300 does not fit a uint8"),
    ("n: int", "a = np.empty((2 ** 31, n, 2 ** 31))", "np.empty((2 ** 31, n, 2 ** 31))", "no memory holds"),
    ("x: float", "return round(x, 2)", "round(x, 2)", "round takes 1 argument, not 2: write round(x * 100) / 100"),
    ("n: int", "a = np.zeros(n, np.float16)", "np.float16", "is one of np.float32, np.float64, np.int8, np.int16"),
    ("n: int", "a = np.zeros(3)\n    return a[3]", "3", "index 3 is outside dimension 0 of 'a', which has size 3"),
    ("n: int", "a = np.zeros(3)\n    return a[-4]", "-4", "index -4 is outside dimension 0"),
    ("x: float", "return helper(x)", "x", "'n' of helper() takes int, and this is a number (float)"),
    ("n: int", "return helper(n, n)", "helper(n, n)", "helper(): too many positional arguments"),
    ("n: int", "return helper(m=n)", "m=n", "takes no 'm=' here"),
    (MATRIX, "fill(a)", "a", "'v' of fill() takes an array of float32 with 1 dimension, and 'a' is one of float64"),
    (MATRIX, "three(np.ones((2, 4)))", "three(np.ones((2, 4)))", "'v' of three() is 4, but its annotation says 3"),
    (MATRIX, "fill(1.5)", "1.5", "and this is a number (float)"),
    ("n: int", "with_path(n)", "n", "'v' of with_path() takes what model(...) and database(...) use"),
    ("n: int", "default_array()", "default_array()", "'v' of default_array() takes an array of float32 with 1"),
    ("n: int", "default_text()", "default_text()", "'v' of default_text() takes int, and this is the text '3'"),
    ("n: int", "return nothing(n)", "nothing(n)", "nothing(...) returns nothing"),
]

HELPERS = """\
import dataclasses, enum, functools
from dataclasses import dataclass
from typing import NamedTuple
from jaxtyping import Float
@functools.lru_cache
def cached(n):
    return n
class Level(enum.IntEnum):
    LOW = 1
class Pair(NamedTuple):
    x: float
    y: float
@dataclass
class Post:
    x: float
    def __post_init__(self):
        pass
@dataclass
class Own:
    x: float
    def __init__(self):
        pass
@dataclass
class Part:
    x: float
    y: float = dataclasses.field(init=False, default=1.0)
@dataclass
class Table:
    rows: Any = dataclasses.field(default_factory=dict)
@hpacml.kernel
def helper(n: int):
    return n
@hpacml.kernel
def fill(v: Float32[np.ndarray, "K"]):
    v[0] = 1
@hpacml.kernel
def three(v: Float64[np.ndarray, "N 3"]):
    v[0, 0] = 1
@hpacml.kernel
def with_path(v: str):
    pass
@hpacml.kernel
def nothing(n: int):
    pass
@hpacml.kernel
def default_array(v: Float32[np.ndarray, "K"] = None):
    pass
@hpacml.kernel
def default_text(v: int = "3"):
    pass
"""


@pytest.mark.parametrize(("parameters", "body", "culprit", "message"), [*SIGNATURES, *EXPRESSIONS, *STATEMENTS])
def test_errors(parameters: str, body: str, culprit: str | None, message: str) -> None:
    helpers = kernel_of(HELPERS).py_func.__globals__
    tables = {"table": np.arange(100_000), "small": np.arange(3)}
    kernel = kernel_of(f"@hpacml.kernel\ndef f({parameters}):\n    {body}\n", **helpers | tables)
    with pytest.raises(hpacml.CompileError) as caught:
        kernel.ir()
    text = str(caught.value)
    assert message in text.splitlines()[0]
    if culprit is not None:
        _, line, carets = text.splitlines()
        assert line[carets.index("^") : carets.index("^") + carets.count("^")] == culprit


ADVISED = [
    "a.any() or (a > 0).all()",
    "math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)",
    "abs(x - n) <= 1e-9 * max(abs(x), abs(n))",
    "int(math.sqrt(n))",
    "x * 2.0 ** n",
    "x - math.trunc(x) + float(math.trunc(x))",
    "a.prod() + sum(a)",
    "(abs(a - b) <= 1e-8 + 1e-5 * abs(b)).all()",
    "(a * b).sum() / b.sum()",
    "(a != 0).sum()",
    "(a[1:] - a[:-1]).sum()",
    "a[None].sum() + a[:, None].sum() + a[::-1].sum()",
    "(1.0 + (2.0 - 1.0) / (n - 1) * np.arange(n)).sum()",
    "((a != 0) != (b != 0)).any()",
    "math.sqrt((a * a).sum())",
    "(a[:, None] * b).sum()",
    "np.rint(a * 100).sum() / 100 + np.rint(a).sum()",
    "((a - a.mean()) ** 2).mean() ** 0.5",
    "((a > 0) & (b > 0) | ~(a > 1) ^ (b > 1)).any()",
    "a @ b",
    "(np.trunc(a) + a * (math.pi / 180)).sum()",
    "cached.__wrapped__(n)",
    "np.hypot(x, 1.0)",
]


@pytest.mark.parametrize("expression", ADVISED)
def test_what_is_advised_compiles(expression: str) -> None:
    helpers = kernel_of(HELPERS).py_func.__globals__
    parameters = 'a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"], x: float, n: int'
    kernel = kernel_of(f"@hpacml.kernel\ndef f({parameters}):\n    return {expression}\n", **helpers)
    arguments = np.array([1.0, -2.0, 3.0]), np.array([3.0, 0.5, 1.0]), 2.25, 3
    assert kernel(*arguments) == pytest.approx(kernel.py_func(*arguments), rel=1e-14)


def test_the_place_is_that_of_the_file() -> None:
    @hpacml.kernel
    def inner(x: float):
        """A text
            that is not indented:
        as here"""
        return x + unknown

    with pytest.raises(hpacml.CompileError, match="'unknown' is not defined") as caught:
        inner(1.0)
    line = inner.py_func.__code__.co_firstlineno + 5
    assert str(caught.value).startswith(f"{__file__}:{line}: ")
    assert "        return x + unknown" in str(caught.value)


def test_an_error_in_a_called_kernel_is_shown_there() -> None:
    text = "@hpacml.kernel\ndef g(x: float):\n    return y\n@hpacml.kernel\ndef f(x: float):\n    return g(x)\n"
    with pytest.raises(hpacml.CompileError, match=":3: 'y' is not defined"):
        kernel_of(text).ir()


def test_recursion_by_way_of_another_kernel() -> None:
    text = "@hpacml.kernel\ndef g(n: int):\n    return f(n)\n@hpacml.kernel\ndef f(n: int):\n    return g(n)\n"
    with pytest.raises(hpacml.CompileError, match=":3: 'f' calls itself"):
        kernel_of(text).ir()


def test_what_is_no_function() -> None:
    for thing in (lambda x: x, 3, str, kernel_of("@hpacml.kernel\ndef f(x: int):\n    pass\n")):
        with pytest.raises(hpacml.CompileError, match="a kernel is made of a function written with 'def'"):
            hpacml.kernel(thing)


@pytest.mark.parametrize(
    "misuse", ["hpacml.kernel()", "hpacml.kernel(parallel=True)", "hpacml.kernel(fastmath=2)", "hpacml.kernel(len)"]
)
def test_misuse_is_shown_at_its_line(misuse: str) -> None:
    with pytest.raises(hpacml.CompileError) as caught:
        kernel_of(f"if True:\n    f = {misuse}\n")
    message, line, carets = str(caught.value).splitlines()
    assert re.match(r"<kernel \d+>:2: a kernel (has two options: write @hpacml.kernel|is made of a function)", message)
    assert line[carets.index("^") : carets.index("^") + carets.count("^")] == f"f = {misuse}"


def test_without_source() -> None:
    space: dict[str, object] = {"hpacml": hpacml}
    exec("@hpacml.kernel\ndef f(x: int):\n    return x", space)
    kernel = space["f"]
    assert isinstance(kernel, type(hpacml.kernel(test_without_source)))
    with pytest.raises(hpacml.CompileError, match="no source text for 'f'"):
        kernel(1)
    assert kernel.py_func(1) == 1
