"""Which of two accesses of an array comes first, for the elements that both touch."""

from __future__ import annotations

from enum import Enum
from math import gcd
from typing import NamedTuple

from hpacml.functors.polynomials import Poly
from hpacml.passes.derivation.facts import ONE, Facts, divided
from hpacml.passes.derivation.integers import LOOP
from hpacml.passes.derivation.nests import Access, Loop


class Order(Enum):
    """How a load and a store of one array stand to each other, in all elements that both touch."""

    APART = "they touch no element both"
    LOAD_FIRST = "the load comes first"
    STORE_FIRST = "the store comes first"
    UNKNOWN = "neither in all elements"


_OPPOSITE = {">": "<", ">=": "<=", "=": "="}


class Line(NamedTuple):
    """An index as the elements that it goes through: `scale` times what a loop counts, and `shift`."""

    scale: int
    loop: Loop | None
    shift: Poly

    @property
    def low(self) -> Poly:
        """The least index, if there is one."""
        return self.shift + self._end(self.scale > 0)

    @property
    def end(self) -> Poly:
        """What lies behind the greatest index."""
        return self.shift + self._end(self.scale < 0) + ONE

    def _end(self, first: bool) -> Poly:
        if self.loop is None:
            return Poly.constant(0)
        factor = Poly.constant(self.scale)
        return factor * self.loop.lower if first else factor * (self.loop.upper - ONE)


def lines(access: Access) -> tuple[Line, ...] | None:
    """The indices of an access as lines, of which no two have a loop in common. None where they are none."""
    found: list[Line] = []
    for each in access.index:
        symbols = sorted(name for name in each.names if name.startswith(LOOP))
        if not symbols:
            found.append(Line(0, None, each))
            continue
        scale = each.coefficient(symbols[0]).as_int
        if len(symbols) > 1 or scale is None:
            return None
        loop = next(loop for loop in access.loops if loop.symbol == symbols[0])
        found.append(Line(scale, loop, each.without(symbols)))
    loops = [line.loop for line in found if line.loop is not None]
    return tuple(found) if len(set(loops)) == len(loops) else None


def order(load: Access, store: Access, facts: Facts) -> Order:
    """Which of a load and a store of one array is the first to touch an element that both touch."""
    one, other = lines(load), lines(store)
    if one is None or other is None:
        return _of_equal(load, store)
    if any(are_apart(a, b, facts) for a, b in zip(one, other, strict=True)):
        return Order.APART
    return _in_time(load, store, one, other, facts)


def _of_equal(load: Access, store: Access) -> Order:
    """The order of accesses that are no lines, if each iteration has an element of its own, which both touch."""
    same = load.index == store.index and all(loop in load.loops for loop in store.over)
    if not same or not is_injective(load):
        return Order.UNKNOWN
    return _textual(load, store)


def _textual(load: Access, store: Access) -> Order:
    """The order of accesses in one iteration of the loops around both."""
    return Order.LOAD_FIRST if load.position < store.position or exclude(load, store) else Order.STORE_FIRST


def exclude(one: Access, other: Access) -> bool:
    """Whether two accesses are on different ways of one condition."""
    return any(a.of is b.of and a.holds != b.holds for a in one.conditions for b in other.conditions)


def are_apart(a: Line, b: Line, facts: Facts) -> bool:
    """Whether two lines have no index in common."""
    known = facts.and_([line.loop.extent - ONE for line in (a, b) if line.loop is not None])
    if known.at_least(a.low, b.end) or known.at_least(b.low, a.end):
        return True
    steps = [abs(line.scale) * line.loop.step for line in (a, b) if line.loop is not None]
    distance = (_first(a) - _first(b)).as_int
    return bool(steps) and distance is not None and distance % gcd(*steps) != 0


def _first(line: Line) -> Poly:
    return line.shift if line.loop is None else line.shift + Poly.constant(line.scale) * line.loop.lower


def _in_time(load: Access, store: Access, one: tuple[Line, ...], other: tuple[Line, ...], facts: Facts) -> Order:
    """Compare the first iterations in which they touch an element, loop by loop from the outside."""
    leans: Order | None = None
    for loop, theirs in zip(load.loops, store.loops, strict=False):
        if loop is not theirs:
            break
        sign = _compare(loop, one, other, facts)
        if sign is None or (loop.is_parallel and sign != "=" and loop.trips != 1):
            return Order.UNKNOWN
        if sign == "apart":
            return Order.APART
        if sign in ("<", ">"):
            found = Order.LOAD_FIRST if sign == "<" else Order.STORE_FIRST
            return found if leans in (None, found) else Order.UNKNOWN
        if sign in ("<=", ">="):
            found = Order.LOAD_FIRST if sign == "<=" else Order.STORE_FIRST
            if leans not in (None, found):
                return Order.UNKNOWN
            leans = found
    found = _textual(load, store)
    return found if leans in (None, found) else Order.UNKNOWN


def _compare(loop: Loop, one: tuple[Line, ...], other: tuple[Line, ...], facts: Facts) -> str | None:
    """How the first iteration of the load with an element stands to that of the store: `<`, `<=`, `=`, `>=`, `>`.

    "apart" says that there is no such element, and None that it differs.
    """
    mine = next(((m, line) for m, line in enumerate(one) if line.loop is loop), None)
    theirs = next(((m, line) for m, line in enumerate(other) if line.loop is loop), None)
    if theirs is None and mine is not None:
        return _against_first(loop, mine[1], other[mine[0]], facts)
    if mine is None or theirs is None:
        return _OPPOSITE[_against_first(loop, theirs[1], one[theirs[0]], facts)] if theirs else "="
    (m, a), (n, b) = mine, theirs
    if m != n or a.scale != b.scale:
        return None
    distance = divided(b.shift - a.shift, a.scale)
    if distance is None:
        return "apart" if (b.shift - a.shift).as_int is not None else None
    if distance.as_int == 0:
        return "="
    if distance.as_int is not None and distance.as_int % loop.step:
        return "apart"
    if facts.prove(distance - ONE):
        return ">"
    return "<" if facts.prove(-distance - ONE) else None


def _against_first(loop: Loop, line: Line, across: Line, facts: Facts) -> str:
    """How the iteration in which a line meets what lies across it stands to the first iteration."""
    if across.loop is None and abs(line.scale) == 1:
        iteration = Poly.constant(line.scale) * (across.shift - line.shift)
        if iteration == loop.lower:
            return "="
        if facts.prove(iteration - loop.lower - ONE):
            return ">"
    return ">="


def is_injective(access: Access) -> bool:
    """Whether no element is touched in two iterations of the loops that choose it: indices count like digits."""
    chosen, loops = set[str](), {loop.symbol: loop for loop in access.loops}
    for each in access.index:
        symbols = [name for name in each.names if name in loops and name not in chosen]
        if _are_digits([(each.coefficient(name), loops[name]) for name in symbols]):
            chosen.update(symbols)
    return access.symbols <= chosen


def _are_digits(parts: list[tuple[Poly, Loop]]) -> bool:
    """Whether loops that are scaled and added up give different sums; scales that the run knows are not followed."""
    if len(parts) < 2:
        return True
    digits: list[tuple[int, int | None]] = []
    for scale, loop in parts:
        if not scale.as_int:
            return False
        digits.append((abs(scale.as_int) * loop.step, loop.trips))
    digits.sort(key=lambda digit: digit[0])
    reach = 0
    for number, (step, trips) in enumerate(digits):
        if step <= reach or (trips is None and number < len(digits) - 1):
            return False
        reach += 0 if trips is None else step * (trips - 1)
    return True
