"""Parts of strided memory, less the dimensions that they have one place in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import memref
from xdsl.dialects.builtin import MemRefType, StridedLayoutAttr
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.passes.common.located import Builder


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
