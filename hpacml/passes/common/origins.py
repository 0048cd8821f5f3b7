"""Which arrays a value of the IR may be, or may be a view of."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, memref, scf
from xdsl.ir import Block, Operation, OpResult, SSAValue

MEET = "hpacml_meet_"
"""How the names of functions begin that tell whether two arrays share memory."""

VIEWS = (
    memref.AssumeAlignmentOp,
    memref.CastOp,
    memref.CollapseShapeOp,
    memref.ExpandShapeOp,
    memref.ExtractStridedMetaDataOp,
    memref.MemorySpaceCastOp,
    memref.ReinterpretCastOp,
    memref.SubviewOp,
    memref.ViewOp,
)
"""The operations whose first result is memory of their first operand."""


def origins(memory: SSAValue, loop: Operation | None = None) -> list[SSAValue]:
    """The arrays of which `memory` may be a view, each once. What is outside of a `loop` is an array by itself."""
    seen = {memory: False}
    ahead = [memory]
    while ahead:
        value = ahead.pop()
        found = sources(value) if loop is None or loop.is_ancestor(value.owner) else ()
        seen[value] = not found
        ahead += [source for source in found if source not in seen]
        seen.update({source: False for source in found if source not in seen})
    return [value for value, is_origin in seen.items() if is_origin]


def sources(value: SSAValue) -> Sequence[SSAValue]:
    """What a value is a view of, or is on one path or another; nothing if it is an array by itself."""
    owner = value.owner
    position = value.index if isinstance(value, OpResult) else getattr(value, "index", 0)
    match owner:
        case _ if isinstance(owner, VIEWS):
            return [owner.operands[0]]
        case arith.SelectOp():
            return [owner.lhs, owner.rhs]
        case scf.IfOp():
            return [_end(region.block).operands[position] for region in (owner.true_region, owner.false_region)]
        case scf.ForOp():
            return [owner.iter_args[position], _end(owner.body.block).operands[position]]
        case scf.WhileOp():
            return [_end(owner.before_region.block).operands[1 + position]]
        case Block():
            return _sources_of_argument(owner, position)
        case _:
            return []


def _sources_of_argument(block: Block, position: int) -> Sequence[SSAValue]:
    match around := block.parent_op():
        case scf.ForOp() if position:
            return [around.iter_args[position - 1], _end(block).operands[position - 1]]
        case scf.WhileOp() if block is around.before_region.block:
            return [around.arguments[position], _end(around.after_region.block).operands[position]]
        case scf.WhileOp():
            return [_end(around.before_region.block).operands[1 + position]]
        case _:
            return []


def _end(block: Block) -> Operation:
    end = block.last_op
    assert end is not None
    return end
