"""Conditions around code that is built by functions."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import scf
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder


def where(
    condition: SSAValue,
    then: Callable[[IndexArithmetic], None],
    a: IndexArithmetic,
    otherwise: Callable[[IndexArithmetic], None] | None = None,
) -> None:
    """Build a condition around what `then` and `otherwise` build."""

    def branch(inside: Callable[[IndexArithmetic], None]) -> Region:
        block = Block()
        inside(a.within(Builder(InsertPoint.at_end(block))))
        block.add_op(scf.YieldOp())
        return Region(block)

    a.builder.insert(scf.IfOp(condition, [], branch(then), branch(otherwise) if otherwise else None))
