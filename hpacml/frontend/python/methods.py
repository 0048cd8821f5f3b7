"""Compiles methods of arrays, and NumPy's functions of whole arrays."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hpacml.frontend.python import elementwise, making, operators, reductions, slicing
from hpacml.frontend.python.arguments import bound, check
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.functions import FUNCTIONS
from hpacml.frontend.python.number import PYTHON, Number
from hpacml.frontend.python.types import INT, Refusal, result_type
from hpacml.frontend.python.values import Array, Elements, Static, Tuple, Value, describe

Compile = Callable[[Context, ast.Call, "Array | Elements"], "Value | None"]


def _reduction(name: str) -> Compile:
    def compile(context: Context, node: ast.Call, owner: Array | Elements) -> Value:
        return _reduced(context, node, name, owner, bound(context, node, _options(name), 0))

    return compile


def _options(name: str) -> tuple[str, ...]:
    """The parameters of a reduction behind the array."""
    return ("axis", "dtype", "out", "keepdims") if name in _WITH_DTYPE else ("axis", "out", "keepdims")


_WITH_DTYPE = ("sum", "prod", "mean")


def _reduced(
    context: Context, node: ast.Call, name: str, owner: Array | Elements, given: Mapping[str, ast.expr]
) -> Value:
    """A reduction with the arguments `given`."""
    if "out" in given:
        raise Refusal(f"out of a reduction: write b[:] = a.{name}(...)")
    element = making.dtype_of(context, given, owner.element) if "dtype" in given else None
    keepdims = context.truth(given["keepdims"]).constant if "keepdims" in given else False
    if keepdims is None:
        raise context.error(given["keepdims"], "keepdims of a reduction is a constant")
    return reductions.reduce(context, node, name, owner, _axes(context, given.get("axis")), bool(keepdims), element)


def _axes(context: Context, node: ast.expr | None) -> list[int] | None:
    """The axes of a reduction, which are constants."""
    value = Static(None) if node is None else context.value(node)
    if node is None or (isinstance(value, Static) and value.object is None):
        return None
    axes: list[int] = []
    for item in value.items if isinstance(value, Tuple) else (value,):
        with context.at(node):
            axis = context.numbers.integer(context.as_number(item, node), "an axis").constant
        if axis is None:
            raise context.error(node, "the axis of a reduction is a constant")
        axes.append(int(axis))
    return axes


def _dot(context: Context, node: ast.Call, owner: Array | Elements) -> Value:
    return reductions.product(context, node, owner, context.value(bound(context, node, ("b",), 1)["b"]))


def _copy(context: Context, node: ast.Call, owner: Array | Elements) -> Array:
    check(context, node)
    return replace(making.copy(context, owner, node), in_order=True)  # in the order C, unlike np.copy


def _astype(context: Context, node: ast.Call, owner: Array | Elements) -> Value:
    given = bound(context, node, ("dtype",), 1)
    return making.copy(context, owner, node, making.dtype_of(context, given, owner.element))


def _fill(context: Context, node: ast.Call, owner: Array | Elements) -> None:
    value = context.number(bound(context, node, ("value",), 1)["value"])
    elementwise.assign_to(context, node, owner, value)


def _reshape(context: Context, node: ast.Call, owner: Array | Elements) -> Value:
    check(context, node)
    given = [context.value(argument) for argument in node.args]
    sizes = given[0].items if len(given) == 1 and isinstance(given[0], Tuple) else tuple(given)
    return slicing.reshaped(context, node, elementwise.array_of(context, owner), sizes)


def _ravel(context: Context, node: ast.Call, owner: Array | Elements) -> Value:
    check(context, node)
    return slicing.reshaped(context, node, elementwise.array_of(context, owner), (Number(INT, -1),))


def _flatten(context: Context, node: ast.Call, owner: Array | Elements) -> Value:
    return slicing.reshaped(context, node, _copy(context, node, owner), (Number(INT, -1),))


METHODS: dict[str, Compile] = {
    **{name: _reduction(name) for name in reductions.REDUCTIONS},
    "dot": _dot,
    "copy": _copy,
    "astype": _astype,
    "fill": _fill,
    "reshape": _reshape,
    "ravel": _ravel,
    "flatten": _flatten,
}
"""The methods of arrays."""


def call_method(context: Context, node: ast.Call, owner: Array | Elements, name: str) -> Value | None:
    """Compile `owner.name(...)`. Raises `Refusal` for a method that kernels do not have."""
    if name not in METHODS:
        raise Refusal(f"'.{name}(...)' of an array: kernels know {', '.join(sorted(METHODS))}: write the loop")
    return METHODS[name](context, node, owner)


# -- functions -----------------------------------------------------------------------------------


def _of_numpy(name: str) -> Callable[[Context, ast.Call], Value | None]:
    def compile(context: Context, node: ast.Call) -> Value:
        given = bound(context, node, ("a", *_options(name)), 1)
        value = context.value(given["a"])
        with context.at(given["a"]):
            owner = elementwise.whole(context, value)
        return _reduced(context, node, name, owner, given)

    return compile


def _product(context: Context, node: ast.Call) -> Value:
    given = bound(context, node, ("a", "b"), 2)
    left, right = elementwise.operands(context, given["a"], given["b"])
    return reductions.product(context, node, left, right)


def _sum(context: Context, node: ast.Call) -> Value:
    """Python's `sum`, which begins with the integer 0."""
    given = bound(context, node, ("iterable", "start"), 1)
    value = context.value(given["iterable"])
    start = context.number(given["start"]) if "start" in given else Number(INT, 0)
    if isinstance(value, Tuple):
        for item in value.items:
            start = operators.binary(context, node, ast.Add, start, item)
        return start
    whole = elementwise.elements(context, _one_dimension(node, value))
    add = PYTHON[ast.Add]
    type = result_type(add, result_type(add, start.type, whole.element), whole.element)

    def step(total: Number, indices: Any) -> Number:
        return context.numbers.binary(ast.Add, total, whole.at(indices))

    return reductions.fold(context, whole.sizes, context.numbers.convert(start, type), step)


def _one_dimension(node: ast.Call, value: Value) -> Array | Elements:
    if not isinstance(value, Array | Elements):
        raise Refusal(f"{ast.unparse(node.func)}(...) of {describe(value)}: it is of an array or of numbers")
    rank = len(value.sizes)
    if rank != 1:
        raise Refusal(
            f"{ast.unparse(node.func)}(...) of an array with {rank} dimensions: write np.{ast.unparse(node.func)}"
        )
    return value


def _builtin_extremum(function: Callable[..., Any]) -> Callable[[Context, ast.Call], Value]:
    """Python's `min` and `max` of the elements of an array, or of numbers."""

    def compile(context: Context, node: ast.Call) -> Value:
        check(context, node)
        values = elementwise.operands(context, *node.args)
        if len(values) == 1 and isinstance(values[0], Tuple):
            values = list(values[0].items)
        if len(values) != 1:
            numbers = [context.as_number(value, node) for value in values]
            return FUNCTIONS[function](context.numbers, ast.unparse(node.func), numbers)
        whole = elementwise.elements(context, _one_dimension(node, values[0]))
        reductions.refuse_empty(context, node, ast.unparse(node.func), whole)

        def step(best: Number, indices: Any) -> Number:
            return FUNCTIONS[function](context.numbers, "", [best, whole.at(indices)])

        return reductions.fold(context, whole.sizes, whole.at([context.emit.index(0)]), step)

    return compile


OF_WHOLE_ARRAYS: dict[Any, Callable[[Context, ast.Call], Value | None]] = {
    **{reduction.function: _of_numpy(name) for name, reduction in reductions.REDUCTIONS.items()},
    np.dot: _product,
    np.matmul: _product,
    sum: _sum,
    min: _builtin_extremum(min),
    max: _builtin_extremum(max),
}
"""The functions of whole arrays."""
