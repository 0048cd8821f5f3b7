"""What numbers and arrays have in common where paths through a kernel join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import Attribute, Block, SSAValue

from hpacml.frontend.python import constants, forms, slicing
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.layouts import layout_of_memref, memref_of_layout
from hpacml.frontend.python.number import Kind, Number
from hpacml.frontend.python.types import ScalarType
from hpacml.frontend.python.values import Array, Record, Static, Tuple, Value
from hpacml.runtime.arrays.views import Layout


@dataclass(frozen=True)
class ArrayKind:
    """The properties of an array apart from where it is."""

    element: ScalarType
    memref: MemRefType
    parameters: frozenset[int]
    home: Block | None
    is_constant: bool
    in_order: bool


Leaf: TypeAlias = Number | Array
AnyKind: TypeAlias = Kind | ArrayKind


def kind_of(value: Leaf) -> AnyKind:
    if isinstance(value, Number):
        return value.kind
    return ArrayKind(value.element, value.value.type, value.parameters, value.home, value.is_constant, value.in_order)


def type_of(kind: AnyKind) -> Attribute:
    """The type in the IR of values of this kind."""
    return kind.type.ir if isinstance(kind, Kind) else kind.memref


def value_of(kind: AnyKind, value: SSAValue) -> Leaf:
    if isinstance(kind, Kind):
        return Number.of(kind, value)
    memory = SSAValue.get(value, type=MemRefType)
    return Array("", kind.element, memory, kind.parameters, kind.home, kind.is_constant, in_order=kind.in_order)


def converted(context: Context, value: Leaf, kind: AnyKind) -> SSAValue:
    """A value as one of a kind that it has in common with others. Raises `Refusal` if a constant does not fit."""
    if isinstance(value, Array) and isinstance(kind, ArrayKind):
        return slicing.cast(context, value.value, kind.memref)
    if isinstance(value, Number) and isinstance(kind, Kind):
        return context.numbers.ssa(context.numbers.convert(value, kind.type))
    raise TypeError("an array is no number")


def anything(context: Context, kind: AnyKind) -> SSAValue:
    """Some value of this kind, which is not read."""
    if isinstance(kind, Kind):
        return context.emit.constant(0, kind.type.ir)
    memory = constants.table(np.zeros(1, kind.element.dtype), context.emit).value
    return slicing.retyped(context, memory, kind.memref)


def common(context: Context, a: AnyKind, b: AnyKind) -> AnyKind | None:
    """The kind of a value that is `a` on one path and `b` on another, None if there is no such kind."""
    if isinstance(a, Kind) and isinstance(b, Kind):
        return context.numbers.common(a, b)
    if not isinstance(a, ArrayKind) or not isinstance(b, ArrayKind) or a.element is not b.element:
        return None
    shapes = a.memref.get_shape(), b.memref.get_shape()
    if len(shapes[0]) != len(shapes[1]) or not all(lives(context, kind.home) for kind in (a, b)):
        return None
    shape = [x if x == y else DYNAMIC_INDEX for x, y in zip(*shapes, strict=True)]
    layout = max((layout_of_memref(kind.memref) for kind in (a, b)), key=list(Layout).index)
    memref = memref_of_layout(a.memref.element_type, shape, layout)
    home = innermost(context, [a.home, b.home])
    is_constant, in_order = a.is_constant or b.is_constant, a.in_order and b.in_order
    return ArrayKind(a.element, memref, a.parameters | b.parameters, home, is_constant, in_order)


def lives(context: Context, home: Block | None) -> bool:
    """Whether memory that is freed at the end of a block is still there."""
    return home is None or any(block is home for block in context.emit.open_blocks)


def innermost(context: Context, homes: Sequence[Block | None]) -> Block | None:
    """The block at whose end the first of some memory is freed."""
    return next((block for block in reversed(context.emit.open_blocks) if any(block is home for home in homes)), None)


# -- tuples --------------------------------------------------------------------------------------


def leaves(value: Value) -> Iterator[Leaf]:
    """The numbers and arrays in a value."""
    match value:
        case Number() | Array():
            yield value
        case Tuple(items=items):
            for item in items:
                yield from leaves(item)
        case Record(fields=fields):
            for item in fields.values():
                yield from leaves(item)
        case _:
            pass


def rebuilt(value: Value, replacements: Iterator[Leaf]) -> Value:
    """A value with other numbers and arrays, in the order of `leaves`."""
    match value:
        case Number() | Array():
            return next(replacements)
        case Tuple(items=items):
            return Tuple(tuple(rebuilt(item, replacements) for item in items))
        case Record(fields=fields):
            return Record(value.type, {name: rebuilt(item, replacements) for name, item in fields.items()})
        case _:
            return value


def alike(a: Value, b: Value) -> bool:
    """Whether two values differ in their numbers and arrays at most."""
    match a, b:
        case (Number(), Number()) | (Array(), Array()):
            return True
        case Tuple(), Tuple():
            return len(a.items) == len(b.items) and all(map(alike, a.items, b.items))
        case Record(), Record():
            return a.type is b.type and all(alike(item, b.fields[name]) for name, item in a.fields.items())
        case Static(), Static():
            return forms.are_same(a, b)
        case _:
            return a is b
