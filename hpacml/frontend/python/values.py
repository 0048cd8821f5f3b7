"""The values that a name in a kernel can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import Block, SSAValue

from hpacml.frontend.python import bundles
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.source import Source
from hpacml.frontend.python.types import ScalarType


@dataclass(frozen=True, eq=False)
class Part:
    """What a subscript takes of a dimension. An index takes one element and drops the dimension."""

    start: Number
    size: Number
    step: int
    is_index: bool = False
    is_whole: bool = False


@dataclass(frozen=True, eq=False)
class Array:
    """An array or a view of one, in the memory of parameters, of a constant, or of an array that the kernel makes."""

    name: str
    element: ScalarType
    value: SSAValue[MemRefType]
    parameters: frozenset[int] = frozenset()
    """The positions of the parameters whose memory it may be in."""
    home: Block | None = None
    """The block at whose end its memory is freed, None if the kernel does not free it."""
    is_constant: bool = False
    parent: SSAValue | None = None
    """The array of which it is a slice."""
    parts: tuple[Part, ...] = ()
    """What it takes of each dimension of its parent."""
    in_order: bool = True
    """Whether NumPy's array lies in memory in the order of its indices, too, as far as it does not have gaps."""

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The sizes; None for a size that is known only at run time."""
        return tuple(None if size == DYNAMIC_INDEX else size for size in self.value.type.get_shape())


@dataclass(frozen=True, eq=False)
class Elements:
    """The elements of an expression of arrays, which are computed where they are needed."""

    element: ScalarType
    sizes: tuple[Number, ...]
    at: Callable[[Sequence[SSAValue]], Number]
    """Emits what computes the element with these indices."""
    arrays: tuple[Array, ...]
    """The arrays that it reads."""

    @property
    def in_order(self) -> bool:
        """Whether NumPy's array of these elements lies in memory in the order of its indices."""
        return all(each.in_order for each in self.arrays)


@dataclass(frozen=True, eq=False)
class Tuple:
    """A tuple of values, such as `t.shape`. It exists only in the compiler."""

    items: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Record:
    """A dataclass or a named tuple. It exists only in the compiler."""

    type: type[Any]
    fields: Mapping[str, Value]


@dataclass(frozen=True, eq=False)
class Static:
    """A Python object that is known when the kernel is compiled: a text, None, an object with attributes."""

    object: Any


@dataclass(frozen=True, eq=False)
class Inner:
    """A function that the kernel defines, or a lambda, whose code takes the place of its calls."""

    source: Source
    defaults: Mapping[str, Value]
    """The defaults of its parameters, which are values at its definition."""
    outer: Any
    """The context of the function around it, whose variables it sees."""


@dataclass(frozen=True, eq=False)
class Opaque:
    """An argument that compiled code does not see: a path or a model."""

    name: str
    is_there: bool = False
    """Whether it is known not to be None."""


@dataclass(frozen=True, eq=False)
class Unset:
    """The value of a name that cannot be read, and the reason."""

    reason: str


@dataclass(frozen=True, eq=False)
class Anything:
    """The value of a name on paths that do not read it: there it may be anything that other paths need it to be."""


Value: TypeAlias = "Number | Array | Elements | Tuple | Record | Static | Inner | Opaque | Unset | Anything"


def as_tuple(value: Value) -> Value:
    """A named tuple as a tuple, any other value as it is."""
    if isinstance(value, Record) and bundles.is_tuple(value.type):
        return Tuple(tuple(value.fields.values()))
    return value


def describe(value: Value) -> str:
    """The value in an error text: `a number (float32)`, `an array`."""
    match value:
        case Number(type=type):
            return f"a number ({type})"
        case Array() | Elements():
            return "an array"
        case Tuple():
            return "a tuple"
        case Record(type=type):
            return f"a {type.__name__}"
        case Inner():
            return "a function"
        case Static(object=None):
            return "None"
        case Static(object=str() as text):
            return f"the text {text!r}"
        case Static(object=found):
            return f"a {type_name(found)}"
        case Opaque():
            return "an argument that compiled code does not see"
        case _:
            return "no number"


def type_name(found: object) -> str:
    """The name of an object's type in an error text."""
    return found.__class__.__name__


def constants_of(items: Sequence[Value]) -> list[Number] | None:
    """The items, if all are constant numbers, else None."""
    numbers = [item for item in items if isinstance(item, Number) and item.constant is not None]
    return numbers if len(numbers) == len(items) else None


def dimensions(rank: int) -> str:
    """A number of dimensions in an error text."""
    return f"{rank} dimension{'s' * (rank > 1)}"
