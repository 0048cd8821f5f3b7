"""What a `for` runs over beside a range: arrays, tuples, and `enumerate`, `zip` and `reversed` of those."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np

from hpacml.frontend.python import elementwise, extents, ranges, slicing, subscripts
from hpacml.frontend.python.arguments import bound, check
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import INT, Refusal
from hpacml.frontend.python.values import Array, Part, Tuple, Value, as_tuple, describe


@dataclass(frozen=True, eq=False)
class Series:
    """Values in order: how many, and the one at a position, which is less than their number."""

    length: Number
    item: Callable[[Number], Value]
    most: int | None = None
    """The most values, if these may differ in what they are, so that each needs code of its own; else None."""


def series(context: Context, node: ast.expr) -> Series:
    """The values that a `for` runs over. Raises `Refusal`."""
    callee = context.static(node.func) if isinstance(node, ast.Call) else None
    compile = _CALLS.get(callee) if isinstance(callee, type) else None
    if compile is not None and isinstance(node, ast.Call):
        return compile(context, node)
    value = as_tuple(elementwise.computed(context, context.value(node)))
    match value:
        case Array():
            return Series(context.size(value, 0), lambda position: element(context, value, position))
        case Tuple(items=items):
            return Series(Number(INT, len(items)), lambda position: _pick(context, items, position), len(items))
        case _:
            raise Refusal(
                f"a loop over {describe(value)}: kernels have loops over range(...), hpacml.prange(...), arrays, "
                "tuples, np.ndindex(...), and enumerate(...), zip(...) and reversed(...) of those"
            )


def _pick(context: Context, items: Sequence[Value], position: Number) -> Value:
    if position.constant is not None:
        return items[int(position.constant)]
    return subscripts.pick(context, items, lambda _: context.numbers.ssa(position))


def element(context: Context, array: Array, position: Number) -> Value:
    """`array[position]`, which is a number or a view."""
    if len(array.sizes) == 1:
        return context.load(array, [context.numbers.ssa(position)])
    first = Part(position, Number(INT, 1), 1, is_index=True)
    rest = [subscripts.whole(context, array, axis) for axis in range(1, len(array.sizes))]
    return slicing.view(context, array, [first, *rest])


def unpacked(context: Context, node: ast.AST, array: Array, count: int) -> list[Value]:
    """The elements of an array that is assigned to `count` targets."""
    context.require_equal(
        node, context.size(array, 0), Number(INT, count), "an array of {given} elements for {wanted} names"
    )
    return [element(context, array, Number(INT, position)) for position in range(count)]


# -- range, ndindex, enumerate, zip, reversed ----------------------------------------------------


def _range(context: Context, node: ast.Call) -> Series:
    numbers, found = context.numbers, ranges.range_of(context, node)
    counters = ranges.Counters(numbers)
    length = counters.length(found)
    if found.unit is None:
        return Series(length, lambda position: counters.number(found, numbers.ssa(position)))
    operation = ast.Add if found.unit > 0 else ast.Sub
    return Series(length, lambda position: numbers.binary(operation, found.start, position))


def shape_of(context: Context, node: ast.Call) -> list[Number]:
    """The sizes in a call of `np.ndindex`. Raises `Refusal`."""
    given = elementwise.operands(context, *node.args)
    sizes = given[0].items if len(given) == 1 and isinstance(given[0], Tuple) else tuple(given)
    if node.keywords or not sizes:
        raise Refusal("write np.ndindex(n, m), or np.ndindex(a.shape)")
    return [context.numbers.integer(context.as_number(size, node), "a size") for size in sizes]


def _ndindex(context: Context, node: ast.Call) -> Series:
    """The indices of a shape, each of which is computed of its position among them."""
    numbers = context.numbers
    sizes = [extents.greatest(numbers, size, Number(INT, 0)) for size in shape_of(context, node)]

    def item(position: Number) -> Value:
        indices: list[Value] = []
        for size in reversed(sizes):
            divisor = extents.greatest(numbers, size, Number(INT, 1))
            indices.insert(0, _not_negative(numbers.binary(ast.Mod, position, divisor)))
            position = _not_negative(numbers.binary(ast.FloorDiv, position, divisor))
        return Tuple(tuple(indices))

    return Series(_not_negative(context.count(sizes)), item)


def _enumerate(context: Context, node: ast.Call) -> Series:
    given = bound(context, node, ("iterable", "start"), 1)
    inner = series(context, given["iterable"])
    start = context.index(given["start"], "the start of enumerate") if "start" in given else Number(INT, 0)

    def item(position: Number) -> Value:
        return Tuple((context.numbers.binary(ast.Add, start, position), inner.item(position)))

    return Series(inner.length, item, inner.most)


def _zip(context: Context, node: ast.Call) -> Series:
    check(context, node)
    inner = [series(context, argument) for argument in node.args]
    if not inner:
        raise Refusal("zip() of nothing")
    length = reduce(partial(extents.least, context.numbers), (each.length for each in inner))
    return Series(
        length,
        lambda position: Tuple(tuple(each.item(position) for each in inner)),
        min((each.most for each in inner if each.most is not None), default=None),
    )


def _reversed(context: Context, node: ast.Call) -> Series:
    inner = series(context, _sequence(context, bound(context, node, ("sequence",), 1)["sequence"]))
    binary = context.numbers.binary
    last = binary(ast.Sub, inner.length, Number(INT, 1))

    def item(position: Number) -> Value:
        return inner.item(_not_negative(binary(ast.Sub, last, position)))

    return Series(inner.length, item, inner.most)


def _sequence(context: Context, node: ast.expr) -> ast.expr:
    """What Python can reverse. Raises `CompileError` for a call that gives an iterator."""
    callee = context.static(node.func) if isinstance(node, ast.Call) else None
    if callee in (enumerate, zip, reversed, np.ndindex):
        what = ast.unparse(node)
        raise context.error(node, f"Python does not reverse {what}: write a loop over reversed(range(...))")
    return node


def _not_negative(number: Number) -> Number:
    return number if number.constant is not None else replace(number, bound=0)


_CALLS: dict[Any, Callable[[Context, ast.Call], Series]] = {
    range: _range,
    np.ndindex: _ndindex,
    enumerate: _enumerate,
    zip: _zip,
    reversed: _reversed,
}
