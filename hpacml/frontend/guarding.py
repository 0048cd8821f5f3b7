"""What the clauses name that say where a model may be used: elements at points, numbers, and outputs."""

from __future__ import annotations

import ast
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hpacml.clauses import Bounds
from hpacml.directives.expressions import Expr
from hpacml.directives.syntax import FunctorDirective, MlDirective, Target, TargetRange
from hpacml.errors import DirectiveError
from hpacml.functors.polynomials import Poly
from hpacml.functors.tensor_functor import Point, Range, names_of

V = TypeVar("V")

Map = tuple[FunctorDirective, tuple[Target, ...]]
"""A functor and the targets that it is applied to."""


@dataclass(frozen=True)
class Where(Generic[V]):
    """The condition of `guard(where: ...)`, and by their names the elements at a point, and the numbers."""

    condition: Expr
    points: Mapping[str, V]
    numbers: Mapping[str, V]


def where_of(ml: MlDirective, maps: Sequence[Map], named: Callable[[str], Map | None]) -> Where[Map | None] | None:
    """The condition of `guard(where: ...)` with the map of each name; None if there is none.

    `maps` are those of the region's inputs and outputs, and `named` finds the maps that have names. A name stands for a
    named map, or for the element of an array that the region has at a point; if it is all there is, also for
    an array of the sweep's shape. All others are numbers, as are those that the region's maps have as such. Raises
    `DirectiveError` for a name that stands for several elements.
    """
    if ml.guarding is None or (where := ml.guarding.where) is None:
        return None
    points: dict[str, Map | None] = {}
    single: dict[str, Map | None] = {}
    for node in where.variables:
        name = node.id
        found = named(name)
        if found is None and (targets := [each for _, given in maps for each in given if each.array == name]):
            if any(target.entries for target in targets):
                found = _element(name, maps, where, node)
        elif found is None and isinstance(where.node, ast.Name):
            found = _whole(name, maps[0], where)
        (single if found is None else points)[name] = found
    return Where(where, points, single)


def _element(name: str, around: Sequence[Map], where: Expr, node: ast.Name) -> Map:
    """The map of the one element of an array that a point has."""
    found = {
        (entries, target): functor
        for functor, targets in around
        for entries, target in zip(
            functor.rhs, targets * len(functor.rhs) if len(targets) == 1 else targets, strict=True
        )
        if target.array == name
    }
    if len(found) == 1:
        ((given, target), functor), *_ = found.items()
        entries = tuple(map(_single, given))
        if all(isinstance(entry, Point) for entry in entries) and target.entries:
            return _point(name, functor, entries), (target,)
    raise DirectiveError(
        f"a point has several elements of '{name}': name the one that is meant before the region, as in declare "
        f"tensor(centre: f({name}[...])) with a functor f of one feature, and write that name",
        where.text,
        node.col_offset,
        node.end_col_offset or 0,
    )


def _single(entry: Point | Range) -> Point | Range:
    """A range of one element as that element."""
    if isinstance(entry, Range) and entry.count is not None and entry.count.as_int == 1:
        return Point(entry.start)
    return entry


def _point(name: str, functor: FunctorDirective, entries: tuple[Point | Range, ...]) -> FunctorDirective:
    """The functor of one element of each point in the sweep of another functor."""
    moving = names_of(entry for each in functor.rhs for entry in each)
    sweep = [entry for entry in functor.lhs if isinstance(entry, Point) and entry.index.as_name in moving]
    return _functor(f"where_{name.replace('.', '_')}", (*sweep, ONE_FEATURE), entries, functor)


def _whole(name: str, beside: Map, where: Expr) -> Map:
    """The map of an array that has an element for each point in the sweep of another map."""
    functor, _ = beside
    point = _point(name, functor, ())
    sweep = point.lhs[:-1]
    start = Expr(ast.Constant(0), where.span, where.text)
    entries = tuple(TargetRange(start, None, None, where.span) for _ in sweep)
    target = Target(name, entries, where.span, where.text)
    return _functor(point.name, point.lhs, sweep, functor), (target,)


ONE_FEATURE = Range(Poly.constant(0), Poly.constant(1))


def _functor(
    name: str, lhs: tuple[Point | Range, ...], entries: tuple[Point | Range, ...], beside: FunctorDirective
) -> FunctorDirective:
    spans = ((beside.span,) * len(lhs), (beside.span,) * len(entries))
    return FunctorDirective(name, lhs, (entries,), spans, beside.span, beside.text)


def bounds_of(ml: MlDirective, outputs: Sequence[Collection[str]]) -> tuple[Bounds, ...]:
    """The bounds of each output, of which the arrays are given, in their order; none at all without the clause.

    Raises `DirectiveError` for a name that is no output.
    """
    if not ml.clip:
        return ()
    given = {each.array: each for each in ml.clip}
    for name in given:
        if name is not None and not any(set(arrays) == {name} for arrays in outputs):
            known = sorted({name for arrays in outputs for name in arrays})
            together = any(name in arrays for arrays in outputs)
            why = "is written by one map together with others" if together else "is no output of the region"
            raise DirectiveError(
                f"'{name}' {why}; outputs are {', '.join(known)}: 'clip' bounds an output as a whole",
                ml.text,
                *ml.clauses["clip"],
            )
    free = Bounds(None, None, None)
    found = [
        given.get(next(iter(arrays)) if len(set(arrays)) == 1 else None) or given.get(None, free) for arrays in outputs
    ]
    return tuple(Bounds(None, each.low, each.high) for each in found)


def number_of(name: str, values: Mapping[str, object], where: Expr) -> float:
    """The number of a call that the condition of its guard names. Raises `DirectiveError` if it is none."""
    value: Any = values[name]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, numbers.Real):
        raise no_number(name, f"of type {type(value).__name__}, and no array of the region's maps", where)
    try:
        return float(value)
    except OverflowError:
        raise no_number(name, f"{value}, which is no number in double precision", where) from None


def no_number(name: str, what: str, where: Expr) -> DirectiveError:
    """The error that a name in a condition, which stands for a number, is `what`."""
    node = next(each for each in where.variables if each.id == name)
    return DirectiveError(
        f"'{name}' is {what}: in a condition of 'where' such a name is a number. Give an array a map, as in "
        "declare tensor(hot: f(a[0:n])), and write its name",
        where.text,
        node.col_offset,
        node.end_col_offset or 0,
    )
