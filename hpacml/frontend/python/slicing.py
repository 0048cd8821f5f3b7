"""Views of arrays: other elements of the same memory."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from itertools import dropwhile

from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, StridedLayoutAttr
from xdsl.dialects.memref import CastOp, ExtractStridedMetaDataOp, ReinterpretCastOp, SubviewOp
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.layouts import layout_of_memref, memref_of_layout
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import Refusal
from hpacml.frontend.python.values import Array, Part, Value
from hpacml.runtime.arrays.views import Layout


def view(context: Context, array: Array, parts: Sequence[Part]) -> Array:
    """The view that has these parts of the dimensions of an array."""
    if all(part.is_whole for part in parts):
        return array
    if any(part.is_index for part in parts) and any(part.size.constant == 1 and not part.is_index for part in parts):
        return _view_in_two_steps(context, array, parts)
    if 0 in array.sizes or any(part.size.constant == 0 for part in parts):
        return _empty(context, array, parts)

    def known(number: Number) -> SSAValue | int:
        return context.numbers.ssa(number) if number.constant is None else int(number.constant)

    sizes = [known(part.size) for part in parts]
    offsets = [known(part.start) for part in parts]
    steps = [part.step for part in parts]
    whole = SubviewOp.infer_result_type(array.value.type, offsets, sizes, steps)
    kept = [axis for axis, part in enumerate(parts) if not part.is_index]
    strides, shape = strides_of(whole), whole.get_shape()
    layout = StridedLayoutAttr([strides[axis] for axis in kept], whole.get_offset())
    result = MemRefType(whole.element_type, [shape[axis] for axis in kept], layout)
    found = _as_array(context, array, context.emit.value(SubviewOp.get(array.value, offsets, sizes, steps, result)))
    return replace(found, parent=array.value, parts=tuple(parts))


def _empty(context: Context, array: Array, parts: Sequence[Part]) -> Array:
    """A view that is known to have no elements. A subview would begin outside of the array, which MLIR refuses."""
    metadata = ExtractStridedMetaDataOp(array.value)
    context.emit.op(metadata)
    sizes = [part.size for part in parts if not part.is_index]
    known = [context.numbers.ssa(size) if size.constant is None else int(size.constant) for size in sizes]
    shape = [size if isinstance(size, int) else DYNAMIC_INDEX for size in known]
    result = MemRefType(array.value.type.element_type, shape, StridedLayoutAttr([1] * len(shape), None))
    op = ReinterpretCastOp.from_dynamic(metadata.base_buffer, [metadata.offset], known, [1] * len(shape), result)
    return _as_array(context, array, context.emit.value(op))


def _view_in_two_steps(context: Context, array: Array, parts: Sequence[Part]) -> Array:
    """A view that first keeps the sizes of 1 that indices leave: MLIR takes them for those of slices of one element."""
    kept = view(context, array, [replace(part, is_index=False, is_whole=False) for part in parts])
    axes = [axis for axis, part in enumerate(parts) if not part.is_index]
    return replace(rearranged(context, kept, axes), parent=array.value, parts=tuple(parts))


def rearranged(context: Context, array: Array, axes: Sequence[int | None]) -> Array:
    """The view that has the dimensions `axes` of an array; None is a new one of size 1."""
    metadata = ExtractStridedMetaDataOp(array.value)
    context.emit.op(metadata)
    shape, strides = array.value.type.get_shape(), strides_of(array.value.type)
    sizes: list[SSAValue | int] = []
    steps: list[SSAValue | int] = []
    for axis in axes:
        size = 1 if axis is None else shape[axis]
        step = 1 if axis is None else strides[axis]
        sizes.append(metadata.sizes[axis] if size == DYNAMIC_INDEX and axis is not None else size)
        steps.append(metadata.strides[axis] if step is None and axis is not None else step or 0)
    layout = StridedLayoutAttr([step if isinstance(step, int) else None for step in steps], None)
    result = MemRefType(
        array.value.type.element_type, [size if isinstance(size, int) else DYNAMIC_INDEX for size in sizes], layout
    )
    op = ReinterpretCastOp.from_dynamic(metadata.base_buffer, [metadata.offset], sizes, steps, result)
    kept = [axis for axis in axes if axis is not None]
    return replace(_as_array(context, array, context.emit.value(op)), in_order=array.in_order and kept == sorted(kept))


def reshaped(context: Context, node: ast.AST, array: Array, sizes: Sequence[Value]) -> Array:
    """`array.reshape(sizes)` of an array without gaps. Raises `Refusal` for others, and for sizes that do not fit."""
    is_packed = layout_of_memref(array.value.type) is Layout.PACKED
    if not is_packed and not _is_packed_part(array):
        raise Refusal(
            "reshape is of packed arrays, and this one may have gaps: write .copy() before it, which is other memory"
        )
    if not array.in_order:
        raise Refusal(
            "reshape may be a copy here, as NumPy's array may lie in memory in another order: make it by np.empty(...) "
            "of its shape, and assign b[:] = ..."
        )
    numbers = context.numbers
    total = context.count([context.size(array, axis) for axis in range(len(array.sizes))])
    wanted = [numbers.integer(context.as_number(size, node), "a size") for size in sizes]
    free = [axis for axis, size in enumerate(wanted) if size.constant == -1]
    if len(free) > 1 or not wanted:
        raise Refusal("reshape takes sizes, of which one may be -1")
    others = context.count([size for axis, size in enumerate(wanted) if axis not in free])
    if free:
        wanted[free[0]] = replace(numbers.binary(ast.FloorDiv, total, others), bound=0)
        others = numbers.binary(ast.Mult, others, wanted[free[0]])
    context.require_equal(node, others, total, "{wanted} elements cannot have a shape of {given}")
    shape = [DYNAMIC_INDEX if size.constant is None else int(size.constant) for size in wanted]
    result = MemRefType(array.value.type.element_type, shape)
    known = [numbers.ssa(size) if size.constant is None else int(size.constant) for size in wanted]
    steps: list[SSAValue | int] = []
    for axis, step in enumerate(strides_of(result)):
        behind = context.count(wanted[axis + 1 :])
        steps.append(numbers.ssa(behind) if step is None else step)
    if not is_packed:
        return _reinterpreted(context, array, known, steps, result)
    op = ReinterpretCastOp.from_dynamic(array.value, [0], known, steps, _strided(result))
    memory = SSAValue.get(context.emit.value(op), type=MemRefType)
    return replace(array, name="", value=cast(context, memory, result), parent=None, parts=())


def _is_packed_part(array: Array) -> bool:
    """Whether this is what indices and then a slice take of a packed array without gaps, as `m[1:3]` and `c[0, 1:]`."""
    if array.parent is None or layout_of_memref(SSAValue.get(array.parent, type=MemRefType).type) is not Layout.PACKED:
        return False
    rest = list(dropwhile(lambda part: part.is_index, array.parts))
    return all(part.step == 1 for part in rest[:1]) and all(part.is_whole for part in rest[1:])


def _reinterpreted(
    context: Context, array: Array, sizes: Sequence[SSAValue | int], steps: Sequence[SSAValue | int], type: MemRefType
) -> Array:
    """The memory from the first element of an array on, in other dimensions."""
    metadata = ExtractStridedMetaDataOp(array.value)
    context.emit.op(metadata)
    result = MemRefType(type.element_type, type.get_shape(), StridedLayoutAttr(strides_of(type), None))
    op = ReinterpretCastOp.from_dynamic(metadata.base_buffer, [metadata.offset], sizes, steps, result)
    return _as_array(context, array, context.emit.value(op))


def retyped(context: Context, memory: SSAValue[MemRefType], type: MemRefType) -> SSAValue[MemRefType]:
    """Memory as another type of array, of which no element is used: its sizes that only the run knows are 0."""
    shape = [0 if size == DYNAMIC_INDEX else size for size in type.get_shape()]
    packed = MemRefType(type.element_type, shape)
    steps = [step or 0 for step in strides_of(packed)]
    op = ReinterpretCastOp.from_dynamic(memory, [0], shape, steps, _strided(packed))
    found = SSAValue.get(context.emit.value(op), type=MemRefType)
    return cast(context, cast(context, found, packed), type)


def _strided(type: MemRefType) -> MemRefType:
    return MemRefType(type.element_type, type.get_shape(), StridedLayoutAttr(strides_of(type), 0))


def _as_array(context: Context, array: Array, memory: SSAValue) -> Array:
    """A view of an array, in one of the layouts that arrays have."""
    type = SSAValue.get(memory, type=MemRefType).type
    strides = strides_of(type)
    layout = Layout.ROWS if strides and strides[-1] == 1 else Layout.STRIDED
    return replace(
        array,
        name="",
        value=cast(context, memory, memref_of_layout(type.element_type, type.get_shape(), layout)),
        parent=None,
        parts=(),
    )


def cast(context: Context, memory: SSAValue, type: MemRefType) -> SSAValue[MemRefType]:
    """The same memory as another type of array."""
    found = memory if memory.type == type else context.emit.value(CastOp.get(memory, type))
    return SSAValue.get(found, type=MemRefType)


def is_in_rows(type: MemRefType) -> bool:
    """Whether neighbours in the last dimension are neighbours in memory."""
    return layout_of_memref(type) is not Layout.STRIDED
