"""What original code has written, taken into tensors."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.gather_scatter import GatherOp, TensorOp
from hpacml.dialects.hpacml.masks import MergeOp
from hpacml.dialects.hpacml.original_code import BodyAsideOp, BodyWhereOp
from hpacml.passes.common.located import Builder
from hpacml.passes.common.mappings import functor_of, map_of


def take_originals(
    op: BodyWhereOp | BodyAsideOp, mask: SSAValue | None, builder: Builder, outputs: Sequence[SSAValue] | None = None
) -> None:
    """Take what code has written, where `outputs` or its own lead to, into its tensors: at the points that a mask
    rejects, or at all."""
    for mapping, tensor in zip(op.outputs if outputs is None else outputs, op.tensors, strict=True):
        if mask is None:
            builder.insert(GatherOp(mapping, tensor))
            continue
        map_op = map_of(mapping, op)
        original = builder.insert(TensorOp(mapping, fresh=True)).tensor
        original.name_hint = "original"
        builder.insert(GatherOp(mapping, original))
        builder.insert(MergeOp(original, tensor, functor_of(map_op, op).functor.feature_dims, mask))
