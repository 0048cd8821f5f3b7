"""Conditions around the points of a nest of loops."""

from __future__ import annotations

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import IndexType, IntegerAttr, i8
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import Condition, Equal, IndexArithmetic
from hpacml.passes.common.located import Builder
from hpacml.passes.common.point_loops import size
from hpacml.passes.derivation.facts import ONE
from hpacml.passes.derivation.integers import Size, Value
from hpacml.passes.masking.accesses import NotFollowed
from hpacml.passes.masking.point_nests import PointNest
from hpacml.passes.masking.positions import Coordinate


def mask_points(points: PointNest, mask: SSAValue) -> None:
    """Have the innermost loop of a nest make only the points that a mask rejects.

    Raises `NotFollowed`, and leaves the nest as it is, where a position is made of what is not known before the nest.
    """
    names = {name for each in points.position for name in each.number.names}
    values = {name: _value(name, points) for name in sorted(names)}
    block = points.loop.body.block
    *code, end = block.ops
    for op in code:
        op.detach()
    a = IndexArithmetic(Builder(InsertPoint.before(end)))
    numbers = {name: a.number(_index(value, a)) for name, value in values.items()}
    conditions: list[Condition] = []
    place: list[Poly] = []
    for d, coordinate in enumerate(points.position):
        number, exact = _divided(coordinate, numbers, a)
        place.append(number)
        conditions += [exact, *_inside(number, d, points, mask, a)]

    def at_point(inside: IndexArithmetic) -> None:
        reasons = inside.builder.insert(memref.LoadOp.get(mask, [inside.value(each) for each in place])).res
        reasons.name_hint = "reasons"
        none = inside.builder.insert(arith.ConstantOp(IntegerAttr(0, i8))).result
        where(inside.builder.insert(arith.CmpiOp(reasons, none, "ne")).result, lambda inner: _put(code, inner), inside)

    if (inside := a.all(conditions)) is True:
        at_point(a)
    else:
        where(a.truth(inside), at_point, a)


def _put(code: list[Operation], a: IndexArithmetic) -> None:
    for op in code:
        a.builder.insert(op)


def _value(name: str, points: PointNest) -> SSAValue | Size:
    """What a name in a position is, before the body of the innermost loop."""
    if name in points.nest.indices:
        return points.nest.indices[name]
    match points.nest.integers.atoms.get(name):
        case Value(value) if points.nest.is_before(value):
            return value
        case Size(array, _) as found if points.nest.is_before(array):
            return found
        case _:
            raise NotFollowed("a position is made of what is not known before the nest")


def _index(value: SSAValue | Size, a: IndexArithmetic) -> SSAValue:
    """A number as an index."""
    if isinstance(value, Size):
        return size(value.array, value.dim, a.builder)
    if isinstance(value.type, IndexType):
        return value
    return a.builder.insert(arith.IndexCastOp(value, IndexType())).result


def _divided(coordinate: Coordinate, numbers: dict[str, Poly], a: IndexArithmetic) -> tuple[Poly, Condition]:
    """A coordinate of a position, and whether it is an integer."""
    number = coordinate.number.evaluate(numbers, a)
    if coordinate.divisor == 1:
        return number, True
    divisor = a.value(Poly.constant(coordinate.divisor))
    rest = a.builder.insert(arith.RemSIOp(a.value(number), divisor)).result
    return a.number(a.builder.insert(arith.DivSIOp(a.value(number), divisor)).result), Equal(a.number(rest))


def _inside(number: Poly, d: int, points: PointNest, mask: SSAValue, a: IndexArithmetic) -> list[Condition]:
    """What must hold for a coordinate to lie in the sweep, as far as the loops do not tell."""
    coordinate, facts = points.position[d], points.nest.facts_in[points.loop]
    conditions: list[Condition] = []
    if not facts.prove(coordinate.number):
        conditions.append(a.le(a.constant(0), number))
    if coordinate.divisor > 1 or not facts.prove(points.extents[d] - ONE - coordinate.number):
        conditions.append(a.le(number, a.number(size(mask, d, a.builder)) - ONE))
    return conditions
