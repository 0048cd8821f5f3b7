"""`hpacml-copy-for-points`: original code that is asked for some points runs whole, on copies of what it may write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, ModuleOp, StridedLayoutAttr
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.original_code import BodyAsideOp, BodyWhereOp, CallPythonOp, KeepRandomOp
from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.functors.targets import heads
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.mappings import map_of
from hpacml.passes.common.merging import take_originals
from hpacml.passes.common.point_loops import each_point, size, sizes_of
from hpacml.passes.common.strided import are_apart


@dataclass(frozen=True)
class HpacmlCopyForPointsPass(ModulePass):
    """
    The arrays that the code may write are copied, it runs on the copies, and what the outputs' maps find there at the
    rejected points is taken. Arrays that share memory in a call, or whose copies have not their types, are written and
    become again what they were.

    ```mlir
    hpacml.body_where "r" @r_body(%t, %u) at %mask from (%in) to (%out) into (%y)     // %out maps %u
    ```
    becomes
    ```mlir
    scf.if %apart {                                                                   // %u from %t
      %copy = memref.alloc(...)                                                       // the elements of %u
      hpacml.body "r" @r_body(%t, %copy)
      %made = hpacml.map from @g(%copy[...])
      hpacml.gather %made into %original
      hpacml.merge %original into %y at %mask
    } else {
      %kept = memref.alloc(...)                                                       // the elements of %u
      hpacml.body "r" @r_body(%t, %u)
      hpacml.gather %out into %original
      hpacml.merge %original into %y at %mask
      ...                                                                             // those of %kept, into %u
    }
    ```
    `hpacml.body_aside` becomes the same for all points, without a mask. Code in Python, which may write any array that
    it can reach, copies what it needs itself.
    """

    name = "hpacml-copy-for-points"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for body in list(op.walk()):
            if isinstance(body, BodyWhereOp):
                _run(body, Builder(InsertPoint.before(body)))
                Rewriter.erase_op(body)
            elif isinstance(body, BodyAsideOp):
                builder = Builder(InsertPoint.before(body))
                builder.insert(KeepRandomOp())
                _run(body, builder)
                builder.insert(KeepRandomOp(restore=True))
                Rewriter.erase_op(body)


def _run(op: BodyWhereOp | BodyAsideOp, builder: Builder) -> None:
    """Run the code, and take what it writes, at the points that a mask rejects or at all."""
    # Few programs have guards, and all others do not load the dialects of what may write.
    from hpacml.passes.common.written_memory import written_arguments

    written = list(dict.fromkeys(op.arguments[k] for k in sorted(written_arguments(op.function))))
    if any(isinstance(each, CallPythonOp) for each in op.function.body.walk()):
        _on_copies(op, {array: _room(array, builder) for array in written}, builder)
        return
    a = IndexArithmetic(builder)

    def on_copies(inner: IndexArithmetic) -> None:
        rooms = {array: _room(array, inner.builder) for array in written}
        for array, room in rooms.items():
            _copy(array, room, inner.builder)
        _on_copies(op, rooms, inner.builder)

    def in_place(inner: IndexArithmetic) -> None:
        _in_place(op, written, inner.builder)

    match _may_be_copied(op, written, a):
        case True:
            on_copies(a)
        case False:
            in_place(a)
        case condition:
            where(a.truth(condition), on_copies, a, in_place)


def _may_be_copied(op: BodyWhereOp | BodyAsideOp, written: Sequence[SSAValue], a: IndexArithmetic) -> Condition:
    """Whether copies of arrays can stand for them: others would have to be copied together with them."""
    if not all(_has_any_strides(cast(MemRefType, array.type)) for array in written):
        return False
    arrays = list(dict.fromkeys(each for each in op.arguments if isinstance(each.type, MemRefType)))
    pairs = [(one, other) for k, one in enumerate(arrays) for other in arrays[:k]]
    return a.all([are_apart(*pair, a) for pair in pairs if not set(written).isdisjoint(pair)])


def _has_any_strides(array_type: MemRefType) -> bool:
    """Whether packed memory has a type, or the layout leaves the strides open."""
    layout = array_type.layout
    if not isinstance(layout, StridedLayoutAttr):
        return True
    return all(each is None for each in layout.get_strides()) and layout.get_offset() in (None, 0)


def _on_copies(op: BodyWhereOp | BodyAsideOp, rooms: Mapping[SSAValue, SSAValue], builder: Builder) -> None:
    """Run the code on memory that stands for arrays. Indices that lead to elements are those that are not copied."""
    copies = {array: _with_type(room, array, builder) for array, room in rooms.items()}
    name = op.callee.root_reference.data
    builder.insert(BodyOp(op.label, name, [copies.get(each, each) for each in op.arguments]))
    made: list[SSAValue] = []
    for mapping in op.outputs:
        map_op = map_of(mapping, op)
        targets = {map_op.arrays[n] for n in heads(map_op.trees)}
        own = map_op.clone({array: copy for array, copy in copies.items() if array in targets})
        made.append(builder.insert(own).mapping)
    take_originals(op, _mask(op), builder, made)
    for room in rooms.values():
        builder.insert(memref.DeallocOp.get(room))


def _in_place(op: BodyWhereOp | BodyAsideOp, written: Sequence[SSAValue], builder: Builder) -> None:
    """Run the code on the arrays themselves, which become again what they were."""
    kept = {array: _room(array, builder) for array in written}
    for array, room in kept.items():
        _copy(array, room, builder)
    builder.insert(BodyOp(op.label, op.callee.root_reference.data, list(op.arguments)))
    take_originals(op, _mask(op), builder)
    for array, room in kept.items():
        _copy(room, array, builder)
        builder.insert(memref.DeallocOp.get(room))


def _mask(op: BodyWhereOp | BodyAsideOp) -> SSAValue | None:
    return op.mask if isinstance(op, BodyWhereOp) else None


def _with_type(room: SSAValue, array: SSAValue, builder: Builder) -> SSAValue:
    """Memory with the type of an array."""
    array_type = cast(MemRefType, array.type)
    return room if room.type == array_type else builder.insert(memref.CastOp.get(room, array_type)).dest


def _room(array: SSAValue, builder: Builder) -> SSAValue:
    """Memory for a copy of an array."""
    array_type = cast(MemRefType, array.type)
    shape = array_type.get_shape()
    dynamic = [size(array, d, builder) for d, known in enumerate(shape) if known == DYNAMIC_INDEX]
    room = builder.insert(memref.AllocOp(dynamic, [], MemRefType(array_type.element_type, shape))).memref
    room.name_hint = "copy"
    return room


def _copy(source: SSAValue, target: SSAValue, builder: Builder) -> None:
    def copy(place: Sequence[SSAValue], inner: Builder) -> None:
        element = inner.insert(memref.LoadOp.get(source, place)).res
        inner.insert(memref.StoreOp.get(element, target, place))

    each_point(sizes_of(source, builder), copy, builder)
