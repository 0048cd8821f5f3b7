"""Help for the tests of kernels: kernels from text, and the comparison with Python to the last bit."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from typing import Any

import numpy as np

from hpacml.frontend.kernel import Kernel

PREAMBLE = """\
import math
from typing import Any
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64
import hpacml
from hpacml import approx, prange
"""

_serial = itertools.count()


def kernel_of(text: str, **names: Any) -> Kernel[..., Any]:
    """The kernel that is defined last in `text`; `names` are globals."""
    file = f"<kernel {next(_serial)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space: dict[str, Any] = dict(names)
    exec(PREAMBLE, space)
    exec(compile(text, file, "exec"), space)
    return [value for value in space.values() if isinstance(value, Kernel)][-1]


def check(kernel: Kernel[..., Any], make: Callable[[], tuple[Any, ...]], joins: bool = False, calls: int = 3) -> None:
    """Call a kernel and its Python function with equal arguments; results and arrays must be the same bits.

    `joins`: the result is a number of one type on one path and of another elsewhere, so that only its value counts.
    """
    theirs = make()
    with np.errstate(all="ignore"):
        expected = kernel.py_func(*theirs)
    if joins:
        expected = float(expected)
    for _ in range(calls):  # the last one by native code alone, where that is possible
        ours = make()
        result = float(kernel(*ours)) if joins else kernel(*ours)
        assert same(result, expected), f"{result!r} is not {expected!r}"
        for mine, other in zip(ours, theirs, strict=True):
            if isinstance(mine, np.ndarray):
                np.testing.assert_array_equal(bits(mine), bits(other))


def same(a: Any, b: Any) -> bool:
    """Whether two results have one type and the same bits; NaNs are all alike."""
    if type(a) is not type(b):
        return False
    return a is None or bool((bits(np.asarray(a)) == bits(np.asarray(b))).all())


def bits(array: np.ndarray) -> np.ndarray:
    """The elements as integers, with one pattern for all NaNs."""
    if array.dtype.kind != "f":
        return array
    plain = np.where(np.isnan(array), np.asarray(np.nan, array.dtype), array)
    return plain.view(f"i{array.itemsize}")
