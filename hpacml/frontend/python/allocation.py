"""Arrays that a kernel makes. They are freed at the end of the block that makes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.dialects.arith import CmpiOp, DivUIOp, MaxSIOp, OrIOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.dialects.memref import AllocOp
from xdsl.ir import SSAValue

from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import Refusal, ScalarType
from hpacml.frontend.python.values import Array

_MOST_BYTES = 1 << 62
"""The greatest size of an array in bytes."""


def new(context: Context, element: ScalarType, sizes: Sequence[Number], in_order: bool = True) -> Array:
    """An array of these sizes, whose elements are not set. NumPy's may have another order in memory."""
    _check_bytes(context, sizes, element.dtype.itemsize)
    shape = [DYNAMIC_INDEX if size.constant is None else int(size.constant) for size in sizes]
    dynamic = [context.numbers.ssa(size) for size in sizes if size.constant is None]
    op = AllocOp(dynamic, [], MemRefType(element.element, shape))
    memory = SSAValue.get(context.emit.value(op), type=MemRefType)
    return Array("", element, memory, home=context.emit.own(memory), in_order=in_order)


def _check_bytes(context: Context, sizes: Sequence[Number], itemsize: int) -> None:
    """Refuse negative sizes, and more than `_MOST_BYTES`. Sizes of 0 count as 1, as in NumPy."""
    emit, numbers = context.emit, context.numbers
    known = [max(int(size.constant), 1) for size in sizes if size.constant is not None]
    most = _MOST_BYTES // itemsize // math.prod(known)
    if most == 0:
        raise Refusal("no memory holds an array of this shape")
    left, wrong = emit.index(most), None
    unknown = [numbers.ssa(size) for size in sizes if size.constant is None]
    for position, size in enumerate(unknown):
        if position:
            left = emit.value(DivUIOp(left, emit.value(MaxSIOp(unknown[position - 1], emit.index(1)))))
        too_large = emit.value(CmpiOp(size, left, "ugt"))  # or negative
        wrong = too_large if wrong is None else emit.value(OrIOp(wrong, too_large))
    if wrong is None:
        return
    with emit.when(wrong):
        for position, size in enumerate(sizes):
            more = emit.index(len(sizes) - 1 - position)
            emit.call_runtime("hpacml_refuse_size", [numbers.ssa(size), more])
