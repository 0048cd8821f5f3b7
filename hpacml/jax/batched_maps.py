"""A map over a batch of arrays: the same functor with one symbol more."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from hpacml.directives.expressions import Expr, Span
from hpacml.directives.syntax import FunctorDirective, Target, TargetIndex, TargetRange
from hpacml.frontend.maps import AppliedFunctor
from hpacml.functors.polynomials import Poly
from hpacml.functors.tensor_functor import Entry, Point, names_of

_NOWHERE = Span(0, 0)


def batched(application: AppliedFunctor, size: int, arrays: Collection[str]) -> AppliedFunctor:
    """The map whose tensor has the dimension of a batch before its own, as `arrays` have; others have none."""
    directive = application.directive
    used = names_of(entry for entries in (directive.lhs, *directive.rhs) for entry in entries)
    symbol = "b"
    while symbol in used or symbol in application.params:
        symbol += "_"
    point = Point(Poly.name(symbol))
    ranks = application.numbers
    targets = tuple(_target(each, size, arrays, ranks.get(each.array, 0)) for each in application.targets)
    per_slice = application.targets * len(directive.rhs) if len(application.targets) == 1 else application.targets
    slices = tuple(
        tuple(_entries(target, iter(entries), point, arrays, ranks.get(target.array, 0)))
        for target, entries in zip(per_slice, directive.rhs, strict=True)
    )
    spans = tuple((_NOWHERE,) * len(entries) for entries in ((point, *directive.lhs), *slices))
    functor = FunctorDirective(directive.name, (point, *directive.lhs), slices, spans, directive.span, directive.text)
    return AppliedFunctor(functor, targets, application.params, application.unchecked)


def _entries(
    target: Target, rest: Iterator[Entry], point: Point, arrays: Collection[str], rank: int
) -> Iterator[Entry]:
    """The entries of a slice, with that of the batch before those of each array that has it."""
    if target.array in arrays:
        yield point
    if not target.entries:
        yield from (next(rest) for _ in range(rank))
    for entry in target.entries:
        if isinstance(entry, Target):
            yield from _entries(entry, rest, point, arrays, 0)
        else:
            yield next(rest)


def _target(target: Target, size: int, arrays: Collection[str], rank: int) -> Target:
    if not target.entries and target.array in arrays:
        single = (_range(1),) * rank
        return Target(target.array, (_range(size), *single), target.span, target.text)
    entries: list[TargetIndex | TargetRange | Target] = [_range(size)] if target.array in arrays else []
    entries += [_target(each, size, arrays, 0) if isinstance(each, Target) else each for each in target.entries]
    return Target(target.array, tuple(entries), target.span, target.text)


def _range(size: int) -> TargetRange:
    return TargetRange(_number(0), _number(size), None, _NOWHERE)


def _number(value: int) -> Expr:
    return Expr(ast.Constant(value), _NOWHERE, str(value))
