"""The clause `pointwise`: the maps of a region whose body makes any of its points alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from hpacml.directives.expressions import Expr, Span, evaluate_int
from hpacml.directives.syntax import FunctorDirective, MlDirective, Target, TargetRange
from hpacml.errors import DirectiveError
from hpacml.frontend.guarding import Map, Where
from hpacml.functors.tensor_functor import Entry, Point, names_of

_MEND = "; or leave the clause 'pointwise' out, and the body runs on all points"


def require_pointwise(ml: MlDirective, maps: Sequence[Map], where: Where[Map | None] | None) -> None:
    """Refuse the clause unless each element of each array belongs to one point of the maps of a region and its `where`.

    Then the body can be given arrays of some points, and their number in place of the sizes that the ranges name.
    Raises `DirectiveError`.
    """
    if not ml.pointwise:
        return
    if ml.truth:
        raise _error("arrays of 'truth' are none that a pointwise region is given", ml.text, ml.clauses["truth"])
    points = [] if where is None else [each for each in where.points.values() if each is not None]
    _Pointwise().check([*maps, *points])


class _Pointwise:
    """What the maps of a region say so far."""

    def __init__(self) -> None:
        self._dims: dict[str, dict[int, int]] = {}
        """For each array, which of its dimensions have one index at a point, and which of the sweep these are."""
        self._sizes: dict[str, int] = {}
        """The names of the sweep's sizes, and of which of its dimensions."""

    def check(self, maps: Sequence[Map]) -> None:
        for functor, targets in maps:
            self._check_map(functor, targets)
        for functor, targets in maps:
            self._check_other_uses(functor, targets)

    def _check_map(self, functor: FunctorDirective, targets: Sequence[Target]) -> None:
        sweep = _sweep(functor)
        for number, target in _slices(functor, targets):
            if not target.entries:
                continue  # a number, which all points have
            if "." in target.array:
                raise _error(
                    f"the body of a pointwise region is given other arrays, and '{target.array}' is an attribute: make "
                    "it a parameter of the function",
                    target.text,
                    target.span,
                )
            dims = _dims(functor, number, sweep)
            before = self._dims.setdefault(target.array, dims)
            if before != dims:
                raise _error(
                    f"two maps have the points of '{target.array}' in other dimensions, so that an element of it "
                    "belongs to several points",
                    target.text,
                    target.span,
                )
            for d, dim in dims.items():
                self._check_range(target, d, dim)

    def _check_range(self, target: Target, d: int, dim: int) -> None:
        """Refuse a range of points that is not of a whole array, or of as many elements as a name says."""
        entry = target.entries[d] if d < len(target.entries) else None
        if isinstance(entry, Target):
            raise _error(
                f"an element of '{target.array}' may belong to several points, as '{entry.array}' says which",
                target.text,
                entry.span,
            )
        whole = isinstance(entry, TargetRange) and _is(entry.start, 0) and (entry.step is None or _is(entry.step, 1))
        stop = entry.stop if isinstance(entry, TargetRange) else None
        if not whole or (stop is not None and not isinstance(stop.node, ast.Name)):
            where = target.span if entry is None else entry.span
            raise _error(
                f"dimension {d} of '{target.array}' has the points of a pointwise region: give it a range from 0 to a "
                "name, as many as the body is told that there are, or to the array's end",
                target.text,
                where,
            )
        if stop is not None and self._sizes.setdefault(str(stop), dim) != dim:
            raise _error(
                f"'{stop}' is the size of two dimensions of the sweep, and the body of a pointwise region may have to "
                "be told another one for each: give them two names, or leave the stops of the ranges out",
                target.text,
                stop.span,
            )

    def _check_other_uses(self, functor: FunctorDirective, targets: Sequence[Target]) -> None:
        """Refuse sizes of the sweep that are needed for something else, where they stay as they are."""
        for entries, spans in zip((functor.lhs, *functor.rhs), functor.spans, strict=True):
            for entry, span in zip(entries, spans, strict=True):
                for name in sorted(self._sizes.keys() & entry.names):
                    raise _error(
                        f"'{name}' is a size of the sweep, which the body is told another one of, and cannot "
                        "be a number of features, too: give one of them another name",
                        functor.text,
                        span,
                    )
        sweep = _sweep(functor)
        for number, target in _slices(functor, targets):
            if target.array in self._sizes:
                raise _error(
                    f"'{target.array}' is a size of the sweep, which the body is told another one of, and cannot be a "
                    "number for the model, too: give one of them another name",
                    target.text,
                    target.span,
                )
            dims = _dims(functor, number, sweep) if target.entries else {}
            for d, entry in enumerate(target.entries):
                for name in [] if d in dims else sorted(self._sizes.keys() & _names(entry)):
                    raise _error(
                        f"'{name}' is a size of the sweep, which the body is told another one of, and cannot "
                        "be one of other elements, too: give one of them another name",
                        target.text,
                        entry.span,
                    )


def _sweep(functor: FunctorDirective) -> list[str]:
    """The symbols of the sweep, in the order of the left side."""
    moving = names_of(entry for entries in functor.rhs for entry in entries)
    names = [entry.index.as_name for entry in functor.lhs if isinstance(entry, Point)]
    return [name for name in names if name is not None and name in moving]


def _slices(functor: FunctorDirective, targets: Sequence[Target]) -> Iterator[tuple[int, Target]]:
    """The number of each slice of a functor, and its target."""
    every = list(targets) * (len(functor.rhs) if len(targets) == 1 else 1)
    return enumerate(every[: len(functor.rhs)])


def _dims(functor: FunctorDirective, number: int, sweep: Sequence[str]) -> dict[int, int]:
    """Which dimensions of an array points have one index of, and which of the sweep these are."""
    found: dict[int, int] = {}
    for d, (entry, span) in enumerate(zip(functor.rhs[number], functor.spans[1 + number], strict=True)):
        if not (names := entry.names & set(sweep)):
            continue
        name = _symbol(entry)
        if name is None or sweep.index(name) in found.values():
            raise _error(
                f"an element may belong to several points of a pointwise region, as '{entry}' says: write "
                f"'{min(names)}' by itself, once in each slice",
                functor.text,
                span,
            )
        found[d] = sweep.index(name)
    if len(found) < len(sweep):
        missing = next(name for position, name in enumerate(sweep) if position not in found.values())
        spans = functor.spans[1 + number]
        raise _error(
            f"an element belongs to all points of a pointwise region along '{missing}', which this slice lacks",
            functor.text,
            (spans[0].start, spans[-1].end) if spans else functor.span,
        )
    return found


def _symbol(entry: Entry) -> str | None:
    return entry.index.as_name if isinstance(entry, Point) else None


def _is(expr: Expr, value: int) -> bool:
    return not expr.names and evaluate_int(expr, {}) == value


def _names(entry: object) -> set[str]:
    match entry:
        case Target(entries=entries):
            return set[str]().union(*map(_names, entries))
        case TargetRange(start, stop, step):
            return set[str]().union(*(each.names for each in (start, stop, step) if each is not None))
        case _:
            return set(entry.expr.names)  # pyright: ignore


def _error(message: str, text: str, span: Span | tuple[int, int]) -> DirectiveError:
    return DirectiveError(message + _MEND, text, *span)
