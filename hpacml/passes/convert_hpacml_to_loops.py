"""`convert-hpacml-to-loops`: packing and unpacking become loops over the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from types import MappingProxyType
from typing import TypeAlias, cast

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, BoolAttr, IndexType, IntegerAttr, MemRefType, ModuleOp, i8, i64
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import PassFailedException

from hpacml.affine import Poly
from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.dialects.hpacml.checks import DistinctOp, InBoundsOp
from hpacml.dialects.hpacml.views import (
    FusedGatherOp,
    FusedScatterOp,
    IndirectOp,
    PackOp,
    UnpackOp,
    sweep_dims,
    view_type,
)
from hpacml.passes.conversion import convert
from hpacml.passes.index_arithmetic import IndexArithmetic

Place: TypeAlias = tuple[SSAValue, Sequence[SSAValue]]
"""Memory, and the indices of an element in it."""

Known: TypeAlias = Mapping[int, SSAValue]
"""Indices of an indirect view that are read already, by their number."""

UNROLL = 64
"""Views of at most so many features are copied without a loop over the features."""


@dataclass(frozen=True)
class ConvertHpacmlToLoopsPass(ModulePass):
    """
    One parallel loop nest over the sweep for each operation; elements are converted on the way.

    ```mlir
    hpacml.fused_gather %west, %east into %x at %c0, %c1 features [1] : ... -> memref<?x2xf32>
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %a = memref.load %west[%i]
      memref.store %a, %x[%i, %c0]
      %b = memref.load %east[%i]
      memref.store %b, %x[%i, %c1]
    }
    ```
    """

    name = "convert-hpacml-to-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(_ToLoops(), apply_recursively=False).rewrite_module(op)
        for view in [each for each in op.walk(reverse=True) if isinstance(each, IndirectOp)]:
            if not view.view.uses:
                Rewriter.erase_op(view)


class _ToLoops(RewritePattern):
    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        builder = Builder(InsertPoint.before(op))
        match op:
            case InBoundsOp():
                rewriter.replace(op, [], [_in_bounds(op, builder)])
                return
            case DistinctOp():
                rewriter.replace(op, [], [_distinct(op, builder)])
                return
            case PackOp() | UnpackOp():
                views, firsts = [op.view], [op.first]
            case FusedGatherOp() | FusedScatterOp():
                views, firsts = list(op.views), list(op.firsts)
            case _:
                return
        reads = isinstance(op, PackOp | FusedGatherOp)
        sweep = _Sweep(op.tensor, op.features.get_values(), reads)
        sweep.emit(views, firsts, builder)
        rewriter.erase(op)


@dataclass
class _Sweep:
    tensor: SSAValue
    features: Sequence[int]
    reads: bool
    """Whether the views are read and the tensor is written, or the other way round."""

    def emit(self, views: Sequence[SSAValue], firsts: Sequence[SSAValue], builder: Builder) -> None:
        a = IndexArithmetic(builder)
        dims = sweep_dims(cast(MemRefType, self.tensor.type), self.features)
        feature_sizes = [_size(self.tensor, d, a) for d in self.features]
        sizes = [a.value(_size(self.tensor, d, a)) for d in dims]
        widths = [[_size(view, d, a) for d in range(len(dims), view_type(view).get_num_dims())] for view in views]
        starts = [_number(first, a) for first in firsts]
        zero, one = a.value(a.constant(0)), a.value(a.constant(1))
        indices: Sequence[SSAValue] = ()
        if dims:
            body = Block(arg_types=[zero.type] * len(dims))
            builder.insert(scf.ParallelOp([zero] * len(dims), sizes, [one] * len(dims), [body]))
            a = a.within(Builder(InsertPoint.at_end(body)))
            indices = body.args
        for view, first, width in zip(views, starts, widths, strict=True):
            self._copy(view, first, width, indices, feature_sizes, a)
        if dims:
            a.builder.insert(scf.ReduceOp())

    def _copy(
        self,
        view: SSAValue,
        first: Poly,
        width: Sequence[Poly],
        sweep: Sequence[SSAValue],
        feature_sizes: Sequence[Poly],
        a: IndexArithmetic,
    ) -> None:
        """Copy all features of one view at one point of the sweep."""
        known = [size.as_int for size in width]
        static = [size for size in known if size is not None]
        fixed = len(static) == len(known) and prod(static) > 0
        read: Known = self._common_indices(view, sweep, len(width), a) if fixed else {}

        def element(position: Sequence[Poly], a: IndexArithmetic) -> None:
            number = Poly(())
            for index, size in zip(position, width, strict=True):
                number = number * size + index
            features = iter(_delinearize(first + number, feature_sizes, a))
            swept = iter(sweep)
            place = [
                a.value(next(features)) if d in self.features else next(swept)
                for d in range(cast(MemRefType, self.tensor.type).get_num_dims())
            ]
            source = _locate(view, [*sweep, *map(a.value, position)], a.builder, read)
            self._move(source, (self.tensor, place), a.builder)

        if len(static) == len(known) and prod(static) <= UNROLL:
            for position in product(*map(range, static)):
                element([a.constant(index) for index in position], a)
        else:
            _nest(width, (), element, a)

    def _common_indices(self, view: SSAValue, sweep: Sequence[SSAValue], rank: int, a: IndexArithmetic) -> Known:
        """The indices that all features of an indirect view at one point of the sweep share."""
        if not isinstance(view.owner, IndirectOp):
            return {}
        place = [*sweep, *[a.value(a.constant(0))] * rank]
        features = range(len(sweep), len(place))
        shared = {n: each for n, each in enumerate(view.owner.indices) if not _moves(each, features)}
        return {n: _index(each, place, a.builder) for n, each in shared.items()}

    def _move(self, view: Place, tensor: Place, builder: Builder) -> None:
        (origin, here), (target, there) = (view, tensor) if self.reads else (tensor, view)
        value = builder.insert(memref.LoadOp.get(origin, here)).res
        element_type: Attribute = cast(MemRefType, target.type).element_type
        builder.insert(memref.StoreOp.get(convert(value, element_type, builder), target, there))


def _locate(view: SSAValue, place: Sequence[SSAValue], builder: Builder, known: Known = MappingProxyType({})) -> Place:
    """The memory of a view, and the place in it of the view's element at `place`; reads indices."""
    if isinstance(view.type, MemRefType):
        return view, place
    if not isinstance(view.owner, IndirectOp):
        raise PassFailedException(f"a view of type {view.type} must come from hpacml.indirect")
    indices = [known.get(n) or _index(each, place, builder) for n, each in enumerate(view.owner.indices)]
    return view.owner.rows, [*place, *indices]


def _index(view: SSAValue, place: Sequence[SSAValue], builder: Builder) -> SSAValue:
    """An element of a view as an index."""
    loaded = builder.insert(memref.LoadOp.get(*_locate(view, place, builder))).res
    number = convert(loaded, i64, builder) if loaded.type == i8 else loaded
    return builder.insert(arith.IndexCastOp(number, IndexType())).result


def _moves(view: SSAValue, dims: range) -> bool:
    """Whether a step in one of `dims` may lead to another element."""
    if isinstance(view.owner, IndirectOp):
        return any(_moves(each, dims) for each in (view.owner.rows, *view.owner.indices))
    return any(strides_of(cast(MemRefType, view.type))[d] != 0 for d in dims)


def _in_bounds(op: InBoundsOp, builder: Builder) -> SSAValue:
    def test(place: Sequence[SSAValue], inside: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        index = _index(op.view, place, builder)
        below = builder.insert(arith.CmpiOp(index, op.size, "ult")).result  # a negative index is a huge one
        return [builder.insert(arith.AndIOp(inside[0], below)).result]

    return _fold(op.view, [_true(builder)], test, builder)[0]


def _distinct(op: DistinctOp, builder: Builder) -> SSAValue:
    def clear(place: Sequence[SSAValue], _: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        builder.insert(memref.StoreOp.get(zero, *_locate(view, place, builder)))
        return []

    def mark(place: Sequence[SSAValue], different: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        memory, element = _locate(view, place, builder)
        marked = builder.insert(memref.LoadOp.get(memory, element)).res
        builder.insert(memref.StoreOp.get(one, memory, element))
        new = builder.insert(arith.CmpiOp(marked, zero, "eq")).result
        return [builder.insert(arith.AndIOp(different[0], new)).result]

    zero, one = (builder.insert(arith.ConstantOp(IntegerAttr(n, i8))).result for n in (0, 1))
    for view in op.views:
        _fold(view, [], clear, builder)
    different: Sequence[SSAValue] = [_true(builder)]
    for view in op.views:
        different = _fold(view, different, mark, builder)
    return different[0]


def _true(builder: Builder) -> SSAValue:
    return builder.insert(arith.ConstantOp(BoolAttr.from_bool(True))).result


def _fold(
    view: SSAValue,
    initial: Sequence[SSAValue],
    body: Callable[[Sequence[SSAValue], Sequence[SSAValue], Builder], Sequence[SSAValue]],
    builder: Builder,
) -> Sequence[SSAValue]:
    """Loops over all places of a view; `body` makes new values of a place and the values so far."""
    a = IndexArithmetic(builder)
    zero, one = a.value(a.constant(0)), a.value(a.constant(1))
    sizes = [a.value(_size(view, d, a)) for d in range(view_type(view).get_num_dims())]

    def level(place: Sequence[SSAValue], carried: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        if len(place) == len(sizes):
            return body(place, carried, builder)
        block = Block(arg_types=[zero.type, *(value.type for value in carried)])
        loop = builder.insert(scf.ForOp(zero, sizes[len(place)], one, carried, block))
        inner = Builder(InsertPoint.at_end(block))
        inner.insert(scf.YieldOp(*level([*place, block.args[0]], block.args[1:], inner)))
        return loop.results

    return level([], initial, builder)


def _nest(
    sizes: Sequence[Poly],
    position: tuple[Poly, ...],
    element: Callable[[Sequence[Poly], IndexArithmetic], None],
    a: IndexArithmetic,
) -> None:
    """Loops over `sizes` around `element`."""
    if not sizes:
        element(position, a)
        return
    outer = a.builder
    zero, one = a.value(a.constant(0)), a.value(a.constant(1))
    body = Block(arg_types=[zero.type])
    outer.insert(scf.ForOp(zero, a.value(sizes[0]), one, [], body))
    inner = a.within(Builder(InsertPoint.at_end(body)))
    _nest(sizes[1:], (*position, inner.number(body.args[0])), element, inner)
    inner.builder.insert(scf.YieldOp())


def _delinearize(number: Poly, sizes: Sequence[Poly], a: IndexArithmetic) -> list[Poly]:
    """The row-major position of element `number` in dimensions of `sizes`."""
    position: list[Poly] = []
    for size in reversed(sizes[1:]):
        known, divisor = number.as_int, size.as_int
        if known is not None and divisor:
            position.insert(0, a.constant(known % divisor))
            number = a.constant(known // divisor)
        else:
            dividend, by = a.value(number), a.value(size)
            position.insert(0, a.number(a.builder.insert(arith.RemUIOp(dividend, by)).result))
            number = a.number(a.builder.insert(arith.DivUIOp(dividend, by)).result)
    return [number, *position] if sizes else []


def _size(array: SSAValue, d: int, a: IndexArithmetic) -> Poly:
    if isinstance(array.owner, IndirectOp):
        return _size(array.owner.rows, d, a)
    size = cast(MemRefType, array.type).get_shape()[d]
    if size != DYNAMIC_INDEX:
        return a.constant(size)
    dim = memref.DimOp(array, a.value(a.constant(d)))
    return a.number(a.builder.insert(dim).result)


def _number(value: SSAValue, a: IndexArithmetic) -> Poly:
    """The number of a value, which is known if the value is a constant."""
    if isinstance(owner := value.owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return a.constant(owner.value.value.data)
    return a.number(value)
