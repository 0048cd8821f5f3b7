"""Loops over the points of a sweep, and the places of their elements in tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TypeAlias, cast

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder

Point = Sequence[SSAValue]
"""The indices of a point, one for each dimension of the sweep."""

Step: TypeAlias = Callable[[Point, SSAValue, SSAValue, Builder], SSAValue]
"""Builds a step of a fold: from the place of an element, the number of its feature, and what those before have made."""

UNROLL = 16
"""The most features of a point that are looked at without a loop over them."""


def size(memory: SSAValue, d: int, builder: Builder) -> SSAValue:
    """The size of a dimension."""
    known = cast(MemRefType, memory.type).get_shape()[d]
    if known != DYNAMIC_INDEX:
        return builder.index(known)
    return builder.insert(memref.DimOp(memory, builder.index(d))).result


def sizes_of(memory: SSAValue, builder: Builder) -> list[SSAValue]:
    """The sizes of all dimensions."""
    return [size(memory, d, builder) for d in range(cast(MemRefType, memory.type).get_num_dims())]


def product(sizes: Sequence[SSAValue], builder: Builder) -> SSAValue:
    """The product of sizes."""
    total = builder.index(1)
    for each in sizes:
        total = builder.insert(arith.MuliOp(total, each)).result
    return total


def sum_of(sizes: Sequence[SSAValue], builder: Builder) -> SSAValue:
    """The sum of sizes."""
    total = builder.index(0)
    for each in sizes:
        total = builder.insert(arith.AddiOp(total, each)).result
    return total


def each_point(sizes: Sequence[SSAValue], work: Callable[[Point, Builder], None], builder: Builder) -> None:
    """Build a parallel loop around the `work` on each point of a sweep. A sweep without dimensions has one point."""
    zero, one = builder.index(0), builder.index(1)
    bounds = list(sizes) or [one]
    block = Block(arg_types=[zero.type] * len(bounds))
    inner = Builder(InsertPoint.at_end(block))
    work(block.args[: len(sizes)], inner)
    inner.insert(scf.ReduceOp())
    builder.insert(scf.ParallelOp([zero] * len(bounds), bounds, [one] * len(bounds), Region(block)))


def point_at(positions: SSAValue, number: SSAValue, lengths: Sequence[SSAValue], builder: Builder) -> list[SSAValue]:
    """Where in a sweep of these lengths the point is that has this number among the positions."""
    flat = builder.insert(memref.LoadOp.get(positions, [number])).res
    rest, found = builder.insert(arith.IndexCastOp(flat, IndexType())).result, list[SSAValue]()
    for length in reversed(lengths[1:]):
        found.append(builder.insert(arith.RemUIOp(rest, length)).result)
        rest = builder.insert(arith.DivUIOp(rest, length)).result
    return [rest, *reversed(found)] if lengths else []


def places(rank: int, moved: Mapping[int, SSAValue], rest: Sequence[SSAValue]) -> list[SSAValue]:
    """The indices of an element: those of some dimensions, and of the others in order."""
    others = iter(rest)
    return [moved[d] if d in moved else next(others) for d in range(rank)]


def known_count(tensor: SSAValue, features: Sequence[int]) -> int | None:
    """The number of features of a point, if it is known and small enough for code without a loop over them."""
    shape = cast(MemRefType, tensor.type).get_shape()
    sizes = [shape[d] for d in features]
    return prod(sizes) if DYNAMIC_INDEX not in sizes and prod(sizes) <= UNROLL else None


def fold_features(
    tensor: SSAValue,
    features: Sequence[int],
    point: Point,
    initial: SSAValue,
    step: Step,
    builder: Builder,
) -> SSAValue:
    """Build the fold of `step` over the features of a point."""
    if (known := known_count(tensor, features)) is not None:
        value = initial
        for number in range(known):
            index = builder.index(number)
            value = step(_place(tensor, features, point, index, builder), index, value, builder)
        return value
    count = product([size(tensor, d, builder) for d in features], builder)
    block = Block(arg_types=[count.type, initial.type])
    inner = Builder(InsertPoint.at_end(block))
    made = step(_place(tensor, features, point, block.args[0], inner), block.args[0], block.args[1], inner)
    inner.insert(scf.YieldOp(made))
    return builder.insert(scf.ForOp(builder.index(0), count, builder.index(1), [initial], block)).results[0]


def _place(tensor: SSAValue, features: Sequence[int], point: Point, number: SSAValue, builder: Builder) -> Point:
    """Where the feature of a number, row-major, of a point is in a tensor."""
    position: dict[int, SSAValue] = {}
    for d in reversed(features[1:]):
        extent = size(tensor, d, builder)
        position[d] = builder.insert(arith.RemUIOp(number, extent)).result
        number = builder.insert(arith.DivUIOp(number, extent)).result
    if features:
        position[features[0]] = number
    moving = iter(point)
    rank = cast(MemRefType, tensor.type).get_num_dims()
    return [position[d] if d in position else next(moving) for d in range(rank)]
