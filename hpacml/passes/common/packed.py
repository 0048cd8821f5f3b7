"""Views whose elements lie in memory as a tensor has them: in its order, without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.packing import IndirectOp, sweep_dims
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.strided import metadata, packed_strides, reinterpret_cast


def is_packed(view: SSAValue, tensor: MemRefType, features: Sequence[int], a: IndexArithmetic) -> Condition:
    """Whether the memory of a view is that of a row-major tensor whose dimensions `features` are the view's own."""
    if isinstance(view.owner, IndirectOp) or list(features) != [*range(*_span(features))]:
        return False
    view_type = cast(MemRefType, view.type)
    if view_type.memory_space != tensor.memory_space:
        return False
    sweep = sweep_dims(tensor, features)
    before = sum(d < features[0] for d in sweep) if features else len(sweep)
    dims = range(view_type.get_num_dims())
    order = [*dims[:before], *dims[len(sweep) :], *dims[before : len(sweep)]]
    _, sizes, strides = metadata(view, a)
    expected = a.constant(1)
    conditions: list[Condition] = []
    for d in reversed(order):
        if sizes[d].as_int != 1:
            conditions.append(a.eq(strides[d], expected))
        expected = expected * sizes[d]
    return a.all(conditions)


def _span(features: Sequence[int]) -> tuple[int, int]:
    return (features[0], features[-1] + 1) if features else (0, 0)


def as_packed(view: SSAValue, sizes: Sequence[Poly], a: IndexArithmetic) -> SSAValue:
    """The memory of a packed view in dimensions of these sizes, row-major."""
    offset, _, _ = metadata(view, a)
    return reinterpret_cast(view, offset, sizes, packed_strides(sizes, a), a)
