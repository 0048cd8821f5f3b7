"""Whether arrays share memory, which decides whether an assignment may write while it reads."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import reduce

from xdsl.dialects.arith import AddiOp, AndIOp, CmpiOp, MaxSIOp, MinSIOp, MuliOp, OrIOp, SubiOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, StridedLayoutAttr, i1
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.dialects.memref import (
    AllocOp,
    CastOp,
    ExtractAlignedPointerAsIndexOp,
    ExtractStridedMetaDataOp,
    ReinterpretCastOp,
    SubviewOp,
)
from xdsl.ir import Region, SSAValue

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dtypes import DTYPES
from hpacml.frontend.python import slicing
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import INT
from hpacml.frontend.python.values import Array, Part
from hpacml.passes.common.origins import MEET


def any_of(context: Context, target: Array, sources: Sequence[Array]) -> SSAValue | None:
    """Whether the target shares memory with a source at other indices than its own, None if it cannot."""
    found = [shared for source in dict.fromkeys(sources) if (shared := _of(context, target, source)) is not None]
    return reduce(lambda a, b: context.emit.value(OrIOp(a, b)), found) if found else None


def _of(context: Context, target: Array, source: Array) -> SSAValue | None:
    if source.value is target.value or _are_apart(target, source):
        return None
    if source.parent is not None and source.parent is target.parent:
        return _of_slices(context, target, source)
    return _of_memory(context, target, source)


def _are_apart(a: Array, b: Array) -> bool:
    """Whether arrays are known to lie in different memory."""
    if a.is_constant or b.is_constant:
        return True
    roots = [root(array.value) for array in (a, b)]
    made = [isinstance(root.owner, AllocOp) for root in roots]
    given = [bool(array.parameters) and array.home is None for array in (a, b)]
    return any(made) and roots[0] is not roots[1] and all(m or g for m, g in zip(made, given, strict=True))


def root(memory: SSAValue) -> SSAValue:
    """The array of which this is a view, as far as the code tells."""
    while isinstance(memory.owner, SubviewOp | CastOp | ReinterpretCastOp | ExtractStridedMetaDataOp):
        memory = memory.owner.source
    return memory


# -- slices of one array -------------------------------------------------------------------------


def _of_slices(context: Context, target: Array, source: Array) -> SSAValue | None:
    pairs = list(zip(target.parts, source.parts, strict=True))
    # Two indices are the same, and so are the elements then, or the slices have none in common.
    harmless = all(_are_same(context, a, b) or (a.is_index and b.is_index) for a, b in pairs)
    if harmless or any(_alternate(a, b) for a, b in pairs):
        return None
    conditions: list[SSAValue] = []
    for a, b in pairs:
        if a.is_whole or b.is_whole:
            continue
        (low, high), (other_low, other_high) = _ends(context, a), _ends(context, b)
        for x, y in ((low, other_high), (other_low, high)):
            meets = context.numbers.compare(ast.LtE, x, y)
            if meets.constant is None:
                conditions.append(context.numbers.ssa(meets))
            elif not meets.constant:
                return None
    if not conditions:
        return context.emit.constant(True, i1)
    return reduce(lambda a, b: context.emit.value(AndIOp(a, b)), conditions)


def _are_same(context: Context, a: Part, b: Part) -> bool:
    """Whether two parts of a dimension, of which one is repeated if its size is 1, have the same elements in order."""
    repeated = (a.size.constant == 1) != (b.size.constant == 1)
    return context.are_equal(a.start, b.start) and a.step == b.step and a.is_index == b.is_index and not repeated


def _alternate(a: Part, b: Part) -> bool:
    """Whether two parts of a dimension have no element in common because of their steps, as even and odd ones."""
    if a.step != b.step or a.start.constant is None or b.start.constant is None or a.is_index or b.is_index:
        return False
    return (int(a.start.constant) - int(b.start.constant)) % a.step != 0


def _ends(context: Context, part: Part) -> tuple[Number, Number]:
    """The least and the greatest index of a part that is not empty."""
    if part.is_index:
        return part.start, part.start
    binary = context.numbers.binary
    distance = binary(ast.Mult, binary(ast.Sub, part.size, Number(INT, 1)), Number(INT, part.step))
    last = binary(ast.Add, part.start, distance)
    return (part.start, last) if part.step > 0 else (last, part.start)


# -- memory --------------------------------------------------------------------------------------


def _of_memory(context: Context, target: Array, source: Array) -> SSAValue:
    """Whether the extents of two arrays in memory meet."""
    types = [_any_strides(array.value.type) for array in (target, source)]
    memory = [slicing.cast(context, array.value, type) for array, type in zip((target, source), types, strict=True)]
    name = f"{MEET}{'_'.join(f'{type.get_num_dims()}x{type.element_type}' for type in types)}"
    context.emit.declare(name, lambda: _meet(context.emit, name, types))
    return context.emit.value(CallOp(name, memory, [i1]))


def _any_strides(type: MemRefType) -> MemRefType:
    rank = type.get_num_dims()
    return MemRefType(type.element_type, [DYNAMIC_INDEX] * rank, StridedLayoutAttr([None] * rank, None))


def _meet(emit: Emitter, name: str, types: Sequence[MemRefType]) -> FuncOp:
    """The function that tells whether the extents of two arrays, which are not empty, meet."""
    with emit.function(types) as block:
        (low, high), (other_low, other_high) = (_extent(emit, argument) for argument in block.args)
        before = emit.value(CmpiOp(low, other_high, "slt"))
        after = emit.value(CmpiOp(other_low, high, "slt"))
        emit.op(ReturnOp(emit.value(AndIOp(before, after))))
    return FuncOp(name, (types, [i1]), Region(block), "private")


def _extent(emit: Emitter, argument: SSAValue) -> tuple[SSAValue, SSAValue]:
    """The address of the first byte of an array, and that after its last."""
    memory = SSAValue.get(argument, type=MemRefType)
    metadata = ExtractStridedMetaDataOp(memory)
    emit.op(metadata)
    zero, one = emit.index(0), emit.index(1)
    low = high = metadata.offset
    for size, stride in zip(metadata.sizes, metadata.strides, strict=True):
        reach = emit.value(MuliOp(emit.value(SubiOp(size, one)), stride))
        low = emit.value(AddiOp(low, emit.value(MinSIOp(reach, zero))))
        high = emit.value(AddiOp(high, emit.value(MaxSIOp(reach, zero))))
    start = emit.value(ExtractAlignedPointerAsIndexOp.get(memory))
    width = emit.index(DTYPES[dtype_name(memory.type.element_type)].size)
    first = emit.value(AddiOp(start, emit.value(MuliOp(low, width))))
    end = emit.value(AddiOp(start, emit.value(MuliOp(emit.value(AddiOp(high, one)), width))))
    return first, end
