"""For errors: what to write instead of calls that cannot be compiled."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hpacml.frontend.python import bundles

_INSTEAD: dict[str, str] = {
    "builtins.any": "write a.any() of an array, and 'or' between conditions",
    "builtins.all": "write a.all() of an array, and 'and' between conditions",
    "builtins.ascii": "write f'{x!a}' in print or raise",
    "builtins.complex": "write two floats, or two arrays: the real and the imaginary part",
    "builtins.dict": "write a dataclass, or an array",
    "builtins.filter": "write a loop with an 'if'",
    "builtins.format": "write f'{x}' in print or raise",
    "builtins.getattr": "write the attribute, as in g.x",
    "builtins.hasattr": "write the attribute, as in g.x",
    "builtins.isinstance": "leave it out: of what type a parameter is, its annotation says",
    "builtins.iter": "write a 'for' loop",
    "builtins.map": "write a loop",
    "builtins.next": "write a 'for' loop",
    "builtins.repr": "write f'{x!r}' in print or raise",
    "builtins.setattr": "write g = dataclasses.replace(g, x=...)",
    "builtins.slice": "write the slice where it is used, as in a[i:j]",
    "builtins.sorted": "pass the array sorted, or write the loops that sort it",
    "builtins.str": "write f'{x}' in print or raise",
    "builtins.super": "write the class, as in Base.method(self)",
    "builtins.type": "leave it out: of what type a parameter is, its annotation says",
    "builtins.enumerate": "write it where a 'for' loop runs over it",
    "builtins.reversed": "write it where a 'for' loop runs over it",
    "builtins.zip": "write it where a 'for' loop runs over it",
    "math.dist": "write math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)",
    "math.fsum": "write sum(a)",
    "math.gcd": "write the loop: while b: a, b = b, a % b",
    "math.hypot": "write np.hypot(x, y), whose last bit may differ",
    "math.isclose": "write abs(x - y) <= 1e-9 * max(abs(x), abs(y))",
    "math.isqrt": "write int(math.sqrt(n)), which is exact up to 2 ** 52",
    "math.ldexp": "write x * 2.0 ** n",
    "math.modf": "write x - math.trunc(x), and float(math.trunc(x))",
    "math.prod": "write a.prod() of an array",
    "numpy.absolute": "write abs(a)",
    "numpy.add": "write a + b",
    "numpy.allclose": "write (abs(a - b) <= 1e-8 + 1e-5 * abs(b)).all()",
    "numpy.amax": "write a.max()",
    "numpy.amin": "write a.min()",
    "numpy.around": "write np.rint(a), or np.rint(a * 100) / 100",
    "numpy.asarray": "write np.array(...) of numbers, and a itself of an array",
    "numpy.ascontiguousarray": "write a.copy()",
    "numpy.average": "write a.mean(), or (a * w).sum() / w.sum()",
    "numpy.bitwise_and": "write a & b",
    "numpy.bitwise_or": "write a | b",
    "numpy.bitwise_xor": "write a ^ b",
    "numpy.concatenate": "write c = np.empty(len(a) + len(b)), c[:len(a)] = a and c[len(a):] = b",
    "numpy.count_nonzero": "write (a != 0).sum()",
    "numpy.deg2rad": "write a * (math.pi / 180)",
    "numpy.degrees": "write a * (180 / math.pi)",
    "numpy.diff": "write a[1:] - a[:-1]",
    "numpy.divide": "write a / b",
    "numpy.equal": "write a == b",
    "numpy.expand_dims": "write a[None], or a[:, None]",
    "numpy.eye": "write a = np.zeros((n, n)), and a loop that sets a[i, i] = 1",
    "numpy.finfo": "write a constant of the module, as in EPS = np.finfo(np.float64).eps",
    "numpy.fix": "write np.trunc(a)",
    "numpy.flip": "write a[::-1]",
    "numpy.floor_divide": "write a // b",
    "numpy.greater": "write a > b",
    "numpy.greater_equal": "write a >= b",
    "numpy.identity": "write a = np.zeros((n, n)), and a loop that sets a[i, i] = 1",
    "numpy.iinfo": "write a constant of the module, as in MOST = np.iinfo(np.int32).max",
    "numpy.invert": "write ~a",
    "numpy.isclose": "write abs(a - b) <= 1e-8 + 1e-5 * abs(b)",
    "numpy.less": "write a < b",
    "numpy.less_equal": "write a <= b",
    "numpy.linspace": "write start + (stop - start) / (n - 1) * np.arange(n)",
    "numpy.logical_xor": "write (a != 0) != (b != 0)",
    "numpy.linalg.norm": "write math.sqrt((a * a).sum())",
    "numpy.mod": "write a % b",
    "numpy.multiply": "write a * b",
    "numpy.ndim": "write a.ndim",
    "numpy.negative": "write -a",
    "numpy.not_equal": "write a != b",
    "numpy.outer": "write a[:, None] * b",
    "numpy.positive": "write +a",
    "numpy.power": "write a ** b",
    "numpy.rad2deg": "write a * (180 / math.pi)",
    "numpy.radians": "write a * (math.pi / 180)",
    "numpy.ravel": "write a.ravel()",
    "numpy.remainder": "write a % b",
    "numpy.reshape": "write a.reshape(...)",
    "numpy.round": "write np.rint(a), or np.rint(a * 100) / 100",
    "numpy.shape": "write a.shape",
    "numpy.size": "write a.size",
    "numpy.squeeze": "write an index in the place of the dimension, as in a[0]",
    "numpy.std": "write ((a - a.mean()) ** 2).mean() ** 0.5",
    "numpy.subtract": "write a - b",
    "numpy.transpose": "write a.T",
    "numpy.true_divide": "write a / b",
    "numpy.var": "write ((a - a.mean()) ** 2).mean()",
    "numpy.vdot": "write a @ b",
    "itertools.product": "write np.ndindex(n, m), or loops in each other",
    "functools.reduce": "write a loop",
}
"""What to write instead of functions, by the modules and names of these."""

_KNOWN = "call it outside of the kernel, and pass what it gives (docs/python.md lists the functions that kernels call)"


def advice(callee: Any) -> str:
    """What to write instead of a call that cannot be compiled."""
    if isinstance(callee, functools._lru_cache_wrapper):  # pyright: ignore[reportPrivateUsage]
        return f"a kernel has no cache: write {callee.__name__}.__wrapped__(...)"
    if isinstance(callee, type) and (obstacle := bundles.obstacle(callee)) is not None:
        return f"it has {obstacle}, and a kernel does not heed that: write a class without it"
    if isinstance(getattr(callee, "__self__", None), np.random.RandomState | np.random.Generator):
        return "draw the numbers before the call, and pass them as an array"
    name: str = getattr(callee, "__name__", "")
    if (known := _INSTEAD.get(f"{_module(callee)}.{name}")) is not None:
        return known
    return "write the loop over the elements" if _module(callee).split(".")[0] in ("numpy", "torch") else _KNOWN


def advice_for_method(owner: str, name: str) -> str:
    """What to write instead of `owner.name(...)`, a method of a number or of something else that has none."""
    instead = {
        "is_integer": f"{owner} == math.floor({owner})",
        "item": owner,
        "conjugate": owner,
        "append": "an array of the largest length, and a counter of what it holds",
        "index": "a loop that compares the items",
        "count": "a loop that compares the items",
        "format": "an f-string in print or raise",
        "join": "an f-string in print or raise",
    }
    return f"write {instead[name]}" if name in instead else "write a function of it"


def _module(callee: Any) -> str:
    """The public module of a function."""
    return str(getattr(callee, "__module__", None) or "").lstrip("_")
