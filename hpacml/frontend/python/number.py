"""Numbers in a kernel: values of the IR or constants, and what is known of them."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xdsl.ir import SSAValue

from hpacml.frontend.python.types import INT, SCALARS, Constant, ScalarType

Operator = type[ast.operator] | type[ast.cmpop]

PYTHON: dict[Operator, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
    ast.BitXor: lambda a, b: a ^ b,
    ast.LShift: lambda a, b: a << b,
    ast.RShift: lambda a, b: a >> b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
"""The operators of kernels. Applied to samples, they determine the types of results."""


@dataclass(frozen=True)
class Kind:
    """The properties of a number apart from its value."""

    type: ScalarType
    literals: tuple[Constant, Constant] | None
    """The least and the greatest constant that the number is, if it is one on every path; 0 stands for inf and nan."""
    types: frozenset[ScalarType]
    """The types that the number may have in Python, depending on the path. All are as wide as `type`."""
    least: int | None
    """A lower bound, None if none is known."""


@dataclass(frozen=True, eq=False)
class Number:
    """A number in a kernel: a value of the IR, or a constant."""

    type: ScalarType
    value: SSAValue | Constant
    literals: tuple[Constant, Constant] | None = None
    """As in `Kind`, of a value of the IR."""
    types: frozenset[ScalarType] = frozenset()
    bound: int | None = None
    """A lower bound of the value, None if none is known."""

    @staticmethod
    def of(kind: Kind, value: SSAValue) -> Number:
        """A number of this kind."""
        return Number(kind.type, value, kind.literals, kind.types, kind.least)

    @property
    def constant(self) -> Constant | None:
        """The value if it is constant, else None."""
        return None if isinstance(self.value, SSAValue) else self.value

    @property
    def least(self) -> int | None:
        """A lower bound of the number in Python, which does not wrap around. None for floats, and if none is known."""
        if self.type.is_float:
            return None
        if self.type.kind in "bu":
            return 0
        return self.bound if self.constant is None else int(self.constant)

    @property
    def kind(self) -> Kind:
        literals = self.literals
        if self.constant is not None:
            finite = 0 if isinstance(self.constant, float) and not math.isfinite(self.constant) else self.constant
            literals = finite, finite
        return Kind(self.type, literals, self.types or frozenset([self.type]), self.least)


def as_number(value: Any) -> Number | None:
    """The constant for a number of Python or NumPy, None for any other object."""
    type_of_value = SCALARS.get(value.__class__)
    if type_of_value is None:
        return None
    return Number(type_of_value, value if type_of_value.weak else value.item())


def least_of(operation: Operator, a: Number, b: Number) -> int | None:
    """A lower bound of `a + b` and the like of integers, None if none is known."""
    x, y = a.least, b.least
    if operation is ast.Sub:
        return None if x is None or b.constant is None else x - int(b.constant)
    if operation is ast.Add:
        return None if x is None or y is None else x + y
    signs = [least is not None and least >= 0 for least in (x, y)]
    if operation is ast.Mod:
        return 0 if signs[1] else None
    if operation is ast.Mult and x is not None and y is not None and all(signs):
        return x * y
    return 0 if all(signs) or (operation is ast.BitAnd and any(signs)) else None


def decided(operation: Operator, a: Number, b: Number) -> bool | None:
    """What a comparison with an integer constant says of all integers of the other type, None if that depends."""
    for number, constant in ((a, b), (b, a)):
        if number.type.is_float or not constant.type.weak or type(constant.constant) is not int:
            continue
        low, high = (INT if number.type.kind == "b" else number.type).limits
        if not low <= constant.constant <= high:
            x, y = (low if operand is number else constant.constant for operand in (a, b))
            return bool(PYTHON[operation](x, y))
    return None
