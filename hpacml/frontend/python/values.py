"""What a name in a kernel can stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import SSAValue

from hpacml.frontend.python.scalars import Number
from hpacml.frontend.python.types import ScalarType


@dataclass(frozen=True, eq=False)
class Array:
    """An array: a parameter of the kernel, or one that it made itself (`parameter` is None)."""

    name: str
    element: ScalarType
    value: SSAValue[MemRefType]
    parameter: int | None = None

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The sizes, None where they are known at run time only."""
        return tuple(None if size == DYNAMIC_INDEX else size for size in self.value.type.get_shape())


@dataclass(frozen=True, eq=False)
class Tuple:
    """Several values in a row, such as `t.shape`. It exists in the compiler only."""

    items: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Opaque:
    """An argument that the compiled code does not see: a path, a model."""

    name: str


@dataclass(frozen=True, eq=False)
class Unset:
    """A name that cannot be read, and why."""

    reason: str


Value: TypeAlias = Number | Array | Tuple | Opaque | Unset


def describe(value: Value) -> str:
    """For messages: `a float32`, `an array`."""
    match value:
        case Number(type=type):
            return f"a number ({type})"
        case Array():
            return "an array"
        case Tuple():
            return "a tuple"
        case _:
            return "no number"
