"""Compiles conditions: comparisons, `and`, `or`, `not`, and `a if c else b`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from xdsl.dialects.scf import IfOp, YieldOp
from xdsl.ir import Block, Region, SSAValue

from hpacml.frontend.python import bundles, elementwise, kinds, reductions
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import PYTHON, Number
from hpacml.frontend.python.scalars import disagreement
from hpacml.frontend.python.types import BOOL, NeedsValue, Refusal
from hpacml.frontend.python.values import (
    Array,
    Elements,
    Inner,
    Opaque,
    Record,
    Static,
    Tuple,
    Value,
    as_tuple,
    describe,
)

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.IsNot: ast.Is, ast.NotIn: ast.In, ast.NotEq: ast.Eq}
"""The comparisons that are the negation of another."""


def compare(context: Context, node: ast.Compare) -> Value:
    """`a < b < c`: `c` is not evaluated unless `a < b`."""
    if len(node.ops) == 1:
        left, right = elementwise.operands(context, node.left, node.comparators[0])
        return _relation(context, node, type(node.ops[0]), left, right)
    return _chain(context, context.value(node.left), list(zip(node.ops, node.comparators, strict=True)))


def _chain(context: Context, left: Value, links: list[tuple[ast.cmpop, ast.expr]]) -> Number:
    (comparison, node), *rest = links
    right = context.value(node)
    answer = _relation(context, node, type(comparison), left, right)
    if not isinstance(answer, Number):
        raise Refusal("a chain of comparisons of arrays: compare two of them, and use & between the results")
    if not rest:
        return answer
    return _short_circuit(context, True, answer, [n for _, n in rest], lambda: _chain(context, right, rest))


def _relation(context: Context, node: ast.AST, op: type[ast.cmpop], left: Value, right: Value) -> Number | Elements:
    if isinstance(left, Number) and isinstance(right, Number) and op in PYTHON:
        return context.numbers.compare(op, left, right)
    for value, other in ((left, right), (right, left)):
        if isinstance(value, Opaque):
            if op not in (ast.Is, ast.IsNot) or not isinstance(other, Static) or other.object is not None:
                raise NeedsValue(value.name)
            if not value.is_there:
                raise NeedsValue(value.name, is_none=True)
            return Number(BOOL, op is ast.IsNot)
    if op not in (ast.Is, ast.IsNot) and any(map(elementwise.is_array, (left, right))) and op in PYTHON:
        return elementwise.lifted(context, node, partial(context.numbers.compare, op), [left, right])
    if (positive := _NEGATED.get(op)) is not None:
        answer = _relation(context, node, positive, left, right)
        return context.numbers.invert_truth(answer) if isinstance(answer, Number) else answer
    if op is ast.Is:
        return Number(BOOL, _is(left, right))
    if op is ast.In:
        return _contains(context, node, as_tuple(right), left)
    return _between_objects(context, node, op, *map(_by_items, (left, right)))


def _by_items(value: Value) -> Value:
    """A named tuple as a tuple, and a dataclass that is compared by its fields with its class before these."""
    if isinstance(value, Record) and bundles.is_compared_by_fields(value.type):
        return Tuple((Static(value.type), *value.fields.values()))
    return as_tuple(value)


def _is(left: Value, right: Value) -> bool:
    for value, other in ((left, right), (right, left)):
        if isinstance(value, Static):
            if isinstance(other, Static):
                return value.object is other.object
            if isinstance(other, Number | Array | Elements | Tuple | Record | Inner):
                return False
    instead = "compare numbers with == and !="
    if elementwise.is_array(left) or elementwise.is_array(right):
        instead = "whether two arrays are one, only who makes them knows: pass a bool that says it"
    raise Refusal(f"'is' of {describe(left)} and {describe(right)}: {instead}")


def _contains(context: Context, node: ast.AST, owner: Value, item: Value) -> Number:
    if isinstance(owner, Static) and isinstance(item, Static):
        return Number(BOOL, _python(lambda a, b: b in a, owner.object, item.object))
    if isinstance(owner, Array | Elements):
        equal = elementwise.lifted(context, node, partial(context.numbers.compare, ast.Eq), [owner, item])
        found = reductions.reduce(context, node, "any", elementwise.whole(context, equal))
        return context.numbers.truth(context.as_number(found, node))
    if not isinstance(owner, Tuple):
        raise Refusal(f"'in' of {describe(owner)}: kernels know it of tuples, arrays and texts")
    found = Number(BOOL, False)
    for each in owner.items:
        equal = _relation(context, node, ast.Eq, item, each)
        if not isinstance(equal, Number):
            raise Refusal("'in' of a tuple of arrays: compare them one by one")
        found = _either(context, found, context.numbers.truth(equal))
    return found


def _one_kind(a: Value, b: Value) -> str:
    """What to write instead of one of two values of unlike kinds."""
    is_none = [isinstance(value, Static) and value.object is None for value in (a, b)]
    if any(is_none) and any(isinstance(value, Number) for value in (a, b)):
        return "write a number that stands for None, such as -1 or math.nan"
    return "write an 'if' statement with what uses it in each branch"


def _either(context: Context, a: Number, b: Number) -> Number:
    for one, other in ((a, b), (b, a)):
        if one.constant is not None:
            return one if one.constant else other
    return context.numbers.binary(ast.BitOr, a, b)


def _between_objects(context: Context, node: ast.AST, op: type[ast.cmpop], left: Value, right: Value) -> Number:
    if isinstance(left, Static) and isinstance(right, Static):
        return Number(BOOL, _python(PYTHON[op], left.object, right.object))
    if isinstance(left, Tuple) and isinstance(right, Tuple) and op is ast.Eq:
        differ = Number(BOOL, len(left.items) != len(right.items))
        for a, b in zip(left.items, right.items, strict=False) if not differ.constant else ():
            equal = _relation(context, node, ast.Eq, a, b)
            if not isinstance(equal, Number):
                raise Refusal("a comparison of tuples of arrays: compare them one by one")
            differ = _either(context, differ, context.numbers.invert_truth(equal))
        return context.numbers.invert_truth(differ)
    if op is ast.Eq and any(isinstance(value, Tuple) or _equals_no_number(value) for value in (left, right)):
        return Number(BOOL, False)
    raise Refusal(f"{describe(left)} and {describe(right)} cannot be compared")


def _equals_no_number(value: Value) -> bool:
    """Whether a value is an object that is equal to no number, tuple or bundle."""
    return isinstance(value, Static) and (value.object is None or isinstance(value.object, str))


def _python(operation: Callable[[Any, Any], Any], a: Any, b: Any) -> bool:
    try:
        return bool(operation(a, b))
    except Exception as error:
        raise Refusal(f"{type(error).__name__}: {error}") from None


# -- and, or, not --------------------------------------------------------------------------------


def unary(context: Context, node: ast.UnaryOp) -> Value:
    if isinstance(node.op, ast.Not):
        return context.numbers.invert_truth(context.truth(node.operand))
    function = _UNARY[type(node.op)]
    return elementwise.lifted(context, node, partial(function, context), [context.value(node.operand)])


def _positive(context: Context, operand: Number) -> Number:
    return context.numbers.positive(operand)


_UNARY: dict[type[ast.unaryop], Callable[[Context, Number], Number]] = {
    ast.USub: lambda context, operand: context.numbers.negative(operand),
    ast.UAdd: _positive,
    ast.Invert: lambda context, operand: context.numbers.invert(operand),
}


def bool_op(
    context: Context,
    is_and: bool,
    nodes: Sequence[ast.expr],
    operand: Callable[[Context, ast.expr], Number] | None = None,
) -> Number:
    """The value of `and` or `or`, whose operands `operand` compiles."""
    compiled = _operand if operand is None else operand
    left = compiled(context, nodes[0])
    for node in nodes[1:]:
        left = _short_circuit(context, is_and, left, [node], partial(compiled, context, node))
    return left


def _operand(context: Context, node: ast.expr) -> Number:
    """An operand of `and` and `or`, which is their result: of what is no number, only its truth is known."""
    value = context.value(node)
    return value if isinstance(value, Number) else context.truth_of(value, node)


def _short_circuit(
    context: Context, is_and: bool, left: Number, nodes: Sequence[ast.expr], right: Callable[[], Number]
) -> Number:
    """`left and right`, or `left or right`. `right` compiles `nodes`."""
    condition = context.numbers.truth(left)
    if condition.constant is not None:
        return right() if bool(condition.constant) == is_and else left
    if all(map(_is_harmless, nodes)):
        return _logical(context, is_and, condition, left, right())
    ssa = context.numbers.ssa(condition)
    branches = (right, lambda: left) if is_and else (lambda: left, right)
    return choose_number(context, ssa, *branches)


def _logical(context: Context, is_and: bool, condition: Number, left: Number, right: Number) -> Number:
    if left.type.kind == right.type.kind == "b":
        return context.numbers.binary(ast.BitAnd if is_and else ast.BitOr, left, right)
    return context.numbers.select(condition, *((right, left) if is_and else (left, right)))


# -- choices -------------------------------------------------------------------------------------


def conditional(context: Context, node: ast.IfExp) -> Value:
    """`a if c else b`."""
    condition = context.truth(node.test)
    if condition.constant is not None:
        return context.value(node.body if condition.constant else node.orelse)
    if _is_harmless(node.body) and _is_harmless(node.orelse):
        then, otherwise = context.value(node.body), context.value(node.orelse)
        if isinstance(then, Number) and isinstance(otherwise, Number):
            return context.numbers.select(condition, then, otherwise)
    ssa = context.numbers.ssa(condition)
    return choose(context, ssa, lambda: context.value(node.body), lambda: context.value(node.orelse))


def choose_number(
    context: Context, condition: SSAValue, then: Callable[[], Number], otherwise: Callable[[], Number]
) -> Number:
    """One of two numbers. Only the chosen number is computed."""
    chosen = choose(context, condition, then, otherwise)
    assert isinstance(chosen, Number)
    return chosen


def choose(context: Context, condition: SSAValue, then: Callable[[], Value], otherwise: Callable[[], Value]) -> Value:
    """One of two values. Only the chosen one is computed. Raises `Refusal` if they have nothing in common."""
    blocks: list[Block] = []
    values: list[Value] = []
    for branch in (then, otherwise):
        with context.emit.block() as block:
            values.append(elementwise.computed(context, branch()))
        blocks.append(block)
    a, b = values
    if not kinds.alike(a, b):
        raise Refusal(f"this is {describe(a)} or {describe(b)}, which are not alike: {_one_kind(a, b)}")
    pairs = list(zip(kinds.leaves(a), kinds.leaves(b), strict=True))
    found = [_common(context, x, y) for x, y in pairs]
    for position, block in enumerate(blocks):
        with context.emit.at_end(block):
            given = [kinds.converted(context, pair[position], kind) for pair, kind in zip(pairs, found, strict=True)]
            context.emit.op(YieldOp(*given))
    then_region, else_region = map(Region, blocks)
    op = IfOp(condition, [kinds.type_of(kind) for kind in found], then_region, else_region)
    context.emit.op(op)
    results = (kinds.value_of(kind, result) for kind, result in zip(found, op.results, strict=True))
    return kinds.rebuilt(a, results)


def _common(context: Context, a: kinds.Leaf, b: kinds.Leaf) -> kinds.AnyKind:
    kind = kinds.common(context, kinds.kind_of(a), kinds.kind_of(b))
    if kind is not None:
        return kind
    if isinstance(a, Number) and isinstance(b, Number):
        raise Refusal(f"this is {disagreement(a.kind, b.kind)}")
    raise Refusal(
        "these arrays differ in element type or dimensions, or are made here and end here: make them before, and "
        "fill them in the branches of an 'if'"
    )


def _is_harmless(node: ast.expr) -> bool:
    """Whether `node` is cheap and accesses no memory, so that it may be computed although its value is not needed."""
    return not any(
        isinstance(n, ast.Call | ast.Pow)
        or (isinstance(n, ast.Subscript) and not (isinstance(n.value, ast.Attribute) and n.value.attr == "shape"))
        for n in ast.walk(node)
    )
