"""Conditions around code that is built by functions."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import BoolAttr, i1
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


def choose(condition: SSAValue, then: Callable[[Builder], SSAValue], builder: Builder) -> SSAValue:
    """Build what `then` builds under a condition: the truth value that it makes, or true where that does not hold."""
    branch, otherwise = Block(), Block()
    inner = Builder(InsertPoint.at_end(branch))
    inner.insert(scf.YieldOp(then(inner)))
    beside = Builder(InsertPoint.at_end(otherwise))
    beside.insert(scf.YieldOp(beside.insert(arith.ConstantOp(BoolAttr.from_bool(True))).result))
    return builder.insert(scf.IfOp(condition, [i1], Region(branch), Region(otherwise))).results[0]
