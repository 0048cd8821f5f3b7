"""`hpacml-copy-for-points`: original code that is asked for some points runs whole, and what it writes is restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.original_code import BodyAsideOp, BodyWhereOp, KeepRandomOp
from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.merging import take_originals
from hpacml.passes.common.point_loops import each_point, size, sizes_of


@dataclass(frozen=True)
class HpacmlCopyForPointsPass(ModulePass):
    """
    The arrays that the code may write are copied, it runs on the arrays themselves, as they may share memory, what the
    outputs' maps find at the rejected points is taken, and the arrays become again what they were.

    ```mlir
    hpacml.body_where "r" @r_body(%t, %u) at %mask from (%in) to (%out) into (%y)     // %out maps %u
    ```
    becomes
    ```mlir
    %kept = memref.alloc(...)                                                         // the elements of %u
    hpacml.body "r" @r_body(%t, %u)
    hpacml.gather %out into %original
    hpacml.merge %original into %y at %mask
    ...                                                                               // those of %kept, into %u
    ```
    `hpacml.body_aside` becomes the same for all points, without a mask.
    """

    name = "hpacml-copy-for-points"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for body in list(op.walk()):
            if isinstance(body, BodyWhereOp):
                _run(body, body.mask, Builder(InsertPoint.before(body)))
                Rewriter.erase_op(body)
            elif isinstance(body, BodyAsideOp):
                builder = Builder(InsertPoint.before(body))
                builder.insert(KeepRandomOp())
                _run(body, None, builder)
                builder.insert(KeepRandomOp(restore=True))
                Rewriter.erase_op(body)


def _run(op: BodyWhereOp | BodyAsideOp, mask: SSAValue | None, builder: Builder) -> None:
    """Run the code, and take what it writes, at the points that a mask rejects or at all."""
    # Few programs have guards, and all others do not load the dialects of what may write.
    from hpacml.passes.common.written_memory import written_arguments

    written = dict.fromkeys(op.arguments[k] for k in sorted(written_arguments(op.function)))
    kept = {array: _room(array, builder) for array in written}
    for array, room in kept.items():
        _copy(array, room, builder)
    builder.insert(BodyOp(op.label, op.callee.root_reference.data, list(op.arguments)))
    take_originals(op, mask, builder)
    for array, room in kept.items():
        _copy(room, array, builder)
        builder.insert(memref.DeallocOp.get(room))


def _room(array: SSAValue, builder: Builder) -> SSAValue:
    """Memory for a copy of an array."""
    array_type = cast(MemRefType, array.type)
    shape = array_type.get_shape()
    dynamic = [size(array, d, builder) for d, known in enumerate(shape) if known == DYNAMIC_INDEX]
    room = builder.insert(memref.AllocOp(dynamic, [], MemRefType(array_type.element_type, shape))).memref
    room.name_hint = "kept"
    return room


def _copy(source: SSAValue, target: SSAValue, builder: Builder) -> None:
    def copy(place: Sequence[SSAValue], inner: Builder) -> None:
        element = inner.insert(memref.LoadOp.get(source, place)).res
        inner.insert(memref.StoreOp.get(element, target, place))

    each_point(sizes_of(source, builder), copy, builder)
