"""The elements that a region reads before it writes them, and those that it writes: as accesses, none of which overlap
where that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count

from xdsl.ir import SSAValue

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.located import refusal
from hpacml.passes.derivation.accesses import Accesses
from hpacml.passes.derivation.conditions import alternatives, is_of_overlaps, refuted
from hpacml.passes.derivation.facts import ONE, Facts, substitute
from hpacml.passes.derivation.integers import LOOP, Unknown
from hpacml.passes.derivation.nests import Access, Loop, trips_of
from hpacml.passes.derivation.order import Line, Order, are_apart, exclude, is_injective, lines, order

_numbers = count()


class Elements:
    """`read` has loads of the elements that are read before they are written, `written` stores of those written.

    Raises `PassFailedException` where these are no ranges.
    """

    def __init__(self, accesses: Accesses):
        self.integers = accesses.integers
        self._all = accesses.found
        self._facts: dict[frozenset[Loop], Facts] = {}
        kept = [each for each in accesses.found if not each.is_own]
        self.stores = [each for each in kept if each.is_store]
        """All stores, each in its own loops."""
        self._alternatives = alternatives(self.stores)
        self._loads = [each for each in kept if not each.is_store]
        self.written = self._written()
        self.read = self._read()

    # -- facts -----------------------------------------------------------------------------------

    def facts(self, loops: Sequence[Loop] = ()) -> Facts:
        """What is known where these loops run: they do, and what is touched then in any case lies in its array."""
        running = frozenset(loops)
        if running not in self._facts:
            known = list(trips_of(loops))
            for access in self._all:
                if not access.conditions and running.issuperset(access.loops):
                    known += inside(access)
            self._facts[running] = self.integers.facts(known)
        return self._facts[running]

    def guards(self, access: Access, swept: Sequence[Loop] = ()) -> list[Loop]:
        """The loops that neither choose the element nor are swept over, and may make no trip where those do."""
        running = [loop for loop in access.loops if loop in access.over or loop in swept]
        found: list[Loop] = []
        for loop in access.loops:
            if loop not in running:
                if not loop.trips and not self.facts(running).prove(loop.extent - ONE):
                    found.append(loop)
                running.append(loop)
        return found

    def plain(self, access: Access) -> Access:
        """The access with indices in which each extreme is known that is known where the access happens."""
        facts = self.facts(access.loops)
        return replace(access, index=tuple(self.integers.simplify(each, facts) for each in access.index))

    # -- written ---------------------------------------------------------------------------------

    def _written(self) -> list[Access]:
        found: list[Access] = []
        for store in map(self.plain, self.stores):
            if not is_injective(store):
                raise refusal(
                    store.op,
                    f"no map is inferred for {store.what}: its indices do not tell that each iteration of the loops "
                    "that choose its element writes another one, and a map writes each once. Give the region in(...) "
                    "and out(...)",
                )
            found = [other for other in found if self._covers(other, store) or not self._covers(store, other)]
            parts = [store]
            for other in found:
                if other.array is store.array:
                    parts = [rest for part in parts for rest in self._less(part, other, self._twice(store, other))]
            found += parts
        return found

    def _twice(self, store: Access, other: Access) -> str:
        return (
            f"no map is inferred for {store.what}: another store writes elements of it as well ({other.what}), and "
            "which ones are in both is no range. Give the region in(...) and out(...)"
        )

    # -- read ------------------------------------------------------------------------------------

    def _read(self) -> list[Access]:
        plain = {each: self.plain(each) for each in self.stores}
        found: list[Access] = []
        for load in map(self.plain, self._loads):
            parts = [load]
            for each, store in plain.items():
                if store.array is load.array and not self._is_staged(load, store):
                    others = [plain[other] for other in self._alternatives[each] if other is not each]
                    parts = self._before(load, store, others, parts)
            found += parts
        return found

    def _is_staged(self, load: Access, store: Access) -> bool:
        """Whether a store happens at once only where it has no element of a load, and else later."""
        if not isinstance(store.staged, SSAValue):
            return store.staged is not None
        one, other = lines(load), lines(store)
        if one is None or other is None:
            return is_of_overlaps(store.staged)
        facts = self.facts([loop for loop in load.loops if loop in store.loops])

        def are_parted(known: Poly) -> bool:
            more = facts.and_([self.integers.simplify(known, facts)])
            return any(are_apart(a, b, more) for a, b in zip(one, other, strict=True))

        return is_of_overlaps(store.staged) or any(
            all(map(are_parted, ways)) for ways in refuted(store.staged, self.integers)
        )

    def _order(self, load: Access, store: Access) -> Order:
        return order(load, store, self.facts([loop for loop in load.loops if loop in store.loops]))

    def _before(self, load: Access, store: Access, others: Sequence[Access], parts: list[Access]) -> list[Access]:
        """What is left of the parts of a load without the elements that a store has written before.

        Where it may not have happened, `others` have to be before as well, of which one happens then.
        """
        match self._order(load, store):
            case Order.APART | Order.LOAD_FIRST:
                return parts
            case Order.STORE_FIRST:
                sure = all(condition in load.conditions for condition in store.conditions)
                then = (other for other in others if not exclude(load, other))
                if not sure and any(self._order(load, other) is not Order.STORE_FIRST for other in then):
                    return parts
                why = (
                    f"no map is inferred for {load.what}: some of what it reads has been written before, by "
                    f"{store.what}, and the rest is no range. Give the region in(...) and out(...)"
                )
                return [rest for part in parts for rest in self._less(part, store, why)]
            case Order.UNKNOWN:
                raise refusal(
                    load.op,
                    f"no map is inferred for {load.what}: of the elements that it and {store.what} touch, some are "
                    "read first and some written first, or iterations of a parallel loop share them. Give the region "
                    "in(...) and out(...)",
                )

    # -- sets ------------------------------------------------------------------------------------

    def _covers(self, one: Access, other: Access) -> bool:
        """Whether an access is known to touch all that another one of the same array touches."""
        if one.array is not other.array or not self._runs_with(one, other):
            return False
        if one.key == other.key:
            return True
        mine, theirs = lines(one), lines(other)
        if mine is None or theirs is None or len(mine) != len(theirs):
            return False
        facts = self.facts()
        return all(
            _is_all(a) and facts.at_least(b.low, a.low) and facts.at_least(a.end, b.end)
            for a, b in zip(mine, theirs, strict=True)
        )

    def _runs_with(self, one: Access, other: Access) -> bool:
        """Whether each loop around an access that does not choose its element runs where another access happens."""
        there = [(loop.lower, loop.upper) for loop in other.loops]
        return all((loop.lower, loop.upper) in there for loop in self.guards(one))

    def _less(self, one: Access, other: Access, why: str) -> list[Access]:
        """The elements of an access without those of another. Raises `PassFailedException` if these are no ranges."""
        if self._covers(other, one):
            return []
        mine, theirs = lines(one), lines(other)
        if mine is None or theirs is None or not self._runs_with(other, one):
            raise refusal(one.op, why)
        facts = self.facts()
        if any(are_apart(a, b, facts) for a, b in zip(mine, theirs, strict=True)):
            return [one]
        differing = [
            (m, a, b)
            for m, (a, b) in enumerate(zip(mine, theirs, strict=True))
            if not (_is_all(b) and facts.at_least(a.low, b.low) and facts.at_least(b.end, a.end))
        ]
        if len(differing) != 1 or not all(map(_is_all, differing[0][1:])):
            raise refusal(one.op, why)
        ((m, a, b),) = differing
        return [part for part in self._ends(one, m, a, b) if part is not None]

    def _ends(self, one: Access, m: int, a: Line, b: Line) -> Iterable[Access | None]:
        """What of the line `a`, index `m` of an access, lies below the line `b`, and what lies above."""
        yield self._between(one, m, a, [a.low], [a.end, b.low])
        end = self.integers.extreme("max", [b.low, b.end])
        yield self._between(one, m, a, [a.low, end if isinstance(end, Poly) else b.end], [a.end])

    def _between(self, one: Access, m: int, line: Line, lows: Sequence[Poly], ends: Sequence[Poly]) -> Access | None:
        """The access with those indices `m`, of a line, from the greatest of `lows` before the least of `ends`."""
        low, end = self.integers.extreme("max", lows), self.integers.extreme("min", ends)
        if isinstance(low, Unknown) or isinstance(end, Unknown):
            raise refusal(one.op, f"no map is inferred for {one.what}: its bounds are not known")
        facts = self.integers.facts([low, end])
        low, end = self.integers.simplify(low, facts), self.integers.simplify(end, facts)
        if facts.prove(low - end):
            return None
        loop = Loop(f"{LOOP}part.{next(_numbers)}", line.loop.name if line.loop else None, low, end)
        index = (*one.index[:m], Poly.name(loop.symbol), *one.index[m + 1 :])
        return replace(one, index=index, loops=(*(each for each in one.loops if each is not line.loop), loop))


def inside(access: Access) -> Iterable[Poly]:
    """What is not negative since an access lies inside of its array, in the first iterations and in the last."""
    for index, size in zip(access.index, access.size, strict=True):
        low = high = index
        for loop in access.over:
            scale = index.coefficient(loop.symbol).as_int
            if scale is None:
                break
            ends = {loop.symbol: loop.lower}, {loop.symbol: loop.upper - ONE if loop.step == 1 else loop.lower}
            low, high = substitute(low, ends[scale < 0]), substitute(high, ends[scale > 0])
        else:
            yield low
            if not isinstance(size, Unknown):
                yield size - ONE - high


def _is_all(line: Line) -> bool:
    """Whether a line goes through all indices between its ends."""
    return line.loop is None or (abs(line.scale) == 1 and line.loop.step == 1)
