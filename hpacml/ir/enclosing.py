"""Operations that become the original code of a region."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from xdsl.ir import Block, Operation
from xdsl.traits import IsolatedFromAbove, IsTerminator

from hpacml.dialects.hpacml.attributes import Mode
from hpacml.dialects.hpacml.control import MlOp
from hpacml.errors import DirectiveError


def outermost(block: Block) -> Operation | Block:
    """The function around a block, or whatever is outermost while there is none."""
    around = block.parent_op()
    while around is not None and not around.has_trait(IsolatedFromAbove):
        if around.parent is None:
            return around
        around = around.parent_op()
    return block if around is None else around


def require_code(op: MlOp) -> None:
    """Raise `DirectiveError` for a region without original code that may run."""
    never = op.mode.data is Mode.Infer and op.on_error is not None and op.on_error.data == "raise"
    if op.body.block.is_empty and not (never and op.if_condition is None):
        raise DirectiveError(
            f"the region '{op.label.data}' has no original code: insert it by this builder while the context is open, "
            "or into the block that the context gives"
        )
    _require_regular(op)


def require_sequence(ops: Sequence[Operation]) -> None:
    """Raise `DirectiveError` unless operations follow each other in a block, and nothing else uses their results."""
    if not ops:
        raise DirectiveError("there are no operations to enclose")
    if ops[0].parent is None:
        raise DirectiveError(f"{ops[0].name} is in no block, so that no region can take its place")
    for before, after in pairwise(ops):
        if before.next_op is not after:
            raise DirectiveError(f"{after.name} does not follow {before.name}: a region has a sequence of operations")
    inside = {each for op in ops for each in op.walk()}
    for op in ops:
        if op.has_trait(IsTerminator):
            raise DirectiveError(f"{op.name} ends its block, and cannot be the code of a region")
        for result in op.results:
            for use in result.uses:
                if use.operation not in inside:
                    raise DirectiveError(
                        f"{use.operation.name}, outside of the region, uses a result of {op.name}: what leaves a "
                        "region are elements of arrays that are mapped"
                    )


def move(ops: Sequence[Operation], op: MlOp) -> None:
    """Move operations into a region, which stands before them."""
    for each in ops:
        each.detach()
        op.body.block.add_op(each)
    _require_regular(op)
    for mapping in op.operands:
        owner = mapping.owner
        if not isinstance(owner, Operation):
            continue
        if op.body.is_ancestor(owner) or (owner.parent is op.parent and not owner.is_before_in_block(op)):
            raise DirectiveError(
                f"{owner.name}, which the region '{op.label.data}' uses, does not stand before the operations that it "
                "encloses: build maps there"
            )


def _require_regular(op: MlOp) -> None:
    last = op.body.block.last_op
    if last is not None and last.has_trait(IsTerminator):
        raise DirectiveError(f"the region '{op.label.data}' ends with {last.name}, which would leave it")
