"""The points of maps: which loops a map goes over, and what is at each of its points.

A store is swept over the loops that choose its element, from the outside to the innermost one whose number of
iterations only the run knows; what loops inside of that one add are features. Without such a loop all are swept over.
A load is swept over the loops of a store around which it stands, if all others that choose its element make a constant
number of iterations: these add features. Else it is swept over its own loops, as a store is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from math import prod

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.elements import Elements
from hpacml.passes.derivation.facts import ONE, ZERO, constant_part, divided, substitute
from hpacml.passes.derivation.integers import LOOP, Trips
from hpacml.passes.derivation.nests import Access, Loop

MOST_UNROLLED = 64
"""The elements at a point that are told one by one."""

_numbers = count()


@dataclass(frozen=True)
class Span:
    """A range `start:stop:step` of polynomials."""

    start: Poly
    stop: Poly
    step: int = 1


Entry = Poly | Span


@dataclass(frozen=True)
class Swept:
    """Elements of an array at each point of a sweep: an index, or a range of them, for each dimension."""

    access: Access
    loops: tuple[Loop, ...]
    """The loops of the code that are swept over."""
    sweep: tuple[Loop, ...]
    """These as they are shown."""
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class _Form:
    """A loop as it is shown, whose index is `scale` times the former one, and `shift`."""

    loop: Loop
    scale: int
    shift: Poly

    def put_in(self, index: Poly, symbol: str) -> Poly:
        """An index by the loop as it is shown; `scale` divides the factor of the former symbol."""
        factor = divided(index.coefficient(symbol), self.scale)
        if factor is None:
            raise ValueError(f"{self.scale} does not divide {index}")
        return index.without([symbol]) + factor * (Poly.name(self.loop.symbol) - self.shift)


class Sweeps:
    """Finds the sweeps of accesses."""

    def __init__(self, elements: Elements):
        self._elements = elements
        self._integers = elements.integers
        self._ways = list(dict.fromkeys(map(_own, elements.stores)))
        """The loops that stores are swept over."""
        self._indices = [each for access in (*elements.written, *elements.read) for each in access.index]
        self._forms: dict[str, _Form] = {}
        for access in (*elements.written, *elements.read):
            for loop in access.over:
                if loop.symbol not in self._forms and (form := self._form(loop, access)) is not None:
                    self._forms[loop.symbol] = form

    def of(self, access: Access) -> list[Swept]:
        """What an access touches at each point. Raises `PassFailedException` where no map has such points."""
        if not access.is_store:
            around = [way for way in self._ways if all(loop in access.loops for loop in way)]
            if around and (way := max(around, key=len)) and self._fits(access, way):
                if (found := self._at_points(access, way)) is not None:
                    return found
            if around == [()] and self._fits(access, ()) and (found := self._at_points(access, ())) is not None:
                return found
            access = self._summed(access)
        found = self._at_points(access, _own(access))
        if found is None:
            raise refusal(
                access.op,
                f"no map is inferred for {access.what}: an index adds up several loops, and a range of a map has the "
                "indices of one. Give the region in(...) and out(...)",
            )
        return found

    def guards(self, swept: Swept) -> tuple[Poly, ...]:
        """The extents of loops beside the sweep that may make no trip, in which case nothing is touched."""
        guards = self._elements.guards(swept.access, swept.loops)
        return tuple(dict.fromkeys(loop.extent for loop in guards))

    @staticmethod
    def _fits(access: Access, way: Sequence[Loop]) -> bool:
        return all(loop in way or loop.trips is not None for loop in access.over)

    # -- loops as they are shown -----------------------------------------------------------------

    def _form(self, loop: Loop, access: Access) -> _Form | None:
        """A loop counted as the first index that it chooses, where it counts from 0 or that one backwards."""
        for each in access.index:
            scale, rest = each.coefficient(loop.symbol).as_int, each.without([loop.symbol])
            if scale and not any(name.startswith(LOOP) for name in rest.names):
                form = self._counted_as(loop, scale, rest)
                factors = [index.coefficient(loop.symbol) for index in self._indices]
                return form if form and all(divided(factor, form.scale) is not None for factor in factors) else None
        return None

    def _counted_as(self, loop: Loop, scale: int, rest: Poly) -> _Form | None:
        factor, counted = Poly.constant(scale), loop.lower == ZERO and loop.step == 1
        trips = self._integers.atoms.get(loop.upper.as_name or "")
        if counted and isinstance(trips, Trips) and abs(scale) == trips.step:
            end = trips.end - trips.first
            return _form(loop, scale, rest, rest, rest + end if scale > 0 else rest - end, scale)
        if scale == -1 and loop.step == 1:
            return _form(loop, scale, rest, rest - loop.upper + ONE, rest - loop.lower + ONE, 1)
        if scale < 0:
            return _form(loop, scale, rest, rest + factor * loop.lower, rest + factor * loop.upper, scale * loop.step)
        shift = Poly.constant(constant_part(rest))
        if counted and scale == 1 and shift != ZERO:
            return _form(loop, scale, shift, shift, loop.upper + shift, 1)
        return None

    def _shown(self, loop: Loop) -> Loop:
        return self._forms[loop.symbol].loop if loop.symbol in self._forms else loop

    # -- points ----------------------------------------------------------------------------------

    def _at_points(self, access: Access, sweep: Sequence[Loop]) -> list[Swept] | None:
        """What is at the points of a sweep; None if an index adds up two of its loops."""
        features = [loop for loop in access.over if loop not in sweep]
        indices = list(access.index)
        for loop in access.over:
            if loop.symbol in self._forms:
                indices = [self._forms[loop.symbol].put_in(each, loop.symbol) for each in indices]
        points = tuple(map(self._shown, sweep))
        names = {loop.symbol for loop in points}
        if any(len(each.names & names) > 1 for each in indices):
            return None
        shown = list(map(self._shown, features))
        return [Swept(access, tuple(sweep), points, entries) for entries in _features(access, indices, shown)]

    def _summed(self, access: Access) -> Access:
        """A load with one loop in the place of those of the run that an index adds up, all of whose sums it has."""
        index, loops = list(access.index), list(access.loops)
        for m, each in enumerate(index):
            parts = [loop for loop in access.over if loop.symbol in each.names and loop.trips is None]
            alone = [loop for loop in parts if sum(loop.symbol in other.names for other in index) == 1]
            scales = [each.coefficient(loop.symbol).as_int for loop in parts]
            whole = all(scale in (1, -1) and loop.step == 1 for scale, loop in zip(scales, parts, strict=True))
            if len(parts) < 2 or len(alone) != len(parts) or not whole:
                continue
            low = high = ZERO
            for scale, loop in zip(scales, parts, strict=True):
                ends = loop.lower, loop.upper - ONE
                low, high = (low + ends[0], high + ends[1]) if scale == 1 else (low - ends[1], high - ends[0])
            total = Loop(f"{LOOP}sum.{next(_numbers)}", None, low, high + ONE)
            loops.append(total)
            index[m] = each.without([loop.symbol for loop in parts]) + Poly.name(total.symbol)
        return replace(access, index=tuple(index), loops=tuple(loops))


def _form(loop: Loop, scale: int, shift: Poly, start: Poly, stop: Poly, step: int) -> _Form:
    symbol = f"{LOOP}form.{next(_numbers)}"
    return _Form(replace(loop, symbol=symbol, lower=start, upper=stop, step=step), scale, shift)


def _own(access: Access) -> tuple[Loop, ...]:
    """The loops that an access is swept over, if nothing else tells."""
    over = access.over
    last = max((k for k, loop in enumerate(over) if loop.trips is None), default=len(over) - 1)
    return over[: last + 1]


def _features(access: Access, indices: Sequence[Poly], loops: Sequence[Loop]) -> list[tuple[Entry, ...]]:
    """The entries of slices: a loop that moves one index, and is alone in it, becomes a range, others are unrolled."""
    ranges: dict[int, Loop] = {}
    rolled = list[Loop]()
    for loop in loops:
        moved = [m for m, each in enumerate(indices) if loop.symbol in each.names]
        alone = len(moved) == 1 and sum(other.symbol in indices[moved[0]].names for other in loops) == 1
        if alone and indices[moved[0]].coefficient(loop.symbol).as_int is not None:
            ranges[moved[0]] = loop
        else:
            rolled.append(loop)
    if prod(loop.trips or 0 for loop in rolled) > MOST_UNROLLED:
        names = ", ".join(f"'{loop.name}'" if loop.name else "one without a name" for loop in rolled)
        raise refusal(
            access.op,
            f"no map is inferred for {access.what}: the loops ({names}) choose more than {MOST_UNROLLED} elements at a "
            "point, which are no range. Give the region in(...) and out(...)",
        )
    found: dict[tuple[Entry, ...], None] = {}
    for values in product(*(_iterations(loop) for loop in rolled)):
        at = dict(zip((loop.symbol for loop in rolled), values, strict=True))
        here = [substitute(each, at) for each in indices]
        found[tuple(_range(each, ranges[m]) if m in ranges else each for m, each in enumerate(here))] = None
    return list(found)


def _iterations(loop: Loop) -> list[Poly]:
    return [loop.lower + Poly.constant(k * loop.step) for k in range(loop.trips or 0)]


def _range(index: Poly, loop: Loop) -> Span:
    scale, rest = index.coefficient(loop.symbol), index.without([loop.symbol])
    step = (scale.as_int or 0) * loop.step
    if step == -1:
        return Span(rest + scale * loop.upper + ONE, rest + scale * loop.lower + ONE)
    return Span(rest + scale * loop.lower, rest + scale * loop.upper, step)
