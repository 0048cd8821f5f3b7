"""Strided memrefs as numbers: reads their offset, sizes and strides, and makes new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IntegerType, MemRefType, StridedLayoutAttr
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.attributes import dtype_name, known, strides_of
from hpacml.dtypes import SIZES
from hpacml.functors.arithmetic import maximum, minimum
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic


def metadata(array: SSAValue, a: IndexArithmetic) -> tuple[Poly, list[Poly], list[Poly]]:
    """Offset, sizes and strides of an array: numbers from its type, and run-time values for the rest."""
    owner = array.owner
    if isinstance(owner, memref.ReinterpretCastOp):
        (offset,) = _given(owner.static_offsets, owner.offsets, a)
        sizes = _given(owner.static_sizes, owner.sizes, a)
        return offset, sizes, _given(owner.static_strides, owner.strides, a)
    array_type = cast(MemRefType, array.type)
    layout = array_type.layout
    base: int | SSAValue | None = layout.get_offset() if isinstance(layout, StridedLayoutAttr) else 0
    shape: list[int | SSAValue | None] = [known(size) for size in array_type.get_shape()]
    pitch: list[int | SSAValue | None] = list(strides_of(array_type))
    if base is None or None in shape or None in pitch:
        read = a.builder.insert(memref.ExtractStridedMetaDataOp(array))
        base = read.offset if base is None else base
        shape = [r if s is None else s for s, r in zip(shape, read.sizes, strict=True)]
        pitch = [r if s is None else s for s, r in zip(pitch, read.strides, strict=True)]
    return (
        a.number(base),
        [a.number(size) for size in shape if size is not None],
        [a.number(stride) for stride in pitch if stride is not None],
    )


def _given(static: DenseArrayBase[IntegerType], values: Sequence[SSAValue], a: IndexArithmetic) -> list[Poly]:
    """The numbers of an operation's mixed list of constants and operands."""
    operands = iter(values)
    return [a.number(next(operands) if n == DYNAMIC_INDEX else n) for n in static.get_values()]


def packed_strides(sizes: Sequence[Poly], a: IndexArithmetic) -> list[Poly]:
    """The strides of dense row-major memory."""
    strides: list[Poly] = []
    stride = a.constant(1)
    for size in reversed(sizes):
        strides.insert(0, stride)
        stride = stride * size
    return strides


def different_elements(
    array: SSAValue, sizes: Sequence[Poly], strides: Sequence[Poly], a: IndexArithmetic
) -> Condition:
    """A sufficient, not necessary condition for no two elements to share memory: strides nest.

    Known strides may nest in any order and be negative; unknown ones must nest in C's order or in Fortran's.
    """
    if not isinstance(cast(MemRefType, array.type).layout, StridedLayoutAttr):
        return True
    inner_last = list(zip(sizes, strides, strict=True))
    if all(stride.as_int is not None for stride in strides):
        known = [(size, a.constant(abs(stride.as_int or 0))) for size, stride in inner_last]
        return _nest(sorted(known, key=lambda pair: pair[1].as_int or 0), a)
    in_c = _nest(inner_last[::-1], a)
    return in_c if len(inner_last) < 2 or strides[-1].as_int == 1 else a.any([in_c, _nest(inner_last, a)])


def _nest(inner_first: Sequence[tuple[Poly, Poly]], a: IndexArithmetic) -> Condition:
    """Whether each stride, given with its size, is larger than what the ones before it reach."""
    conditions: list[Condition] = []
    next_free = one = a.constant(1)
    for size, stride in inner_first:
        conditions.append(a.any([a.le(size, one), a.le(next_free, stride)]))
        next_free = next_free + stride * (size - one)
    return a.all(conditions)


def address_range(
    array: SSAValue, offset: Poly, sizes: Sequence[Poly], strides: Sequence[Poly], a: IndexArithmetic
) -> tuple[Poly, Poly]:
    """The addresses of an array's first byte and of the byte after its last."""
    start = a.number(a.builder.insert(memref.ExtractAlignedPointerAsIndexOp.get(array)).aligned_pointer)
    width = a.constant(SIZES[dtype_name(cast(MemRefType, array.type).element_type)])
    low = high = offset
    zero, one = a.constant(0), a.constant(1)
    is_packed = not isinstance(cast(MemRefType, array.type).layout, StridedLayoutAttr)
    for size, stride in zip(sizes, strides, strict=True):
        span = stride * (size - one)
        if is_packed or (stride.as_int or 0) > 0:
            high = high + span
        else:
            low, high = low + minimum(zero, span, a), high + maximum(zero, span, a)
    return start + width * low, start + width * (high + one)


def apart(one: tuple[Poly, Poly], other: tuple[Poly, Poly], a: IndexArithmetic) -> Condition:
    """Whether two ranges of addresses do not overlap."""
    (low, high), (other_low, other_high) = one, other
    return a.any([a.le(high, other_low), a.le(other_high, low)])


def are_apart(one: SSAValue, other: SSAValue, a: IndexArithmetic) -> Condition:
    """Whether the addresses of two arrays show that they share no memory."""
    first, second = (address_range(each, *metadata(each, a), a) for each in (one, other))
    return apart(first, second, a)


def reinterpret_cast(
    source: SSAValue, offset: Poly, sizes: Sequence[Poly], strides: Sequence[Poly], a: IndexArithmetic
) -> SSAValue:
    """The memory of `source` seen through offset, sizes and strides (in elements), typed as far as known."""
    shape = [DYNAMIC_INDEX if size.as_int is None else size.as_int for size in sizes]
    if (offset.as_int or 0) < 0 and not isinstance(cast(MemRefType, source.type).layout, StridedLayoutAttr):
        offset = a.constant(0)  # the view is empty, or its guard fails; and MLIR takes no negative constant
    layout = StridedLayoutAttr([stride.as_int for stride in strides], offset.as_int)
    source_type = cast(MemRefType, source.type)
    view = memref.ReinterpretCastOp.from_dynamic(
        source,
        [a.mixed(offset)],
        [a.mixed(size) for size in sizes],
        [a.mixed(stride) for stride in strides],
        MemRefType(source_type.element_type, shape, layout, source_type.memory_space),
    )
    a.builder.insert(view)
    view.result.name_hint = source.name_hint
    return view.result
