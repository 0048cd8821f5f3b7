"""What stands around operations, the values that regions use from outside, and the bodies of loops."""

from __future__ import annotations

from xdsl.dialects import arith, func
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder, Rewriter, refusal


def function_of(op: Operation | Block) -> func.FuncOp:
    """The function around an operation or a block. Raises `PassFailedException` if there is none."""
    around = op.parent_op() if isinstance(op, Block) else op
    while not isinstance(around, func.FuncOp):
        if around is None:
            raise refusal(op, "a kernel needs a function around it")
        around = around.parent_op()
    return around


def captured(body: Region) -> list[SSAValue]:
    """The values from outside that a region uses, in the order of their first use."""
    inside = {result for op in body.walk() for result in op.results}
    inside |= {arg for op in body.walk() for region in op.regions for b in region.blocks for arg in b.args}
    inside |= {arg for block in body.blocks for arg in block.args}
    return list(dict.fromkeys(v for op in body.walk() for v in op.operands if v not in inside))


def body_by_number(body: Block, first: SSAValue, step: SSAValue) -> Block:
    """Move what a loop does to a block that gets the number of an iteration, of which the loop's index is made."""
    own = Block(arg_types=[argument.type for argument in body.args])
    builder = Builder(InsertPoint.at_end(own))
    offset = builder.insert(arith.MuliOp(own.args[0], step)).result
    index = builder.insert(arith.AddiOp(first, offset)).result
    Rewriter.inline_block(body, InsertPoint.at_end(own), [index, *own.args[1:]])
    return own
