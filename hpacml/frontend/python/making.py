"""Compiles NumPy's functions that make arrays: `np.zeros`, `np.arange`, `np.array` and the like."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from hpacml.frontend.python import allocation, constants, elementwise, extents, slicing
from hpacml.frontend.python.arguments import bound
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import ARRAY_DTYPES, INT, Refusal, ScalarType
from hpacml.frontend.python.values import Array, Elements, Part, Static, Tuple, Value, constants_of, describe

Given = dict[str, ast.expr]


def _made(initial: int | None = None) -> Callable[[Context, Given], Array]:
    """What makes an array of a shape, or of that of a prototype.

    Its elements are `initial`, or the argument `fill_value`; without both they are not set.
    """

    def make(context: Context, given: Given) -> Array:
        if (node := given.get("prototype")) is not None:
            prototype = elementwise.array(context, node)
            sizes, element = elementwise.elements(context, prototype).sizes, prototype.element
            in_order = prototype.in_order
        else:
            node = given["shape"]
            sizes, element, in_order = _sizes(context, node), None, True
        value = None if initial is None else Number(INT, initial)
        if "fill_value" in given:
            node = given["fill_value"]
            value = context.number(node)
            element = element or elementwise.element_type(value.type)
        dtype = dtype_of(context, given, element or ARRAY_DTYPES["float64"])
        array = allocation.new(context, dtype, sizes, in_order)
        if value is not None:
            with context.at(node):
                elementwise.assign(context, node, array, value)
        return array

    return make


def _copy(context: Context, given: Given) -> Array:
    return copy(context, context.value(given["a"]), given["a"])


def copy(context: Context, value: Value, node: ast.AST, element: ScalarType | None = None) -> Array:
    """A new array with the elements of a value, converted to an element type. Raises `Refusal`."""
    source = elementwise.whole(context, value)
    array = allocation.new(context, element or source.element, source.sizes, source.in_order)
    elementwise.assign(context, node, array, source)
    return array


def _arange(context: Context, given: Given) -> Array:
    """Integers alone: NumPy computes other numbers from a difference of two that are rounded."""
    nodes = [given[name] for name in ("start", "stop", "step") if name in given]
    numbers = [_of_range(context, node, nodes) for node in nodes]
    start, stop = (Number(INT, 0), numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) == 3 else Number(INT, 1)
    if not step.constant:
        raise context.error(nodes[-1], "the step of np.arange is a constant other than 0")
    element = dtype_of(context, given, ARRAY_DTYPES["int64"])
    sign = 1 if step.constant > 0 else -1
    binary = context.numbers.binary
    distance = binary(ast.Sub, stop, start) if sign > 0 else binary(ast.Sub, start, stop)
    rounded = binary(ast.Add, distance, Number(INT, abs(int(step.constant)) - 1))
    size = binary(ast.FloorDiv, rounded, Number(INT, abs(int(step.constant))))
    array = allocation.new(context, element, [extents.greatest(context.numbers, size, Number(INT, 0))])

    def at(indices: Sequence[SSAValue]) -> Number:
        return binary(ast.Add, start, binary(ast.Mult, Number(INT, indices[0]), step))

    elementwise.assign(
        context,
        nodes[0],
        array,
        Elements(ARRAY_DTYPES["int64"], elementwise.elements(context, array).sizes, at, ()),
    )
    return array


def _of_range(context: Context, node: ast.expr, nodes: Sequence[ast.expr]) -> Number:
    number = context.number(node)
    if number.type.is_float:
        start, step = (ast.unparse(nodes[k]) if len(nodes) > k else str(k // 2) for k in (0, 2))
        instead = f"{start} + {step} * np.arange(n)" if len(nodes) > 1 else "np.arange(int(...))"
        raise context.error(node, f"np.arange is of integers: write {instead}, which has n elements")
    with context.at(node):
        return context.numbers.integer(number, "a number of np.arange")


def _array(context: Context, given: Given) -> Array:
    """`np.array` of numbers, or of an array, which it copies."""
    node = given["object"]
    value = context.value(node)
    if isinstance(value, Array | Elements):
        return copy(context, value, node, dtype_of(context, given, value.element))
    element = dtype_of(context, given, ARRAY_DTYPES["float64"]) if "dtype" in given else None
    return of_items(context, node, value, element)


def of_items(context: Context, node: ast.expr, value: Value, element: ScalarType | None = None) -> Array:
    """A new array of the numbers in a list, or in a list of lists, or of arrays of one shape."""
    if isinstance(value, Tuple) and any(map(elementwise.is_array, value.items)):
        with context.at(node):
            return _stacked(context, node, [elementwise.whole(context, row) for row in value.items], element)
    items, shape = _flat(context, node, value)
    if not shape or not items:
        raise context.error(node, "np.array takes an array, or a list of numbers or of such lists that is not empty")
    if element is None:
        element = ARRAY_DTYPES[np.result_type(*(elementwise.element_type(item.type).dtype for item in items)).name]
    if (numbers := constants_of(items)) is not None:
        with context.at(node):
            known = [context.numbers.convert(number, element).constant for number in numbers]
        return copy(context, constants.table(np.array(known, element.dtype).reshape(shape), context.emit), node)
    array = allocation.new(context, element, [Number(INT, size) for size in shape])
    for position, item in enumerate(items):
        with context.at(node):
            number = context.numbers.ssa(context.numbers.convert(item, element))
        indices = [context.emit.index(int(index)) for index in np.unravel_index(position, shape)]
        context.emit.store(number, array.value, indices)
    return array


def _stacked(context: Context, node: ast.expr, rows: Sequence[Elements], element: ScalarType | None) -> Array:
    if len({len(row.sizes) for row in rows}) > 1:
        raise Refusal("the arrays in this array differ in their dimensions")
    for row in rows[1:]:
        for given, wanted in zip(row.sizes, rows[0].sizes, strict=True):
            context.require_equal(node, given, wanted, "an array of {given} elements beside one of {wanted}")
    if element is None:
        element = ARRAY_DTYPES[np.result_type(*(row.element.dtype for row in rows)).name]
    array = allocation.new(context, element, [Number(INT, len(rows)), *rows[0].sizes])
    for position, row in enumerate(rows):
        first = Part(Number(INT, position), Number(INT, 1), 1, is_index=True)
        rest = [Part(Number(INT, 0), size, 1, is_whole=True) for size in row.sizes]
        elementwise.assign(context, node, slicing.view(context, array, [first, *rest]), row)
    return array


def _flat(context: Context, node: ast.expr, value: Value) -> tuple[list[Number], tuple[int, ...]]:
    """The numbers in a list of lists, and its shape."""
    if isinstance(value, Number):
        return [value], ()
    if not isinstance(value, Tuple):
        raise context.error(node, f"this has {describe(value)}, where a number is needed")
    rows = [_flat(context, node, item) for item in value.items]
    if len({shape for _, shape in rows}) > 1:
        raise context.error(node, "the rows of this array differ in length")
    return [item for items, _ in rows for item in items], (len(rows), *(rows[0][1] if rows else ()))


MAKING: dict[Any, tuple[tuple[str, ...], int, Callable[[Context, Given], Array]]] = {
    np.empty: (("shape", "dtype"), 1, _made()),
    np.zeros: (("shape", "dtype"), 1, _made(0)),
    np.ones: (("shape", "dtype"), 1, _made(1)),
    np.full: (("shape", "fill_value", "dtype"), 2, _made()),
    np.empty_like: (("prototype", "dtype"), 1, _made()),
    np.zeros_like: (("prototype", "dtype"), 1, _made(0)),
    np.ones_like: (("prototype", "dtype"), 1, _made(1)),
    np.full_like: (("prototype", "fill_value", "dtype"), 2, _made()),
    np.copy: (("a",), 1, _copy),
    np.array: (("object", "dtype"), 1, _array),
    np.arange: (("start", "stop", "step", "dtype"), 1, _arange),
}
"""The functions that make arrays: their parameters, how many of them must be given, and what compiles them."""


def make(context: Context, callee: Any, node: ast.Call) -> Array:
    """Compile `np.zeros(shape, dtype)` and the like. The array is freed at the end of the block."""
    names, needed, compile = MAKING[callee]
    return compile(context, bound(context, node, names, needed))


# -- arguments -----------------------------------------------------------------------------------


def dtype_of(context: Context, given: Mapping[str, ast.expr], default: ScalarType) -> ScalarType:
    """The element type that the argument `dtype` names."""
    node = given.get("dtype")
    if node is None:
        return default
    value = context.value(node)
    spelled: Any = value.object if isinstance(value, Static) else None
    try:
        return ARRAY_DTYPES[np.dtype(spelled).name]
    except (TypeError, KeyError):
        known = ", ".join(element.spelling for element in ARRAY_DTYPES.values())
        raise context.error(node, f"the dtype of an array in a kernel is one of {known}") from None


def _sizes(context: Context, node: ast.expr) -> list[Number]:
    shape = context.value(node)
    sizes = [_size(context, node, item) for item in (shape.items if isinstance(shape, Tuple) else (shape,))]
    if not sizes:
        raise Refusal("an array needs at least one dimension")
    return sizes


def _size(context: Context, node: ast.expr, value: Value) -> Number:
    if not isinstance(value, Number):
        raise context.error(node, f"this is {describe(value)}, where a size is needed")
    with context.at(node):
        size = context.numbers.integer(value, "a size")
    if size.constant is not None and size.constant < 0:
        raise context.error(node, f"the size {size.constant} is negative")
    return size
