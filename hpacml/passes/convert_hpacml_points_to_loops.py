"""`convert-hpacml-points-to-loops`: what is done at single points of a sweep becomes parallel loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, MemRefType, ModuleOp, f64, i1, i8
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.masks import (
    CheckBelowOp,
    CheckDistanceOp,
    CheckOfInputs,
    CheckRangeOp,
    CheckWhereOp,
    MergeOp,
    Reason,
    TakePointsOp,
)
from hpacml.dialects.hpacml.packing import sweep_dims
from hpacml.passes.common.conversion import convert
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.point_loops import (
    Point,
    Step,
    each_point,
    fold_features,
    known_count,
    places,
    point_at,
    product,
    size,
    sizes_of,
)

_Ends: TypeAlias = tuple[SSAValue, SSAValue]
"""The low and the high end of a range."""


@dataclass(frozen=True)
class ConvertHpacmlPointsToLoopsPass(ModulePass):
    """
    Checks add their reason to the mask of a point, a merge copies the features of rejected points, and points are taken
    from where they are in a sweep.

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
    Ends of ranges are loaded in front of the loop; with `inside` in it, where it is to become a kernel.
    """

    name = "convert-hpacml-points-to-loops"

    inside: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for each in list(op.walk()):
            builder = Builder(InsertPoint.before(each)) if isinstance(each, _OPERATIONS) else None
            if builder is None:
                continue
            match each:
                case CheckRangeOp():
                    _check_range(each, self.inside, builder)
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
                case TakePointsOp():
                    _take(each, builder)
                case _:
                    pass
            Rewriter.erase_op(each)


_OPERATIONS = (CheckRangeOp, CheckBelowOp, CheckDistanceOp, CheckWhereOp, MergeOp, TakePointsOp)


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


def _element(memory: SSAValue, place: Point, element: Attribute, builder: Builder) -> SSAValue:
    return convert(builder.insert(memref.LoadOp.get(memory, place)).res, element, builder)


class _Part(NamedTuple):
    """A tensor of a check, its feature dimensions, and how many features the tensors before it have."""

    tensor: SSAValue
    features: Sequence[int]
    first: SSAValue

    def number(self, k: SSAValue, builder: Builder) -> SSAValue:
        """The number of its feature k among those of all tensors."""
        return builder.insert(arith.AddiOp(self.first, k)).result


def _parts(op: CheckOfInputs, builder: Builder) -> list[_Part]:
    parts: list[_Part] = []
    first = builder.index(0)
    for tensor, features in zip(op.tensors, op.features_of_each, strict=True):
        parts.append(_Part(tensor, features, first))
        count = product([size(tensor, d, builder) for d in features], builder)
        first = builder.insert(arith.AddiOp(first, count)).result
    return parts


def _check_range(op: CheckRangeOp, inside: bool, builder: Builder) -> None:
    parts = _parts(op, builder)
    # Behind the stores to the mask LLVM would load the ends again at each point.
    counts = [0 if inside else known_count(part.tensor, part.features) or 0 for part in parts]
    known = [
        [_ends(op, part, builder.index(k), builder) for k in range(count)]
        for part, count in zip(parts, counts, strict=True)
    ]

    def passes(point: Point, builder: Builder) -> SSAValue:
        inside = _true(builder)
        for part, ends in zip(parts, known, strict=True):
            step = _in_range(op, part, iter(ends))
            inside = fold_features(part.tensor, part.features, point, inside, step, builder)
        return inside

    _check(op.mask, Reason.RANGE, passes, builder)


def _in_range(op: CheckRangeOp, part: _Part, known: Iterator[_Ends]) -> Step:
    """Adds to whether features before are in their ranges whether one of a tensor is, whose ends may be `known`."""

    def step(place: Point, k: SSAValue, inside: SSAValue, builder: Builder) -> SSAValue:
        low, high = next(known, None) or _ends(op, part, k, builder)
        within = _within(low, _element(part.tensor, place, low.type, builder), high, builder)
        return builder.insert(arith.AndIOp(inside, within)).result

    return step


def _ends(op: CheckRangeOp, part: _Part, k: SSAValue, builder: Builder) -> _Ends:
    number = part.number(k, builder)
    low, high = (builder.insert(memref.LoadOp.get(each, [number])).res for each in (op.low, op.high))
    return low, high


def _check_below(op: CheckBelowOp, builder: Builder) -> None:
    features = op.features.get_values()

    def passes(point: Point, builder: Builder) -> SSAValue:
        limit = builder.insert(arith.ConstantOp(op.limit)).result

        def step(place: Point, _: SSAValue, inside: SSAValue, builder: Builder) -> SSAValue:
            within = _within(None, _element(op.tensor, place, f64, builder), limit, builder)
            return builder.insert(arith.AndIOp(inside, within)).result

        return fold_features(op.tensor, features, point, _true(builder), step, builder)

    _check(op.mask, Reason.BELOW, passes, builder)


def _check_distance(op: CheckDistanceOp, builder: Builder) -> None:
    """The square of the distance is the sum over the rows of the whitening of squares of their products."""
    parts = _parts(op, builder)

    def passes(point: Point, builder: Builder) -> SSAValue:
        zero = builder.insert(arith.ConstantOp(FloatAttr(0.0, f64))).result
        square = op.limit.value.data**2
        limit = builder.insert(arith.ConstantOp(FloatAttr(square, f64))).result

        def row(number: SSAValue, total: SSAValue, builder: Builder) -> SSAValue:
            value = zero
            for part in parts:
                step = _whitened(op, part, number)
                value = fold_features(part.tensor, part.features, point, value, step, builder)
            return builder.insert(arith.AddfOp(total, builder.insert(arith.MulfOp(value, value)).result)).result

        rows = size(op.mean, 0, builder)
        block = Block(arg_types=[rows.type, f64])
        inner = Builder(InsertPoint.at_end(block))
        inner.insert(scf.YieldOp(row(block.args[0], block.args[1], inner)))
        total = builder.insert(scf.ForOp(builder.index(0), rows, builder.index(1), [zero], block)).results[0]
        return _within(None, total, limit, builder)

    _check(op.mask, Reason.DISTANCE, passes, builder)


def _whitened(op: CheckDistanceOp, part: _Part, row: SSAValue) -> Step:
    """Adds to a row's product what a feature of a tensor has to it."""

    def step(place: Point, k: SSAValue, value: SSAValue, builder: Builder) -> SSAValue:
        column = part.number(k, builder)
        weight = builder.insert(memref.LoadOp.get(op.whitening, [row, column])).res
        mean = builder.insert(memref.LoadOp.get(op.mean, [column])).res
        apart = builder.insert(arith.SubfOp(_element(part.tensor, place, f64, builder), mean)).result
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


def _take(op: TakePointsOp, builder: Builder) -> None:
    features = op.features.get_values()
    sweep = sweep_dims(cast(MemRefType, op.tensor.type), features)
    lengths = [size(op.tensor, d, builder) for d in sweep]
    rank = len(sweep) + len(features)

    def work(place: Point, builder: Builder) -> None:
        number, rest, zero = place[0], place[1:], builder.index(0)
        point = point_at(op.positions, number, lengths, builder)
        source = places(rank, dict(zip(sweep, point, strict=True)), rest)
        target = places(rank, {d: zero if k else number for k, d in enumerate(sweep)}, rest)
        builder.insert(memref.StoreOp.get(builder.insert(memref.LoadOp.get(op.tensor, source)).res, op.rows, target))

    each_point([op.count, *(size(op.tensor, d, builder) for d in features)], work, builder)
