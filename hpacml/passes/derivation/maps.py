"""Maps of what a region touches, as functors and targets in which numbers are polynomials of what the region has.

Accesses of one sweep are one map: those of the arguments of the function in their order, then others, each array's
slices in the order of their offsets. Numbers on which what is written depends are features of the first input.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from xdsl.ir import BlockArgument, SSAValue

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.functors.polynomials import Poly
from hpacml.functors.tensor_functor import Entry, Functor, Point, Range, Slice
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.elements import Elements
from hpacml.passes.derivation.facts import ONE, ZERO, constant_part, substitute
from hpacml.passes.derivation.integers import LOOP
from hpacml.passes.derivation.nests import Access, Loop
from hpacml.passes.derivation.sweeps import Span, Sweeps, Swept

SYMBOLS = "ijklmnopqrstuvwxyz"
"""Names of sweeps' symbols where loops have none."""

Key = tuple[tuple[Span, ...], tuple[Poly, ...]]
"""What the slices of one map have alike: their sweep, and what must run beside it."""


@dataclass(frozen=True)
class Target:
    """The ranges of an array; of a number, which has none, the number."""

    array: SSAValue
    ranges: tuple[Span, ...] | None


@dataclass(frozen=True)
class DerivedMap:
    """A functor, and its targets: one for all slices, or one for each. `params` are atoms by the functor's names."""

    direction: Direction
    functor: Functor
    targets: tuple[Target, ...]
    params: dict[str, str]
    guards: tuple[Poly, ...] = ()
    """Extents, of which each must be positive for anything to be touched."""


@dataclass(frozen=True)
class _Piece:
    """A slice: entries by the symbols `@0`, `@1` ... of its sweep, and their target."""

    array: SSAValue
    entries: tuple[Poly | Span, ...]
    ranges: tuple[Span | None, ...] | None
    """The ranges of the symbols in each dimension, None where there is none. A number has no ranges."""
    access: Access | None = field(default=None, compare=False)


class Maps:
    """The maps of a region. `name_of` gives names to atoms; no symbol has a name that `is_taken`."""

    def __init__(
        self,
        elements: Elements,
        numbers: Sequence[SSAValue],
        name_of: Callable[[str], str | None],
        is_taken: Callable[[str], bool] = lambda name: False,
    ):
        self._name_of = name_of
        self._is_taken = is_taken
        sweeps = Sweeps(elements)
        self._names: dict[Key, tuple[str | None, ...]] = {}
        outputs = self._grouped(sweeps, elements.written)
        inputs = self._grouped(sweeps, elements.read)
        if numbers:
            alone = (Span(ZERO, ONE),), ()
            first = next((key for key in outputs if key in inputs), next(iter(inputs), alone))
            inputs.setdefault(first, []).extend(_Piece(number, (), None) for number in numbers)
        self.maps = [*self._maps(inputs, outputs)]

    def _grouped(self, sweeps: Sweeps, accesses: Sequence[Access]) -> dict[Key, list[_Piece]]:
        """The slices of each map, in their order."""
        swept = [each for access in accesses for each in sweeps.of(access)]
        groups: dict[Key, list[Swept]] = {}
        for each in swept:
            groups.setdefault((_spans(each.sweep), sweeps.guards(each)), []).append(each)
        found: dict[Key, dict[_Piece, None]] = {}
        for (_, guards), group in groups.items():
            moved = {
                loop.symbol
                for each in group
                for entry in each.entries
                for loop in each.sweep
                if loop.symbol in _names(entry)
            }
            used = [any(each.sweep[k].symbol in moved for each in group) for k in range(len(group[0].sweep))]
            beside = [
                _distance(loop)
                for loop, is_used in zip(group[0].sweep, used, strict=True)
                if not is_used and not loop.trips
            ]
            for each in group:
                sweep = tuple(loop for loop, is_used in zip(each.sweep, used, strict=True) if is_used)
                key = _spans(sweep), tuple(dict.fromkeys((*guards, *beside)))
                self._names.setdefault(key, tuple(loop.name for loop in sweep))
                found.setdefault(key, {})[_piece(replace(each, sweep=sweep))] = None
        arrays = list(dict.fromkeys(each.access.array for each in swept))
        return {key: sorted(pieces, key=lambda each: _order(each, arrays)) for key, pieces in found.items()}

    def _maps(self, inputs: dict[Key, list[_Piece]], outputs: dict[Key, list[_Piece]]) -> Iterable[DerivedMap]:
        both = [key for key in inputs if set(inputs[key]) == set(outputs.get(key, ()))]
        for direction, groups in ((Direction.To, inputs), (Direction.From, outputs)):
            for key, pieces in groups.items():
                if key not in both:
                    yield self._map(direction, key, pieces if direction == Direction.To else _ranged(pieces))
        for key in both:
            yield self._map(Direction.Inout, key, _ranged(inputs[key]))

    def _map(self, direction: Direction, key: Key, pieces: Sequence[_Piece]) -> DerivedMap:
        spans, guards = key
        if guards and not spans:  # one point, which is there if they all are positive
            spans = (Span(ZERO, ONE),)
            pieces = [_at_point(each) for each in pieces]
        params = self._params(pieces)
        named = {atom: Poly.name(name) for name, atom in params.items()}
        symbols = self._symbols(self._names.get(key, ()), len(spans), set(params))
        named |= {f"{LOOP}{k}": Poly.name(symbol) for k, symbol in enumerate(symbols)}
        rhs = tuple(_slice(piece, symbols, named) for piece in pieces)
        features = sum(_count(entries) for entries in rhs)
        lhs: list[Entry] = [Point(Poly.name(symbol)) for symbol in symbols]
        lhs.append(Range(ZERO, Poly.constant(features)))
        return DerivedMap(
            direction, Functor(tuple(lhs), rhs, frozenset(params)), _targets(pieces, spans), params, guards
        )

    def _params(self, pieces: Sequence[_Piece]) -> dict[str, str]:
        """The atoms in the slices, by names."""
        atoms = dict.fromkeys(
            name
            for piece in pieces
            for entry in piece.entries
            for poly in ((entry,) if isinstance(entry, Poly) else (entry.start, entry.stop))
            for name in sorted(poly.names)
            if not name.startswith(LOOP)
        )
        params: dict[str, str] = {}
        for atom in atoms:
            stem = self._name_of(atom) or "p"
            params[_free(stem, {*params})] = atom
        return params

    def _symbols(self, hints: Sequence[str | None], number: int, params: set[str]) -> list[str]:
        symbols: list[str] = []
        for k in range(number):
            hint = hints[k] if k < len(hints) else None
            avoid = {*params, *symbols}

            def is_free(name: str, avoid: Collection[str] = avoid) -> bool:
                return name not in avoid and not self._is_taken(name)

            if hint is None or not hint.isidentifier() or not is_free(hint):
                hint = next(each for each in _candidates() if is_free(each) and each not in hints)
            symbols.append(hint)
        return symbols


def _candidates() -> Iterator[str]:
    """Names for symbols."""
    yield from SYMBOLS
    yield from (f"i{n}" for n in count())


def _free(stem: str, taken: Collection[str]) -> str:
    return next(name for name in (f"{stem}{n}" if n else stem for n in count()) if name not in taken)


def _distance(loop: Loop) -> Poly:
    """How far a loop goes, also one that counts backwards."""
    return loop.extent if loop.step > 0 else -loop.extent


def _spans(sweep: Sequence[Loop]) -> tuple[Span, ...]:
    return tuple(Span(loop.lower, loop.upper, loop.step) for loop in sweep)


def _piece(swept: Swept) -> _Piece:
    names = {loop.symbol: Poly.name(f"{LOOP}{k}") for k, loop in enumerate(swept.sweep)}
    spans = _spans(swept.sweep)
    entries = tuple(_renamed(entry, names) for entry in swept.entries)
    ranges = tuple(
        next((span for k, span in enumerate(spans) if f"{LOOP}{k}" in _names(entry)), None) for entry in entries
    )
    return _Piece(swept.access.array, entries, ranges, swept.access)


def _renamed(entry: Poly | Span, names: dict[str, Poly]) -> Poly | Span:
    if isinstance(entry, Poly):
        return substitute(entry, names)
    return Span(substitute(entry.start, names), substitute(entry.stop, names), entry.step)


def _names(entry: Poly | Span) -> frozenset[str]:
    return entry.names if isinstance(entry, Poly) else entry.start.names


def _start(entry: Poly | Span) -> Poly:
    return entry if isinstance(entry, Poly) else entry.start


def _order(piece: _Piece, arrays: Sequence[SSAValue]) -> tuple[bool, int, tuple[tuple[int, str], ...]]:
    """Where a piece stands in its map."""
    is_argument = isinstance(piece.array, BlockArgument)
    place = piece.array.index if isinstance(piece.array, BlockArgument) else arrays.index(piece.array)
    offsets = tuple((constant_part(_start(entry)), str(_start(entry))) for entry in piece.entries)
    return not is_argument, place, offsets


def _ranged(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Pieces with those that stand side by side as ranges: what is written is then seen to be apart."""
    found: list[_Piece] = []
    for piece in pieces:
        if found and (wider := _joined(found[-1], piece)) is not None:
            found[-1] = wider
        else:
            found.append(piece)
    return found


def _joined(one: _Piece, other: _Piece) -> _Piece | None:
    if one.array is not other.array or one.ranges != other.ranges:
        return None
    differing = [m for m, (a, b) in enumerate(zip(one.entries, other.entries, strict=True)) if a != b]
    if len(differing) != 1:
        return None
    a, b = one.entries[differing[0]], other.entries[differing[0]]
    stop = a + ONE if isinstance(a, Poly) else a.stop
    if not isinstance(b, Poly) or stop != b or (isinstance(a, Span) and a.step != 1):
        return None
    entries = list(one.entries)
    entries[differing[0]] = Span(_start(a), b + ONE)
    return replace(one, entries=tuple(entries))


def _at_point(piece: _Piece) -> _Piece:
    """A piece without a sweep at a point that is there or not: it is what moves its first index."""
    if piece.ranges is None or piece.access is None:
        return piece
    if not piece.entries:
        raise refusal(
            piece.access.op,
            f"no map is inferred for {piece.access.what}: it happens in a loop that may make no trip, and a map of an "
            "array without dimensions has its element in any case. Give the region in(...) and out(...)",
        )
    here = Poly.name(f"{LOOP}0")
    first = piece.entries[0]
    moved = first + here if isinstance(first, Poly) else Span(first.start + here, first.stop + here, first.step)
    return replace(piece, entries=(moved, *piece.entries[1:]), ranges=(Span(ZERO, ONE), *piece.ranges[1:]))


def _slice(piece: _Piece, symbols: Sequence[str], named: dict[str, Poly]) -> Slice:
    if piece.ranges is None:
        return (Point(Poly.name(symbols[0]) if symbols else ZERO),)
    entries: list[Entry] = []
    for entry in piece.entries:
        if isinstance(entry, Poly):
            entries.append(Point(substitute(entry, named)))
        else:
            ends = substitute(entry.start, named), substitute(entry.stop, named)
            entries.append(Range(*ends, Poly.constant(entry.step)))
    return tuple(entries)


def _count(entries: Slice) -> int:
    total = 1
    for entry in entries:
        if isinstance(entry, Range) and entry.count is not None:
            total *= entry.count.as_int or 0
    return total


def _targets(pieces: Sequence[_Piece], spans: Sequence[Span]) -> tuple[Target, ...]:
    """A target for each slice, or one for all if that does."""
    each = [_ranges(piece) for piece in pieces]
    for array in dict.fromkeys(piece.array for piece in pieces if piece.ranges is not None):
        of_array = [k for k, piece in enumerate(pieces) if piece.array is array]
        dims = list(zip(*(each[k] or () for k in of_array), strict=True))
        shared = [_hull(dim, [pieces[k].ranges for k in of_array], m) for m, dim in enumerate(dims)]
        if all(span is not None for span in shared):
            for k in of_array:
                each[k] = tuple(span for span in shared if span is not None)
    targets = [Target(piece.array, ranges) for piece, ranges in zip(pieces, each, strict=True)]
    return tuple(targets[:1] if len(set(targets)) == 1 else targets)


def _ranges(piece: _Piece) -> tuple[Span, ...] | None:
    """The ranges of a target that has the elements of a piece, and no others."""
    if piece.ranges is None:
        return None
    found: list[Span] = []
    for entry, span in zip(piece.entries, piece.ranges, strict=True):
        if span is not None:
            found.append(span)
        elif isinstance(entry, Poly):
            found.append(Span(entry, entry + ONE))
        elif entry.step > 0:
            found.append(Span(entry.start, entry.stop))
        else:
            found.append(Span(entry.stop + ONE, entry.start + ONE))
    return tuple(found)


def _hull(spans: Sequence[Span], ranges: Sequence[tuple[Span | None, ...] | None], m: int) -> Span | None:
    """One range for dimension `m` of several slices, if all are moved alike there, or none is."""
    moved = {each[m] if each else None for each in ranges}
    if len(set(spans)) == 1 and len(moved) == 1:
        return spans[0]
    starts, stops = [span.start.as_int for span in spans], [span.stop.as_int for span in spans]
    if moved != {None} or None in starts or None in stops:
        return None
    return Span(
        Poly.constant(min(n for n in starts if n is not None)), Poly.constant(max(n for n in stops if n is not None))
    )
