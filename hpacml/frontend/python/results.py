"""What a kernel returns: numbers, arrays, and tuples of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from enum import Enum

from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.memref import AllocOp
from xdsl.ir import SSAValue

from hpacml.frontend.python import bundles, kinds, making, overlap
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.result_types import ArrayResult, ConstantResult, RecordResult, Result
from hpacml.frontend.python.types import NeedsValue, Refusal, ScalarType
from hpacml.frontend.python.values import Array, Opaque, Record, Static, Tuple, Unset, Value, describe


def returned(context: Context, node: ast.AST, value: Value) -> tuple[Result, list[SSAValue]]:
    """A value that a function returns at its end: what it is, and its numbers and arrays. Raises `Refusal`.

    Arrays that the function has made belong to its caller from then on.
    """
    given: list[Array] = []
    ssa: list[SSAValue] = []

    def visit(each: Value) -> Result:
        match each:
            case Number():
                ssa.append(context.numbers.ssa(each))
                return each.type
            case Array():
                array = _to_give(context, node, each, given)
                given.append(array)
                ssa.append(array.value)
                return ArrayResult(array.element, array.value.type.get_num_dims(), array.parameters, array.in_order)
            case Tuple(items=items):
                return tuple(map(visit, items))
            case Record(type=type, fields=fields):
                return RecordResult(type, tuple(map(visit, fields.values())))
            case Static(object=found) if found is None or isinstance(found, str | Enum):
                return ConstantResult(found)
            case Opaque(name=name):
                raise NeedsValue(name)
            case Unset(reason=reason):
                raise Refusal(reason)
            case _:
                raise Refusal(f"this returns {describe(each)}, which a kernel cannot")

    result = visit(value)
    context.emit.give_up([overlap.root(array.value) for array in given if array.home is not None])
    return result, ssa


def _to_give(context: Context, node: ast.AST, array: Array, given: list[Array]) -> Array:
    """The array itself, or a copy where it cannot be given to the caller."""
    if array.home is not None and array.parameters:
        raise Refusal("this is an argument on one path and an array that the kernel makes on another: return a copy")
    if not kinds.lives(context, array.home):
        raise Refusal("this array ends with the block that makes it: make it before")
    mine = [other for other in given if other.home is not None]
    shared = array.home is not None and any(_may_share(array, other) for other in mine)
    return making.copy(context, array, node) if array.is_constant or shared else array


def _may_share(a: Array, b: Array) -> bool:
    roots = [overlap.root(array.value) for array in (a, b)]
    return roots[0] is roots[1] or not all(isinstance(root.owner, AllocOp) for root in roots)


def received(context: Context, result: Result, values: Iterator[SSAValue], arguments: Mapping[int, Array]) -> Value:
    """What a call returns. Arrays that the callee has made are freed at the end of the block."""
    match result:
        case ScalarType():
            return Number(result, next(values))
        case ArrayResult(element=element, parameters=parameters, in_order=in_order):
            memory = SSAValue.get(next(values), type=MemRefType)
            if not parameters:
                return Array("", element, memory, home=context.emit.own(memory), in_order=in_order)
            sources = [arguments[position] for position in parameters]
            home = kinds.innermost(context, [source.home for source in sources])
            positions = frozenset[int]().union(*(source.parameters for source in sources))
            is_constant = any(source.is_constant for source in sources)
            return Array("", element, memory, positions, home, is_constant, in_order=in_order)
        case tuple():
            return Tuple(tuple(received(context, item, values, arguments) for item in result))
        case RecordResult(type=type, items=items):
            parts = [received(context, item, values, arguments) for item in items]
            return Record(type, dict(zip(bundles.fields_of(type), parts, strict=True)))
        case ConstantResult(object=found):
            return Static(found)
