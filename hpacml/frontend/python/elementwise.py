"""Expressions of arrays: NumPy's operators and functions, element by element, in one sweep without arrays between."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import IndexType, MemRefType
from xdsl.dialects.memref import AllocOp, DeallocOp
from xdsl.dialects.scf import IfOp, ParallelOp, ReduceOp, YieldOp
from xdsl.ir import Region, SSAValue

from hpacml.frontend.python import allocation, overlap, slicing
from hpacml.frontend.python.context import MISSING, Context
from hpacml.frontend.python.forms import Form
from hpacml.frontend.python.functions import is_pure
from hpacml.frontend.python.layouts import memref_of_layout
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import ARRAY_DTYPES, BOOL, FLOAT, INT, NP_BOOL, Refusal, ScalarType
from hpacml.frontend.python.values import Array, Elements, Value, describe
from hpacml.runtime.arrays.views import Layout

_MISFIT = "arrays of {given} and {wanted} elements in one dimension do not fit together"


def is_array(value: Value) -> bool:
    """Whether a value has elements."""
    return isinstance(value, Array | Elements)


def whole(context: Context, value: Value) -> Elements:
    """An array or an expression of arrays, as an expression. Raises `Refusal` for other values."""
    if not isinstance(value, Array | Elements):
        raise Refusal(f"this is {describe(value)}, where an array is needed")
    return elements(context, value)


def computed(context: Context, value: Value) -> Value:
    """A value that later changes of arrays do not change: an expression of arrays as a new array."""
    return array_of(context, value) if isinstance(value, Elements) else value


def array(context: Context, node: ast.expr) -> Array:
    """The value of an expression, an array."""
    value = context.value(node)
    with context.at(node):
        return value if isinstance(value, Array) else array_of(context, whole(context, value))


def operands(context: Context, *nodes: ast.expr) -> list[Value]:
    """The values of expressions, in their order: what a later one changes, an earlier one has read before."""
    values: list[Value] = []
    for position, node in enumerate(nodes):
        value = context.value(node)
        if isinstance(value, Elements) and any(may_write(context, later) for later in nodes[position + 1 :]):
            value = array_of(context, value)
        values.append(value)
    return values


def may_write(context: Context, node: ast.expr) -> bool:
    """Whether the code of an expression may write arrays."""
    for callee in [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]:
        found = context.static(callee)
        is_method = found is MISSING and isinstance(callee, ast.Attribute) and callee.attr != "fill"
        if not is_method and not is_pure(found):
            return True
    return any(isinstance(each, ast.Attribute) and _runs_code(context, each) for each in ast.walk(node))


def _runs_code(context: Context, node: ast.Attribute) -> bool:
    """Whether this is a property of a bundle that is a variable."""
    owner = context.variables.get(ast.unparse(node.value))
    type = owner.type if isinstance(owner, Form) else None
    return type is not None and isinstance(inspect.getattr_static(type, node.attr, None), property)


def lifted(
    context: Context, node: ast.AST, function: Callable[..., Number], operands: Sequence[Value]
) -> Number | Elements:
    """A function of numbers applied to each element of arrays, which are broadcast as in NumPy.

    Raises `Refusal` for other operands.
    """
    known: list[Number | Elements] = [_operand(context, operand) for operand in operands]
    arrays = [each for each in known if isinstance(each, Elements)]
    if not arrays:
        return function(*known)
    sizes = broadcast(context, node, [each.sizes for each in arrays])

    def at(indices: Sequence[SSAValue]) -> Number:
        with context.at(node):
            return function(*(_element(context, each, indices) for each in known))

    element = type_of(context, function, known)
    return Elements(element, sizes, at, tuple(array for each in arrays for array in each.arrays))


def _operand(context: Context, value: Value) -> Number | Elements:
    match value:
        case Number() | Elements():
            return value
        case Array():
            return elements(context, value)
        case _:
            raise Refusal(f"this is {describe(value)}, where a number or an array is needed")


def elements(context: Context, value: Array | Elements) -> Elements:
    """An array as an expression."""
    if isinstance(value, Elements):
        return value
    sizes = tuple(context.size(value, axis) for axis in range(len(value.sizes)))
    return Elements(value.element, sizes, lambda indices: context.load(value, indices), (value,))


def _element(context: Context, value: Number | Elements, indices: Sequence[SSAValue]) -> Number:
    """The element of an operand for an element of the result; a size of 1 is repeated."""
    if isinstance(value, Number):
        return value
    own = indices[len(indices) - len(value.sizes) :]
    zero = context.emit.index(0)
    return value.at([zero if size.constant == 1 else index for size, index in zip(value.sizes, own, strict=True)])


def type_of(context: Context, function: Callable[..., Number], operands: Sequence[Number | Elements]) -> ScalarType:
    """The element type of a result, from code that is thrown away."""
    with context.emit.block([each.element.ir for each in operands if isinstance(each, Elements)]) as block:
        arguments = iter(block.args)
        samples = [Number(each.element, next(arguments)) if isinstance(each, Elements) else each for each in operands]
        found = function(*samples).type
    return element_type(found)


def element_type(type: ScalarType) -> ScalarType:
    """The type of the elements of an array of such numbers."""
    return {BOOL: NP_BOOL, INT: ARRAY_DTYPES["int64"], FLOAT: ARRAY_DTYPES["float64"]}.get(type, type)


# -- shapes --------------------------------------------------------------------------------------


def broadcast(context: Context, node: ast.AST, shapes: Sequence[Sequence[Number]]) -> tuple[Number, ...]:
    """The sizes of a result. Sizes of 1 that are known when the kernel is compiled are repeated.

    Code checks that other sizes are equal. Raises `Refusal` where they cannot be.
    """
    rank = max(map(len, shapes))
    sizes: list[Number] = []
    for axis in range(-rank, 0):
        given = [shape[axis] for shape in shapes if len(shape) >= -axis]
        others = [size for size in given if size.constant != 1] or given[:1]
        known = [size for size in others if size.constant is not None]
        chosen = known[0] if known else others[0]
        for size in others:
            context.require_equal(node, size, chosen, _MISFIT)
        sizes.append(chosen)
    return tuple(sizes)


# -- sweeps --------------------------------------------------------------------------------------


def sweep(context: Context, sizes: Sequence[SSAValue], body: Callable[[Sequence[SSAValue]], None]) -> None:
    """Emit a loop over all indices of these sizes, in any order."""
    emit = context.emit
    zero, one = emit.index(0), emit.index(1)
    with emit.block([IndexType()] * len(sizes)) as block:
        body(block.args)
        emit.op(ReduceOp())
    emit.op(ParallelOp([zero] * len(sizes), sizes, [one] * len(sizes), Region(block)))


def array_of(context: Context, value: Array | Elements) -> Array:
    """The array itself, or a new one that holds the elements of an expression."""
    if isinstance(value, Array):
        return value
    array = allocation.new(context, value.element, value.sizes, value.in_order)
    sizes = [context.numbers.ssa(size) for size in value.sizes]
    sweep(context, sizes, lambda indices: _store(context, array.value, array.element, indices, value.at(indices)))
    return array


def _store(
    context: Context, memory: SSAValue[MemRefType], element: ScalarType, indices: Sequence[SSAValue], value: Number
) -> None:
    context.emit.store(context.numbers.ssa(context.numbers.convert(value, element)), memory, indices)


def assign_to(context: Context, node: ast.AST, target: Value, value: Value) -> None:
    """Set the elements of an array of the application or of the kernel."""
    if not isinstance(target, Array):
        raise context.error(node, f"this is {describe(target)}, which has no elements to assign")
    context.note_write(node, target)
    assign(context, node, target, value)


def assign(context: Context, node: ast.AST, target: Array, value: Value) -> None:
    """`target[...] = value`, which is computed as if no array in it shared memory with the target.

    Raises `Refusal` for values that have no elements, and for sizes that do not fit.
    """
    source = _operand(context, value)
    sizes = [context.size(target, axis) for axis in range(len(target.sizes))]
    if isinstance(source, Elements):
        _fit(context, node, source, sizes)
    shared = overlap.any_of(context, target, source.arrays if isinstance(source, Elements) else ())
    extents = [context.numbers.ssa(size) for size in sizes]
    memory = target.value if shared is None else _elsewhere(context, target, sizes, shared)
    if isinstance(source, Number):
        source = context.numbers.convert(source, target.element)
        context.numbers.ssa(source)

    def body(indices: Sequence[SSAValue]) -> None:
        with context.at(node):
            _store(context, memory, target.element, indices, _element(context, source, indices))

    sweep(context, extents, body)
    if shared is None:
        return
    with context.emit.when(shared):
        sweep(
            context,
            extents,
            lambda indices: context.emit.store(context.emit.load(memory, indices), target.value, indices),
        )
        context.emit.op(DeallocOp.get(memory))


def _fit(context: Context, node: ast.AST, source: Elements, sizes: Sequence[Number]) -> None:
    given = source.sizes
    while len(given) > len(sizes) and given[0].constant == 1:
        given = given[1:]
    if len(given) > len(sizes):
        raise Refusal(f"this has {len(given)} dimensions, and what it is assigned to has {len(sizes)}")
    for size, wanted in zip(reversed(given), reversed(sizes), strict=False):
        if size.constant != 1:
            context.require_equal(node, size, wanted, _MISFIT)


def _elsewhere(context: Context, target: Array, sizes: Sequence[Number], shared: SSAValue) -> SSAValue[MemRefType]:
    """The memory of the target, or other memory if `shared`."""
    emit, type = context.emit, target.value.type
    layout = Layout.ROWS if slicing.is_in_rows(type) else Layout.STRIDED
    common = memref_of_layout(type.element_type, type.get_shape(), layout)
    dynamic = [context.numbers.ssa(size) for size in sizes if size.constant is None]
    packed = MemRefType(type.element_type, type.get_shape())
    with emit.block() as other:
        emit.op(YieldOp(slicing.cast(context, emit.value(AllocOp(dynamic, [], packed)), common)))
    with emit.block() as same:
        emit.op(YieldOp(slicing.cast(context, target.value, common)))
    memory = emit.value(IfOp(shared, [common], Region(other), Region(same)))
    return SSAValue.get(memory, type=MemRefType)
