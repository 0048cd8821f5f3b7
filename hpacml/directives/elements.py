"""Which elements of arrays recorded maps gather or write, whatever the numbers in them are."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from hpacml.directives.expressions import Expr, affine
from hpacml.directives.recorded import RecordedMap, read_map
from hpacml.directives.syntax import Target, TargetIndex, TargetRange
from hpacml.errors import DirectiveError, MapError
from hpacml.functors import targets
from hpacml.functors.application import resolve
from hpacml.functors.arithmetic import NAMED
from hpacml.functors.polynomials import Poly
from hpacml.functors.strided_views import Mapped, View
from hpacml.functors.tensor_functor import Point, names_of

MOST = 1 << 12
"""The features of a slice up to which each is looked at."""


class Element(NamedTuple):
    """An element of an array at each point of a sweep: its index at the first point, and what a step adds to that.

    `steps` has for each dimension of the array what a step in each dimension of the sweep adds.
    """

    array: str
    base: tuple[Poly, ...]
    steps: tuple[tuple[Poly, ...], ...]


class Elements(NamedTuple):
    """The features of a map, in the order of its tensor, and the sizes of the sweep, whose dimensions come first."""

    sweep: tuple[Poly, ...]
    features: tuple[Element, ...]


def elements_of(text: str) -> Elements | None:
    """Find the elements of a recorded map.

    None for one whose sweep is not the first dimensions of its tensor, whose features are not a known number, or whose
    elements are chosen by index arrays.
    """
    known, applied = read_map(text), _applied(text)
    if known is None or applied is None:
        return None
    swept = _swept(known)
    if sorted(swept, reverse=True) != swept:
        return None
    count = sum(swept)
    views = zip(known.target_of_each_slice, applied.views, strict=True)
    found = [_features(target.array, view, count) for target, view in views]
    features = [element for each in found if each is not None for element in each]
    return None if None in found else Elements(applied.views[0].sizes[:count], tuple(features))


def sweep_sizes(text: str) -> tuple[Poly, ...] | None:
    """The sizes of the sweep of a recorded map, in the order of its tensor; None if they are not known."""
    known, applied = read_map(text), _applied(text)
    if known is None or applied is None:
        return None
    return tuple(size for size, swept in zip(applied.shape, _swept(known), strict=True) if swept)


def _applied(text: str) -> Mapped[Poly] | None:
    """Apply the functor of a recorded map to its targets; None for one of index arrays, or for another text."""
    known = read_map(text)
    if known is None or known.targets is None:
        return None
    directive = known.functor
    symbols = {entry.index.as_name for entry in directive.lhs if isinstance(entry, Point)}
    names = names_of(entry for entries in (directive.lhs, *directive.rhs) for entry in entries)
    parameters = {name: Poly.name(f"parameter {name}") for name in names if name not in symbols}
    slices = zip(known.target_of_each_slice, directive.rhs, strict=False)
    given = [_target(target, len(entries)) for target, entries in slices]
    if None in given:
        return None
    try:
        functor = directive.functor(frozenset(parameters))
        return resolve(functor, [each for each in given if each is not None], parameters, "to", NAMED)
    except (DirectiveError, MapError):
        return None


def _swept(known: RecordedMap) -> list[bool]:
    """Tell for each dimension of a map's tensor whether it is one of the sweep."""
    moving = names_of(entry for entries in known.functor.rhs for entry in entries)
    return [isinstance(entry, Point) and entry.index.as_name in moving for entry in known.functor.lhs]


def _features(array: str, view: View[Poly], sweep: int) -> list[Element] | None:
    """The features of a slice; None if nobody knows how many there are, or if they are very many."""
    sizes = [size.as_int for size in view.sizes[sweep:]]
    if None in sizes or math.prod(size or 0 for size in sizes) > MOST:
        return None
    steps = tuple(row[:sweep] for row in view.steps)
    found: list[Element] = []
    for place in itertools.product(*(range(size or 0) for size in sizes)):
        moved = (
            sum((step * Poly.constant(k) for step, k in zip(row[sweep:], place, strict=True)), base)
            for base, row in zip(view.base, view.steps, strict=True)
        )
        found.append(Element(array, tuple(moved), steps))
    return found


def _target(target: Target, rank: int) -> targets.Target[Poly] | None:
    """A target of a slice of `rank` entries; None for one with index arrays. A number is an array of one element."""
    zero, one = Poly.constant(0), Poly.constant(1)
    if not target.entries:
        return targets.Target(target.array, (targets.TargetDim(zero, one, one, one),) * rank)
    dims: list[targets.TargetDim[Poly]] = []
    for m, entry in enumerate(target.entries):
        size = Poly.name(f"{target.array}.shape[{m}]")
        match entry:
            case TargetIndex(expr):
                start = _number(expr)
                dims.append(targets.TargetDim(start, start + one, one, size, single=True))
            case TargetRange(start, stop, step):
                end, stride = (size if stop is None else _number(stop)), (one if step is None else _number(step))
                dims.append(targets.TargetDim(_number(start), end, stride, size))
            case Target():
                return None
    return targets.Target(target.array, tuple(dims))


def _number(expr: Expr) -> Poly:
    try:
        return affine(expr)
    except DirectiveError:
        return Poly.name(f"({expr})")
