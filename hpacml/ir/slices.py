"""Functors of directive text, of offsets, and of slices whose entries are sums of symbols."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TypeAlias, cast

from hpacml.directives.parser import parse_functor
from hpacml.errors import DirectiveError
from hpacml.functors.polynomials import Poly
from hpacml.functors.tensor_functor import Entry, Functor, FunctorError, Point, Range, Slice
from hpacml.ir.sums import Sign, Summand

Offsets: TypeAlias = "Sequence[int] | Sequence[Sequence[int]]"
"""Where elements lie, seen from the point of the sweep: a number for each dimension."""

SliceEntry: TypeAlias = "Symbolic | int | slice[Symbolic | int, Symbolic | int, Symbolic | int | None]"
"""An index, or a range, of one dimension."""


@dataclass(frozen=True)
class Symbolic(Summand["Symbolic | int"]):
    """A polynomial over the names of a functor, such as `i - 1` or `m * i`."""

    poly: Poly

    def _combine(self, sign: Sign, left: Symbolic | int, right: Symbolic | int) -> Symbolic:
        a, b = _poly(left), _poly(right)
        return Symbolic(a + b if sign == "+" else a - b if sign == "-" else a * b)

    def __neg__(self) -> Symbolic:
        return Symbolic(-self.poly)

    def __str__(self) -> str:
        return str(self.poly)


def symbols(names: str) -> tuple[Symbolic, ...]:
    """The names of a functor, given in one text with spaces between them: `i, j = symbols("i j")`."""
    for name in names.split():
        if not name.isidentifier():
            raise DirectiveError(f"'{name}' cannot be the name of a symbol")
    return tuple(Symbolic(Poly.name(name)) for name in names.split())


def functor_of_text(text: str, params: Iterable[str]) -> tuple[str, Functor]:
    """The name and the functor of a directive. Raises `DirectiveError`."""
    directive = parse_functor(text)
    return directive.name, directive.functor(frozenset(params))


def functor_of_offsets(offsets: Offsets) -> Functor:
    """The functor with a feature for each offset. Raises `DirectiveError` for offsets that contradict each other."""
    points = [_offset(number, offset) for number, offset in enumerate(offsets)]
    if not points:
        raise DirectiveError("there are no offsets: give one for each feature, as in [(-1, 0), (1, 0)]")
    rank = len(points[0])
    for number, point in enumerate(points):
        if len(point) != rank or not point:
            raise DirectiveError(
                f"offset {number}, {_written(point)}, is of {len(point)} dimensions and offset 0, "
                f"{_written(points[0])}, of {rank}: give each offset a number for each dimension"
            )
    names = ascii_lowercase[8:] if rank <= 18 else [f"i{m}" for m in range(rank)]
    sweep = [Poly.name(names[m]) for m in range(rank)]
    features = Range(Poly.constant(0), Poly.constant(len(points)))
    rhs = tuple(tuple(Point(s + Poly.constant(n)) for s, n in zip(sweep, p, strict=True)) for p in points)
    return Functor((*map(Point, sweep), features), rhs)


def functor_of_slices(
    lhs: Sequence[SliceEntry], rhs: Sequence[Sequence[SliceEntry]], params: Iterable[str] = ()
) -> Functor:
    """The functor of slices. Raises `DirectiveError` if its sides contradict each other."""
    left = _slice(lhs, "the left side")
    right = tuple(_slice(entries, f"slice {number}") for number, entries in enumerate(rhs))
    try:
        return Functor(left, right, frozenset(params))
    except FunctorError as error:
        raise DirectiveError(error.message) from None


def _offset(number: int, offset: int | Sequence[int]) -> tuple[int, ...]:
    point = tuple(offset) if isinstance(offset, Sequence) else (offset,)
    for each in cast("tuple[object, ...]", point):
        if not isinstance(each, int) or isinstance(each, bool):
            raise DirectiveError(f"offset {number} has {each!r}, and offsets are integers")
        if not -(1 << 63) <= each < 1 << 63:
            raise DirectiveError(f"offset {number} has {each}, which does not fit 64 bits")
    return point


def _written(point: tuple[int, ...]) -> str:
    return str(point if len(point) != 1 else point[0])


def _slice(entries: Sequence[SliceEntry], where: str) -> Slice:
    return tuple(_entry(entry, f"entry {m} of {where}") for m, entry in enumerate(entries))


def _entry(entry: SliceEntry, where: str) -> Entry:
    if not isinstance(entry, slice):
        return Point(_poly(entry, where))
    if cast(object, entry.stop) is None:
        raise DirectiveError(f"{where} is a range without an end: a functor has both bounds")
    start = cast("Symbolic | int | None", entry.start)
    step = entry.step if entry.step is not None else 1
    return Range(*(_poly(each, where) for each in (0 if start is None else start, entry.stop, step)))


def _poly(value: Symbolic | int, where: str = "") -> Poly:
    if isinstance(value, Symbolic):
        return value.poly
    if not isinstance(cast(object, value), int) or isinstance(value, bool):
        what = f"{where} is {value!r}" if where else f"{value!r} is in a sum of symbols"
        raise DirectiveError(f"{what}: functors have integers and sums of symbols, as symbols('i j') makes them")
    return Poly.constant(value)
