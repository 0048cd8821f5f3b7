"""`convert-hpacml-to-loops`: packing and unpacking become loops over the sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import cast

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType, ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.rewriter import InsertPoint

from hpacml.affine import Poly
from hpacml.dialects.hpacml.views import FusedGatherOp, FusedScatterOp, PackOp, UnpackOp, sweep_dims
from hpacml.passes.conversion import convert
from hpacml.passes.index_arithmetic import IndexArithmetic

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


class _ToLoops(RewritePattern):
    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        match op:
            case PackOp() | UnpackOp():
                views, firsts = [op.view], [op.first]
            case FusedGatherOp() | FusedScatterOp():
                views, firsts = list(op.views), list(op.firsts)
            case _:
                return
        reads = isinstance(op, PackOp | FusedGatherOp)
        sweep = _Sweep(op.tensor, op.features.get_values(), reads)
        sweep.emit(views, firsts, Builder(InsertPoint.before(op)))
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
        widths = [
            [_size(view, d, a) for d in range(len(dims), cast(MemRefType, view.type).get_num_dims())] for view in views
        ]
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
            self._move(view, [*sweep, *map(a.value, position)], place, a.builder)

        known = [size.as_int for size in width]
        static = [size for size in known if size is not None]
        if len(static) == len(known) and prod(static) <= UNROLL:
            for position in product(*map(range, static)):
                element([a.constant(index) for index in position], a)
        else:
            _nest(width, (), element, a)

    def _move(self, view: SSAValue, source: Sequence[SSAValue], place: Sequence[SSAValue], builder: Builder) -> None:
        pairs = [(view, source), (self.tensor, place)]
        (origin, here), (target, there) = pairs if self.reads else reversed(pairs)
        value = builder.insert(memref.LoadOp.get(origin, here)).res
        element_type: Attribute = cast(MemRefType, target.type).element_type
        builder.insert(memref.StoreOp.get(convert(value, element_type, builder), target, there))


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
