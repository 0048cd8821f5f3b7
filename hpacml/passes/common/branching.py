"""Conditions around code that is built by functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import BoolAttr
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


def choose(
    condition: SSAValue,
    then: Callable[[Builder], SSAValue],
    otherwise: Callable[[Builder], SSAValue],
    builder: Builder,
) -> SSAValue:
    """Build a condition around what `then` and `otherwise` build: the value that one of them makes."""
    branch, other = Block(), Block()
    for block, make in ((branch, then), (other, otherwise)):
        inner = Builder(InsertPoint.at_end(block))
        inner.insert(scf.YieldOp(make(inner)))
    kind = cast(scf.YieldOp, branch.last_op).arguments[0].type
    return builder.insert(scf.IfOp(condition, [kind], Region(branch), Region(other))).results[0]


def boolean(value: bool) -> Callable[[Builder], SSAValue]:
    """What builds a truth value."""
    return lambda builder: builder.insert(arith.ConstantOp(BoolAttr.from_bool(value))).result
