"""Reductions of arrays: `sum`, `prod`, `min`, `max`, `mean`, `any`, `all` and products of matrices.

Types are NumPy's; elements are taken in the order of the array, one after the other.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from xdsl.dialects.arith import CmpiOp
from xdsl.dialects.builtin import IndexType
from xdsl.dialects.scf import ForOp, YieldOp
from xdsl.ir import SSAValue

from hpacml.frontend.python import elementwise
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import ARRAY_DTYPES, INT, Refusal, ScalarType
from hpacml.frontend.python.values import Array, Elements, Value, describe, dimensions

Step = Callable[[Context, Number, Number], Number]


@dataclass(frozen=True)
class Reduction:
    """A reduction: its NumPy function, its step, and what it is of no elements (None: of none it is an error)."""

    function: Callable[..., Any]
    step: Step
    empty: int | None

    def type_of(self, element: ScalarType) -> ScalarType:
        """The type of the result for such elements."""
        sample = np.ones(1, element.dtype)
        return ARRAY_DTYPES[np.asarray(self.function(sample)).dtype.name]


def _operator(operation: type[ast.operator]) -> Step:
    return lambda context, total, element: context.numbers.binary(operation, total, element)


def _extremum(function: Callable[..., Any]) -> Step:
    return lambda context, total, element: context.numbers.numpy_extremum(function, total, element)


REDUCTIONS = {
    "sum": Reduction(np.sum, _operator(ast.Add), 0),
    "prod": Reduction(np.prod, _operator(ast.Mult), 1),
    "min": Reduction(np.min, _extremum(np.minimum), None),
    "max": Reduction(np.max, _extremum(np.maximum), None),
    "any": Reduction(np.any, _operator(ast.BitOr), 0),
    "all": Reduction(np.all, _operator(ast.BitAnd), 1),
    "mean": Reduction(np.mean, _operator(ast.Add), 0),
}
"""The reductions by the names of NumPy's functions and methods."""


def reduce(
    context: Context,
    node: ast.AST,
    name: str,
    value: Array | Elements,
    axes: Sequence[int] | None = None,
    keepdims: bool = False,
    element: ScalarType | None = None,
) -> Number | Array:
    """`np.sum(value, axes, element, keepdims=keepdims)` and the like. Raises `Refusal` for axes that do not fit."""
    whole = elementwise.elements(context, value)
    rank = len(whole.sizes)
    reduced = _positions(rank, range(rank) if axes is None else axes)
    kept = [axis for axis in range(rank) if axis not in reduced]
    type = element or REDUCTIONS[name].type_of(whole.element)
    sizes = tuple(whole.sizes[axis] for axis in reduced)
    if not kept and not keepdims:
        return _all(context, node, name, whole, type)

    def at(indices: Sequence[SSAValue]) -> Number:
        outer = {axis: indices[axis] for axis in kept} if keepdims else dict(zip(kept, indices, strict=True))

        def inner(index: Sequence[SSAValue]) -> Number:
            places = outer | dict(zip(reduced, index, strict=True))
            return whole.at([places[axis] for axis in range(rank)])

        return _all(context, node, name, Elements(whole.element, sizes, inner, whole.arrays), type)

    shown = range(rank) if keepdims else kept
    shape = tuple(whole.sizes[axis] if axis in kept else Number(INT, 1) for axis in shown)
    return elementwise.array_of(context, Elements(type, shape, at, whole.arrays))


def _positions(rank: int, axes: Sequence[int]) -> list[int]:
    """The axes of an array in order, counted from the first."""
    for axis in axes:
        if not -rank <= axis < rank:
            raise Refusal(f"axis {axis} of an array with {dimensions(rank)}")
    positions = sorted({axis % rank for axis in axes})
    if len(positions) < len(axes):
        raise Refusal("an axis of this reduction is given twice")
    return positions


def _all(context: Context, node: ast.AST, name: str, value: Elements, type: ScalarType) -> Number:
    reduction, numbers = REDUCTIONS[name], context.numbers

    def step(total: Number, indices: Sequence[SSAValue]) -> Number:
        with context.at(node):
            element = numbers.convert(value.at(indices), type)
            return numbers.convert(reduction.step(context, total, element), type)

    if reduction.empty is None:
        refuse_empty(context, node, name, value)
        first = numbers.convert(value.at([context.emit.index(0)] * len(value.sizes)), type)
    else:
        first = numbers.convert(Number(INT, reduction.empty), type)
    total = fold(context, value.sizes, first, step)
    if name != "mean":
        return total
    count = numbers.convert(context.count(value.sizes), type)
    return numbers.convert(numbers.binary(ast.Div, total, count), type)


def refuse_empty(context: Context, node: ast.AST, name: str, value: Elements) -> None:
    """Have the code refuse an array without elements. Raises `Refusal` if it is known to have none."""
    text = f"the {name} of an array without elements"
    for size in value.sizes:
        if size.constant == 0:
            raise Refusal(text)
        if size.constant is None:
            given, zero = context.numbers.ssa(size), context.emit.index(0)
            context.refuse_if(node, context.emit.value(CmpiOp(given, zero, "eq")), text, [given, zero])


def fold(
    context: Context,
    sizes: Sequence[Number],
    first: Number,
    step: Callable[[Number, Sequence[SSAValue]], Number],
    indices: Sequence[SSAValue] = (),
) -> Number:
    """A number that begins as `first`, and that each element in the order of its indices changes by `step`."""
    if not sizes:
        return step(first, indices)
    emit, ssa = context.emit, context.numbers.ssa
    zero, one, end, before = emit.index(0), emit.index(1), ssa(sizes[0]), ssa(first)
    with emit.block([IndexType(), first.type.ir]) as block:
        index, total = block.args
        after = fold(context, sizes[1:], Number(first.type, total), step, [*indices, index])
        emit.op(YieldOp(ssa(after)))
    return Number(first.type, emit.value(ForOp(zero, end, one, [before], block)))


# -- products ------------------------------------------------------------------------------------


def product(context: Context, node: ast.AST, left: Value, right: Value) -> Number | Array:
    """`left @ right` of vectors and matrices. Raises `Refusal` for other values."""
    if not isinstance(left, Array | Elements) or not isinstance(right, Array | Elements):
        raise Refusal(f"'@' of {describe(left)} and {describe(right)}: it is of arrays")
    a, b = (elementwise.elements(context, elementwise.array_of(context, each)) for each in (left, right))
    if not {len(a.sizes), len(b.sizes)} <= {1, 2}:
        raise Refusal(f"'@' of arrays with {len(a.sizes)} and {len(b.sizes)} dimensions: kernels know 1 and 2")
    context.require_equal(
        node, b.sizes[0], a.sizes[-1], "an array of {given} rows cannot be multiplied by one of {wanted} columns"
    )
    multiply = partial(context.numbers.binary, ast.Mult)
    samples = [Number(each.element, each.element.python(1).item()) for each in (a, b)]
    type = elementwise.type_of(context, multiply, samples)

    def at(indices: Sequence[SSAValue]) -> Number:
        rows, columns = indices[: len(a.sizes) - 1], indices[len(a.sizes) - 1 :]

        def step(total: Number, index: Sequence[SSAValue]) -> Number:
            with context.at(node):
                each = multiply(a.at([*rows, *index]), b.at([*index, *columns]))
                return context.numbers.convert(context.numbers.binary(ast.Add, total, each), type)

        return fold(context, a.sizes[-1:], context.numbers.convert(Number(INT, 0), type), step)

    sizes = (*a.sizes[:-1], *b.sizes[1:])
    if not sizes:
        return at([])
    return elementwise.array_of(context, Elements(type, sizes, at, (*a.arrays, *b.arrays)))
