"""Loads and stores as data: the loops around them, and the conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from hpacml.functors.polynomials import Poly
from hpacml.passes.derivation.facts import ONE, substitute
from hpacml.passes.derivation.integers import LOOP, Integer

ADVICE = "Give the region in(...) and out(...)"


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop: `symbol` stands for its index, from `lower` before `upper`, `step` apart."""

    symbol: str
    name: str | None
    lower: Poly
    upper: Poly
    step: int = 1
    is_parallel: bool = False
    irregular: str | None = None
    """Why no map goes over its indices: what its bounds depend on."""

    @property
    def extent(self) -> Poly:
        """How far it goes; the iterations, where `step` is 1, and as positive as their number."""
        return self.upper - self.lower

    @property
    def trips(self) -> int | None:
        """How many iterations there are, if that is a constant."""
        extent = self.extent.as_int
        return None if extent is None else max(0, -(-extent // self.step))


@dataclass(frozen=True)
class Condition:
    """Something that holds or not while an access happens: a value, or an operation that says how often it does."""

    of: SSAValue | Operation
    holds: bool


@dataclass(frozen=True, eq=False)
class Access:
    """A load or a store. `conditions` are those around it."""

    op: Operation
    is_store: bool
    array: SSAValue
    index: tuple[Poly, ...]
    loops: tuple[Loop, ...]
    conditions: tuple[Condition, ...]
    position: int
    size: tuple[Integer, ...]
    is_own: bool = False
    """Whether it is of the region's own memory: nothing but what it tells about sizes counts."""
    staged: SSAValue | Operation | None = None
    """What has it happen at once: else it happens later, when all is loaded. The later one is another access."""

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols of the loops that choose the element."""
        return frozenset(name for each in self.index for name in each.names if name.startswith(LOOP))

    @property
    def over(self) -> tuple[Loop, ...]:
        """The loops that choose the element."""
        symbols = self.symbols
        return tuple(loop for loop in self.loops if loop.symbol in symbols)

    @property
    def others(self) -> tuple[Loop, ...]:
        """The loops that do not choose the element."""
        symbols = self.symbols
        return tuple(loop for loop in self.loops if loop.symbol not in symbols)

    @property
    def key(self) -> tuple[object, ...]:
        """What accesses of the same elements have alike: loops are told apart by their ranges."""
        names = {loop.symbol: Poly.name(f"{LOOP}#{k}") for k, loop in enumerate(self.over)}
        ranges = tuple((loop.lower, loop.upper, loop.step) for loop in self.over)
        return self.array, ranges, tuple(substitute(each, names) for each in self.index)

    @property
    def what(self) -> str:
        """The access in messages."""
        return f"{self.op.name} of {told(self.array)}"


def told(array: SSAValue) -> str:
    """An array in messages."""
    return f"'{array.name_hint}'" if array.name_hint else "an array without a name"


def trips_of(loops: Sequence[Loop]) -> Iterator[Poly]:
    """What is not negative where each of the loops runs."""
    return (loop.extent - ONE for loop in loops)
