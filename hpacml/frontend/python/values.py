"""The values that a name in a kernel can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import SSAValue

from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import ScalarType


@dataclass(frozen=True, eq=False)
class Array:
    """An array: a parameter of the kernel at a position, or an array that the kernel makes (`parameter` is None)."""

    name: str
    element: ScalarType
    value: SSAValue[MemRefType]
    parameter: int | None = None

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The sizes; None for a size that is known only at run time."""
        return tuple(None if size == DYNAMIC_INDEX else size for size in self.value.type.get_shape())


@dataclass(frozen=True, eq=False)
class Tuple:
    """A tuple of values, such as `t.shape`. It exists only in the compiler."""

    items: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Opaque:
    """An argument that compiled code does not see: a path or a model."""

    name: str


@dataclass(frozen=True, eq=False)
class Unset:
    """The value of a name that cannot be read, and the reason."""

    reason: str


Value: TypeAlias = Number | Array | Tuple | Opaque | Unset


def describe(value: Value) -> str:
    """The value in an error text: `a number (float32)`, `an array`."""
    match value:
        case Number(type=type):
            return f"a number ({type})"
        case Array():
            return "an array"
        case Tuple():
            return "a tuple"
        case _:
            return "no number"
