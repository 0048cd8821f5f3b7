"""Loops that add to variables, as parallel loops over blocks of iterations, each with sums of its own."""

from __future__ import annotations

from typing import cast

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IndexType, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.regions import function_of
from hpacml.passes.common.work import LEAST, Work

BLOCKS = 256
"""How many blocks a loop has that is worth several threads, whatever their number is: so the sums are the same."""


def sum_in_blocks(loop: scf.ForOp) -> tuple[scf.ParallelOp, SSAValue]:
    """Replace a loop by one over blocks, which is returned with its work. In each the sums of the loop begin with 0."""
    before = Builder(InsertPoint.before(loop))
    stack = Builder(InsertPoint.at_start(function_of(loop).body.blocks[0]), loop)
    types = [argument.type for argument in loop.iter_args]
    partial = [stack.insert(memref.AllocaOp.get(type, 8, [BLOCKS])).memref for type in types]

    work = Work(loop, before)
    trips = work.trips(loop.lb, loop.ub, loop.step)
    total = work.product(work.float(trips), work.of(loop.body.block))
    is_large = before.insert(arith.CmpfOp(total, work.number(LEAST), "oge")).result
    zero, one = before.index(0), before.index(1)
    blocks = before.insert(arith.SelectOp(is_large, before.index(BLOCKS), one)).result
    size = before.insert(arith.CeilDivSIOp(trips, blocks)).result

    block = Block(arg_types=[IndexType()])
    inside = Builder(InsertPoint.at_end(block), loop)
    first = inside.insert(arith.MuliOp(block.args[0], size)).result
    behind = inside.insert(arith.AddiOp(first, size)).result
    last = inside.insert(arith.MinSIOp(behind, trips)).result
    sums = inside.insert(_iterations(loop, first, last, inside)).results
    for own, each in zip(sums, partial, strict=True):
        inside.insert(memref.StoreOp.get(own, each, [block.args[0]]))
    inside.insert(scf.ReduceOp())
    parallel = before.insert(scf.ParallelOp([zero], [blocks], [one], Region(block)))

    joined = Block(arg_types=[IndexType(), *types])
    behind_it = Builder(InsertPoint.at_end(joined), loop)
    added = [
        _add(sum, behind_it.insert(memref.LoadOp.get(each, [joined.args[0]])).res, behind_it)
        for sum, each in zip(joined.args[1:], partial, strict=True)
    ]
    behind_it.insert(scf.YieldOp(*added))
    Rewriter.replace_op(loop, scf.ForOp(zero, blocks, one, list(loop.iter_args), joined))
    return parallel, total


def _iterations(loop: scf.ForOp, first: SSAValue, last: SSAValue, builder: Builder) -> scf.ForOp:
    """The loop over some of its iterations, with its body."""
    body = loop.body.block
    own = Block(arg_types=[IndexType(), *(argument.type for argument in loop.iter_args)])
    counter = Builder(InsertPoint.at_end(own), loop)
    offset = counter.insert(arith.MuliOp(own.args[0], loop.step)).result
    body.args[0].replace_all_uses_with(counter.insert(arith.AddiOp(loop.lb, offset)).result)
    for old, new in zip(body.args[1:], own.args[1:], strict=True):
        old.replace_all_uses_with(new)
    for each in list(body.ops):
        each.detach()
        counter.insert(each)
    body.add_op(scf.YieldOp(*loop.iter_args))  # until the loop is erased
    zeros = [_zero(argument.type, builder) for argument in loop.iter_args]
    return scf.ForOp(first, last, builder.index(1), zeros, own)


def _zero(type: Attribute, builder: Builder) -> SSAValue:
    if isinstance(type, IndexType):
        return builder.index(0)
    if isinstance(type, AnyFloat):
        return builder.insert(arith.ConstantOp(FloatAttr(0.0, type))).result
    return builder.insert(arith.ConstantOp(IntegerAttr(0, cast("IntegerType", type)))).result


def _add(a: SSAValue, b: SSAValue, builder: Builder) -> SSAValue:
    return builder.insert(arith.AddfOp(a, b) if isinstance(a.type, AnyFloat) else arith.AddiOp(a, b)).results[0]
