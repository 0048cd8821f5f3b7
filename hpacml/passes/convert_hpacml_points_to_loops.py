"""`convert-hpacml-points-to-loops`: what is done at single points of a sweep becomes parallel loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, ModuleOp, f64, i1, i8
from xdsl.ir import Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.masks import CheckBelowOp, CheckDistanceOp, CheckRangeOp, CheckWhereOp, MergeOp, Reason
from hpacml.passes.common.conversion import convert
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.point_loops import Point, each_point, fold_features, known_count, product, size, sizes_of


@dataclass(frozen=True)
class ConvertHpacmlPointsToLoopsPass(ModulePass):
    """
    Checks add their reason to the mask of a point, and a merge copies the features of rejected points.

    ```mlir
    hpacml.check_below %u features [1] limit 1.000000e-01 into %mask : memref<?x1xf32>, memref<?xi8>
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (0) to (%n) step (1) {
      %value = memref.load %u[%i, 0]                     // as f64
      %inside = arith.cmpf ole, %value, %limit : f64     // false for NaN
      %reason = arith.select %inside, 0, 8 : i8          // joined with what the mask has
    }
    ```
    """

    name = "convert-hpacml-points-to-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for each in list(op.walk()):
            builder = Builder(InsertPoint.before(each)) if isinstance(each, _OPERATIONS) else None
            if builder is None:
                continue
            match each:
                case CheckRangeOp():
                    _check_range(each, builder)
                case CheckBelowOp():
                    _check_below(each, builder)
                case CheckDistanceOp():
                    _check_distance(each, builder)
                case CheckWhereOp():
                    # Few programs have conditions, and all others do not load the parser of directives for them.
                    from hpacml.passes.common.conditions_at_points import condition

                    _check(each.mask, Reason.WHERE, lambda point, inner, op=each: condition(op, point, inner), builder)
                case MergeOp():
                    _merge(each, builder)
                case _:
                    pass
            Rewriter.erase_op(each)


_OPERATIONS = (CheckRangeOp, CheckBelowOp, CheckDistanceOp, CheckWhereOp, MergeOp)


def _check(mask: SSAValue, reason: Reason, passes: Callable[[Point, Builder], SSAValue], builder: Builder) -> None:
    """Add a reason to the mask at the points that do not pass."""

    def work(point: Point, inner: Builder) -> None:
        none, this = (inner.insert(arith.ConstantOp(IntegerAttr(n, i8))).result for n in (0, reason.value))
        found = inner.insert(arith.SelectOp(passes(point, inner), none, this)).result
        before = inner.insert(memref.LoadOp.get(mask, point)).res
        inner.insert(memref.StoreOp.get(inner.insert(arith.OrIOp(before, found)).result, mask, point))

    each_point(sizes_of(mask, builder), work, builder)


def _within(low: SSAValue | None, value: SSAValue, high: SSAValue, builder: Builder) -> SSAValue:
    below = builder.insert(arith.CmpfOp(value, high, "ole")).result
    if low is None:
        return below
    above = builder.insert(arith.CmpfOp(low, value, "ole")).result
    return builder.insert(arith.AndIOp(above, below)).result


def _true(builder: Builder) -> SSAValue:
    return builder.insert(arith.ConstantOp(IntegerAttr(1, i1))).result


def _double(memory: SSAValue, place: Point, builder: Builder) -> SSAValue:
    return convert(builder.insert(memref.LoadOp.get(memory, place)).res, f64, builder)


def _check_range(op: CheckRangeOp, builder: Builder) -> None:
    features = op.features.get_values()
    known = known_count(op.tensor, features)
    # Behind the stores to the mask LLVM would load the bounds again at each point.
    bounds = [_bounds(op, builder.index(number), builder) for number in range(known or 0)]

    def passes(point: Point, builder: Builder) -> SSAValue:
        loaded = iter(bounds)

        def step(place: Point, number: SSAValue, inside: SSAValue, builder: Builder) -> SSAValue:
            low, high = next(loaded) if bounds else _bounds(op, number, builder)
            within = _within(low, _double(op.tensor, place, builder), high, builder)
            return builder.insert(arith.AndIOp(inside, within)).result

        return fold_features(op.tensor, features, point, _true(builder), step, builder)

    _check(op.mask, Reason.RANGE, passes, builder)


def _bounds(op: CheckRangeOp, number: SSAValue, builder: Builder) -> tuple[SSAValue, SSAValue]:
    low, high = (builder.insert(memref.LoadOp.get(each, [number])).res for each in (op.low, op.high))
    return low, high


def _check_below(op: CheckBelowOp, builder: Builder) -> None:
    features = op.features.get_values()

    def passes(point: Point, builder: Builder) -> SSAValue:
        limit = builder.insert(arith.ConstantOp(op.limit)).result

        def step(place: Point, _: SSAValue, inside: SSAValue, builder: Builder) -> SSAValue:
            within = _within(None, _double(op.tensor, place, builder), limit, builder)
            return builder.insert(arith.AndIOp(inside, within)).result

        return fold_features(op.tensor, features, point, _true(builder), step, builder)

    _check(op.mask, Reason.BELOW, passes, builder)


def _check_distance(op: CheckDistanceOp, builder: Builder) -> None:
    """The square of the distance is the sum over the rows of the whitening of squares of their products."""

    def passes(point: Point, builder: Builder) -> SSAValue:
        zero = builder.insert(arith.ConstantOp(FloatAttr(0.0, f64))).result
        square = op.limit.value.data**2
        limit = builder.insert(arith.ConstantOp(FloatAttr(square, f64))).result

        def row(number: SSAValue, total: SSAValue, builder: Builder) -> SSAValue:
            first, value = builder.index(0), zero
            for tensor, features in zip(op.tensors, op.features_of_each, strict=True):
                step = _whitened(op, tensor, number, first)
                value = fold_features(tensor, features, point, value, step, builder)
                count = product([size(tensor, d, builder) for d in features], builder)
                first = builder.insert(arith.AddiOp(first, count)).result
            return builder.insert(arith.AddfOp(total, builder.insert(arith.MulfOp(value, value)).result)).result

        rows = size(op.mean, 0, builder)
        block = Block(arg_types=[rows.type, f64])
        inner = Builder(InsertPoint.at_end(block))
        inner.insert(scf.YieldOp(row(block.args[0], block.args[1], inner)))
        total = builder.insert(scf.ForOp(builder.index(0), rows, builder.index(1), [zero], block)).results[0]
        return _within(None, total, limit, builder)

    _check(op.mask, Reason.DISTANCE, passes, builder)


def _whitened(
    op: CheckDistanceOp, tensor: SSAValue, row: SSAValue, first: SSAValue
) -> Callable[[Point, SSAValue, SSAValue, Builder], SSAValue]:
    """Adds to a row's product what a feature of a tensor, whose first one is number `first` of all, has to it."""

    def step(place: Point, k: SSAValue, value: SSAValue, builder: Builder) -> SSAValue:
        column = builder.insert(arith.AddiOp(first, k)).result
        weight = builder.insert(memref.LoadOp.get(op.whitening, [row, column])).res
        mean = builder.insert(memref.LoadOp.get(op.mean, [column])).res
        apart = builder.insert(arith.SubfOp(_double(tensor, place, builder), mean)).result
        return builder.insert(arith.AddfOp(value, builder.insert(arith.MulfOp(weight, apart)).result)).result

    return step


def _merge(op: MergeOp, builder: Builder) -> None:
    features = op.features.get_values()

    def work(point: Point, builder: Builder) -> None:
        none = builder.insert(arith.ConstantOp(IntegerAttr(0, i8))).result
        reason = builder.insert(memref.LoadOp.get(op.mask, point)).res
        rejected = builder.insert(arith.CmpiOp(reason, none, "ne")).result
        block = Block()
        inner = Builder(InsertPoint.at_end(block))

        def step(place: Point, _: SSAValue, done: SSAValue, builder: Builder) -> SSAValue:
            element = builder.insert(memref.LoadOp.get(op.source, place)).res
            builder.insert(memref.StoreOp.get(element, op.tensor, place))
            return done

        fold_features(op.tensor, features, point, none, step, inner)
        inner.insert(scf.YieldOp())
        builder.insert(scf.IfOp(rejected, [], Region(block)))

    each_point(sizes_of(op.mask, builder), work, builder)
