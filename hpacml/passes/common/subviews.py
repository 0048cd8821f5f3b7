"""Memory of tiles and images, and parts of it, less the dimensions that they have one place in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import memref
from xdsl.dialects.builtin import IntegerAttr, MemRefType, StridedLayoutAttr, i64
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.dialects.hpacml.packing import view_type
from hpacml.passes.common.located import Builder, refusal

ALIGNMENT = 64
"""The bytes of the longest vectors."""


def allocated(type: MemRefType, builder: Builder) -> SSAValue:
    """New memory for vectors."""
    return builder.insert(memref.AllocOp([], [], type, IntegerAttr(ALIGNMENT, i64))).memref


def points(view: SSAValue, first: SSAValue | int, count: SSAValue | int, dropped: int, builder: Builder) -> SSAValue:
    """Some points of a view, whose first dimension is theirs, without its first `dropped` dimensions."""
    memory = view_type(view)
    if not isinstance(memory, MemRefType):
        raise refusal(view.owner, "images are read from memory, not through indices")
    rest = memory.get_shape()[1:]
    return subview(view, [first, *[0] * len(rest)], [count, *rest], dropped, builder)


def subview(
    view: SSAValue, offsets: Sequence[SSAValue | int], sizes: Sequence[SSAValue | int], dropped: int, builder: Builder
) -> SSAValue:
    """The part of memory that begins at `offsets`, without its first `dropped` dimensions, whose sizes are 1."""
    memory = cast(MemRefType, view.type)
    steps = [1] * len(offsets)
    whole = memref.SubviewOp.infer_result_type(memory, offsets, sizes, steps)
    layout = StridedLayoutAttr(strides_of(whole)[dropped:], whole.get_offset())
    result = MemRefType(whole.element_type, whole.get_shape()[dropped:], layout)
    return builder.insert(memref.SubviewOp.get(view, offsets, sizes, steps, result)).result
