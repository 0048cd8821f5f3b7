"""Loops that reduce to variables, as parallel loops over blocks of iterations, each with variables of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, cast, get_args

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IndexType, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.regions import body_by_number, function_of
from hpacml.passes.common.work import LEAST, Work

BLOCKS = 256
"""How many blocks a loop has that is worth several threads, whatever their number is: so the sums are the same."""

Reduction: TypeAlias = Literal[
    "add", "maxs", "mins", "maxu", "minu", "python_max", "python_min", "numpy_maximum", "numpy_minimum"
]
"""What an iteration does to a variable: of integers, with sign and without, and `max(variable, x)` and the like."""

REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)


def reduce_in_blocks(loop: scf.ForOp, reductions: Sequence[Reduction]) -> tuple[scf.ParallelOp, SSAValue]:
    """Replace a loop by one over blocks, which is returned with its work. In each variables begin with what is neutral.

    The reductions are those of the variables of the loop.
    """
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
    neutral = [_neutral(how, type, inside) for how, type in zip(reductions, types, strict=True)]
    iterations = body_by_number(loop.body.block, loop.lb, loop.step)
    reduced = inside.insert(scf.ForOp(first, last, inside.index(1), neutral, iterations)).results
    for own, each in zip(reduced, partial, strict=True):
        inside.insert(memref.StoreOp.get(own, each, [block.args[0]]))
    inside.insert(scf.ReduceOp())
    parallel = before.insert(scf.ParallelOp([zero], [blocks], [one], Region(block)))

    joined = Block(arg_types=[IndexType(), *types])
    behind_it = Builder(InsertPoint.at_end(joined), loop)
    results = [
        _combine(how, before_it, behind_it.insert(memref.LoadOp.get(each, [joined.args[0]])).res, behind_it)
        for how, before_it, each in zip(reductions, joined.args[1:], partial, strict=True)
    ]
    behind_it.insert(scf.YieldOp(*results))
    Rewriter.replace_op(loop, scf.ForOp(zero, blocks, one, list(loop.iter_args), joined))
    return parallel, total


def _neutral(how: Reduction, type: Attribute, builder: Builder) -> SSAValue:
    """What changes no other value that it is combined with."""
    if isinstance(type, AnyFloat):
        value = 0.0 if how == "add" else -math.inf if "max" in how else math.inf
        return builder.insert(arith.ConstantOp(FloatAttr(value, type))).result
    bits = 64 if isinstance(type, IndexType) else cast("IntegerType", type).width.data
    values = {"maxs": -(1 << bits - 1), "mins": (1 << bits - 1) - 1, "minu": (1 << bits) - 1}
    number = IntegerAttr(values.get(how, 0), cast("IntegerType | IndexType", type), truncate_bits=True)
    return builder.insert(arith.ConstantOp(number)).result


_INTEGERS: Mapping[Reduction, Callable[[SSAValue, SSAValue], Operation]] = {
    "add": arith.AddiOp,
    "maxs": arith.MaxSIOp,
    "mins": arith.MinSIOp,
    "maxu": arith.MaxUIOp,
    "minu": arith.MinUIOp,
}


def _combine(how: Reduction, a: SSAValue, b: SSAValue, builder: Builder) -> SSAValue:
    """What a reduction makes of `a` and of what iterations that came later made of what is neutral."""
    if not isinstance(a.type, AnyFloat):
        return builder.insert(_INTEGERS[how](a, b)).results[0]
    if how == "add":
        return builder.insert(arith.AddfOp(a, b)).result
    predicate = "ogt" if "max" in how else "olt"
    if how.startswith("python"):  # the first of equal numbers; NaN never takes the place of a number
        return builder.insert(arith.SelectOp(builder.insert(arith.CmpfOp(b, a, predicate)).result, b, a)).result
    is_more = builder.insert(arith.CmpfOp(a, b, predicate)).result  # the last of equal numbers; NaN stays
    is_nan = builder.insert(arith.CmpfOp(a, a, "uno")).result
    return builder.insert(arith.SelectOp(builder.insert(arith.OrIOp(is_more, is_nan)).result, a, b)).result
