"""Which numbers an index may be, where loops and constants tell it."""

from __future__ import annotations

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, SSAValue

Interval = tuple[int, int]
"""The least and the greatest number."""


def interval(index: SSAValue) -> Interval | None:
    """What an `index` may be: a constant, a counter of a loop from constants to constants, or a sum of these."""
    match index.owner:
        case arith.ConstantOp(value=IntegerAttr(value=number)):
            return number.data, number.data
        case arith.AddiOp(lhs=lhs, rhs=rhs):
            left, right = interval(lhs), interval(rhs)
            return None if left is None or right is None else (left[0] + right[0], left[1] + right[1])
        case Block() as block:
            return _counted(block, block.args.index(index))
        case _:
            return None


def _counted(block: Block, position: int) -> Interval | None:
    match block.parent_op():
        case scf.ParallelOp() as loop if position < len(loop.lowerBound):
            first, end = interval(loop.lowerBound[position]), interval(loop.upperBound[position])
            step = interval(loop.step[position])
        case scf.ForOp() as loop if position == 0:
            first, end, step = interval(loop.lb), interval(loop.ub), interval(loop.step)
        case _:
            return None
    if first is None or end is None or step is None or step[0] < 1:
        return None
    return first[0], max(first[0], end[1] - 1)
