"""Gathers past the caches: of a tensor that has no room there, each line is read before it is written, for nothing.

Points are gathered into a tile, whose lines go from there to memory at once. Only whole lines can be written without
being read, and the features of a point seldom are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from xdsl.dialects import arith, func, llvm, memref, vector
from xdsl.dialects.builtin import (
    BoolAttr,
    Float32Type,
    Float64Type,
    IntegerAttr,
    MemRefType,
    StridedLayoutAttr,
    VectorType,
    i64,
)
from xdsl.ir import Block, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dtypes import SIZES
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder
from hpacml.passes.common.packed import as_packed
from hpacml.passes.common.sweeps import UNROLL, Sweep, linearize, loop, nest

LINE = 64
"""The bytes of a line of the caches, and of the longest vectors."""

TILE = 12 << 10
"""The most bytes of a tile, which with its sources stays in the first cache."""

POINTS = 256
"""The most points of a tile."""


def can_stream(sweep: Sweep) -> bool:
    """Whether a sweep fills a tensor that is given, row by row, with few features of floats for each point."""
    tensor, count = sweep.tensor_type, sweep.feature_count.as_int
    last = [*range(tensor.get_num_dims() - len(sweep.features), tensor.get_num_dims())]
    return (
        sweep.reads
        and isinstance(sweep.tensor.owner, Block)
        and isinstance(sweep.tensor.owner.parent_op(), func.FuncOp)
        and isinstance(tensor.element_type, Float32Type | Float64Type)
        and not isinstance(tensor.layout, StridedLayoutAttr)
        and bool(sweep.sizes)
        and list(sweep.features) == last
        and count is not None
        and 1 < count <= UNROLL
        and sum(slice.count or 0 for slice in sweep.slices) == count
        and all(isinstance(slice.view.type, MemRefType) for slice in sweep.slices)
    )


def bytes_of(sweep: Sweep, a: IndexArithmetic) -> Poly:
    """The size of the tensor."""
    return prod(sweep.sizes, start=a.constant(_bytes_of_point(sweep)))


def _bytes_of_point(sweep: Sweep) -> int:
    return (sweep.feature_count.as_int or 0) * SIZES[dtype_name(sweep.tensor_type.element_type)]


def _points(size: int) -> int:
    """How many points of a size a tile has, which is whole lines."""
    return min(POINTS, TILE // size // 16 * 16)


def stream(sweep: Sweep, a: IndexArithmetic) -> None:
    """Build the sweep tile by tile."""
    *outer, inner = sweep.sizes
    features = sweep.feature_count
    element = sweep.tensor_type.element_type
    points = _points(_bytes_of_point(sweep))
    start = Builder(InsertPoint.at_start(cast(Block, sweep.tensor.owner)))
    tile = start.insert(memref.AllocaOp.get(element, LINE, [points * (features.as_int or 0)])).memref
    whole = as_packed(sweep.tensor, [prod([*sweep.sizes, features], start=a.constant(1))], a)

    def row(position: Sequence[Poly], a: IndexArithmetic) -> None:
        place = list(map(a.value, position))
        start = a.settled(linearize(position, outer) * inner)
        loop(a.constant(0), inner, a.constant(points), lambda first, a: tile_at(place, start, first, a), a)

    def tile_at(place: Sequence[SSAValue], start: Poly, first: Poly, a: IndexArithmetic) -> None:
        rest, most = a.value(inner - first), a.value(a.constant(points))
        here = a.number(a.builder.insert(arith.MinSIOp(rest, most)).result)

        def point(number: Poly, a: IndexArithmetic) -> None:
            at = [*place, a.value(first + number)]
            for slice in sweep.slices:
                sweep.each(
                    slice,
                    at,
                    lambda source, feature, a: sweep.move(source, (tile, [a.value(number * features + feature)]), a),
                    a,
                )

        loop(a.constant(0), here, a.constant(1), point, a)
        _write(tile, whole, a.settled((start + first) * features), a.settled(here * features), a)

    nest(outer, (), row, a)
    a.builder.insert(llvm.CallIntrinsicOp("llvm.x86.sse.sfence", [], []))


def _write(tile: SSAValue, whole: SSAValue, start: Poly, length: Poly, a: IndexArithmetic) -> None:
    """Copy `length` elements of a tile to `start`: to the end of a line, whole lines, and the rest."""
    element = cast(MemRefType, whole.type).element_type
    width = SIZES[dtype_name(element)]
    lanes = LINE // width
    zero, one = a.constant(0), a.constant(1)
    address = a.builder.insert(memref.ExtractAlignedPointerAsIndexOp.get(whole)).aligned_pointer
    here = a.number(address) + start * a.constant(width)
    into = arith.AndIOp(a.value(zero - here), a.value(a.constant(LINE - 1)))
    ahead = arith.DivUIOp(a.builder.insert(into).result, a.value(a.constant(width)))
    head = arith.MinSIOp(a.builder.insert(ahead).result, a.value(length))
    before = a.number(a.builder.insert(head).result)
    lines = arith.DivUIOp(a.value(length - before), a.value(a.constant(lanes)))
    end = a.settled(before + a.number(a.builder.insert(lines).result) * a.constant(lanes))

    def one_by_one(at: Poly, a: IndexArithmetic) -> None:
        value = a.builder.insert(memref.LoadOp.get(tile, [a.value(at)])).res
        a.builder.insert(memref.StoreOp.get(value, whole, [a.value(start + at)]))

    def line(at: Poly, a: IndexArithmetic) -> None:
        values = a.builder.insert(vector.LoadOp(tile, [a.value(at)], VectorType(element, [lanes]))).result
        store = vector.StoreOp(values, whole, [a.value(start + at)], BoolAttr.from_bool(True))
        store.attributes["alignment"] = IntegerAttr(LINE, i64)
        a.builder.insert(store)

    loop(zero, before, one, one_by_one, a)
    loop(before, end, a.constant(lanes), line, a)
    loop(end, length, one, one_by_one, a)
