"""The types of numbers in a kernel, and the types of results.

A Python number is *weak*: it adapts to the NumPy scalar in the same operation (NEP 50). NumPy itself gives the rules,
by computing the operation of samples, so that they are not written a second time here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hpacml.dtypes import DTYPES, DType
from hpacml.errors import HpacmlError

if TYPE_CHECKING:
    from xdsl.ir import Attribute

Constant = bool | int | float


class Refusal(Exception):
    """Something that a kernel cannot do. Callers that know the place in the source raise it as a `CompileError`."""


class NeedsValue(Exception):
    """What a kernel does depends on an argument that compiled code does not see: it must be a constant of the code.

    `is_none`: only whether it is None.
    """

    def __init__(self, name: str, is_none: bool = False):
        super().__init__(name)
        self.name = name
        self.is_none = is_none
        self.error: Callable[[str], HpacmlError] | None = None
        """Makes an error at the place in the source."""


@dataclass(frozen=True, eq=False)
class ScalarType:
    """The type of a number: Python's (`weak`) or NumPy's."""

    name: str
    python: type[Any]
    weak: bool
    stored: str
    """The name of the type of its elements in arrays."""

    @cached_property
    def ir(self) -> Attribute:
        """The type of its numbers in the IR, where integers have no sign."""
        from xdsl.dialects.builtin import IndexType

        from hpacml.dialects.hpacml.attributes import number_type

        return IndexType() if self.weak and self.kind == "i" else number_type(self.element)

    @cached_property
    def element(self) -> Attribute:
        """The type of its elements in the IR, which tells the sign."""
        from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES

        return ELEMENT_TYPES[self.stored]

    @property
    def sample(self) -> Any:
        """The number 1 of this type."""
        return self.python(1)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.python)

    @property
    def kind(self) -> str:
        """NumPy's letter: `b`, `i`, `u` or `f` for boolean, signed or unsigned integer, or float."""
        return self.dtype.kind

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def bits(self) -> int:
        return 1 if self.kind == "b" else self.dtype.itemsize * 8

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest number of an integer type; those of `int` are what a kernel's integers hold."""
        bits = 64 if self.weak else self.bits
        return (0, (1 << bits) - 1) if self.kind == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)

    @property
    def spelling(self) -> str:
        """The name of the type in Python."""
        return self.name if self.weak else f"np.{self.name}"

    def accepts(self, given: ScalarType) -> bool:
        """Whether a parameter of this type takes such a number. An integer takes no float, a bool no number."""
        ranks = {"b": 0, "i": 1, "u": 1, "f": 2}
        return ranks[given.kind] <= ranks[self.kind]

    def __str__(self) -> str:
        return self.name


def _of(dtype: DType) -> ScalarType:
    """NumPy's numbers of an element type."""
    python = getattr(np, dtype.long_name)
    return ScalarType(python.__name__ if dtype.kind != "b" else "bool_", python, False, dtype.name)


BOOL = ScalarType("bool", bool, True, "bool")
INT = ScalarType("int", int, True, "i64")
FLOAT = ScalarType("float", float, True, "f64")
WEAK = (BOOL, INT, FLOAT)

ARRAY_DTYPES = {
    dtype.long_name: _of(dtype)
    for dtype in sorted(DTYPES.values(), key=lambda dtype: "fiub".index(dtype.kind))
    if dtype.in_kernels
}
"""The element types of arrays by NumPy's name, in the order of error texts: floats, integers, bool."""

NP_BOOL = ARRAY_DTYPES["bool"]

SCALARS: dict[type[Any], ScalarType] = {t.python: t for t in (*WEAK, *ARRAY_DTYPES.values())}
"""All types by the Python class of their numbers."""


@cache
def result_type(operation: Callable[..., Any], *types: ScalarType) -> ScalarType:
    """The type of the result of an operator or function for numbers of these types. Raises `Refusal`."""
    with np.errstate(all="ignore"):
        try:
            result: Any = operation(*(t.sample for t in types))
        except TypeError as error:
            raise Refusal(str(error)) from None
    found = SCALARS.get(result.__class__)
    if found is None:
        operands = " and ".join(map(str, types))
        raise Refusal(
            f"of {operands} this makes a {type(result).__name__}, which kernels do not have: convert first, "
            "for example with np.float32(...) or int(...)"
        )
    return found


def weak_as(type: ScalarType) -> ScalarType:
    """Python's type for the numbers of NumPy's `type`."""
    return FLOAT if type.is_float else BOOL if type.kind == "b" else INT


def common_type(a: ScalarType, b: ScalarType) -> ScalarType | None:
    """The type of a number that is an `a` on one path and a `b` on another, None if there is no such type.

    Python numbers widen (bool, int, float), and take the type of a NumPy number of the same kind.
    """
    if a is b:
        return a
    if a.weak and b.weak:
        return max(a, b, key=WEAK.index)
    if a.weak == b.weak:
        return None
    strong, weak = (b, a) if a.weak else (a, b)
    merged = np.result_type(strong.dtype, weak.sample)
    return strong if merged == strong.dtype else None
