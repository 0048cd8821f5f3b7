"""What depends on inferences."""

from __future__ import annotations

from typing import NamedTuple

from xdsl.dialects import scf
from xdsl.ir import Operation

from hpacml.dialects.hpacml.packing import UnpackOp
from hpacml.dialects.hpacml.steps import InferOp


class Success(NamedTuple):
    """An inference, and the branch whose first region runs if it is done."""

    infer: InferOp
    branch: scf.IfOp


def success(copy: Operation) -> Success | None:
    """The success of an inference on which alone an unpack depends; None for other copies."""
    branch = copy.parent_op()
    if not isinstance(copy, UnpackOp) or not isinstance(branch, scf.IfOp):
        return None
    infer = branch.cond.owner
    if not isinstance(infer, InferOp) or copy.parent is not branch.true_region.block:
        return None
    return Success(infer, branch)
