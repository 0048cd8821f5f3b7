"""The exact check of a map at run time, for what compiled code could not show with its own simple rules."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from hpacml.errors import MapError
from hpacml.functors import EXACT, Direction, Functor, Mapped, Target, TargetDim
from hpacml.runtime.sites import MapSite

LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class Entry:
    """One dimension of a target, with None for the numbers that come at run time."""

    start: int | None
    stop: int | None
    step: int | None
    single: bool

    @staticmethod
    def parse(text: str) -> Entry:
        numbers = [None if part.strip() == "?" else int(part) for part in text.split(":")]
        if len(numbers) == 1:
            return Entry(numbers[0], None, 1, True)
        return Entry(numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 1, False)

    def dim(self, size: int, holes: Iterator[int]) -> TargetDim[int]:
        """The dimension of an array of `size`, its open numbers taken from `holes`."""
        start = next(holes) if self.start is None else self.start
        if self.single:
            return TargetDim(start, start + 1, 1, size, True)
        stop = next(holes) if self.stop is None else self.stop
        step = next(holes) if self.step is None else self.step
        return TargetDim(start, stop, step, size)

    @property
    def open_numbers(self) -> int:
        return (self.start, self.step, 0 if self.single else self.stop).count(None)


class MapCheck:
    """The check of one map, whose values at run time may change."""

    def __init__(self, site: MapSite) -> None:
        self._site = site
        self._targets = [[Entry.parse(entry) for entry in target.strip("[]").split(",")] for target in site.targets]
        entries = [entry for target in self._targets for entry in target]
        self._numbers = ctypes.c_int64 * (
            len(entries) + sum(entry.open_numbers for entry in entries) + len(site.parameters)
        )
        self._fits: tuple[int, ...] | None = None

    def run(self, values: int) -> None:
        """Raises MapError unless the map fits, with the values at that address."""
        numbers = tuple(self._numbers.from_address(values))
        if numbers == self._fits:  # a map that only counting can tell is checked at each call
            return
        try:
            self._check(numbers)
        except MapError as error:
            raise MapError(f"in the map '{self._map}': {error}") from None
        self._fits = numbers

    def _check(self, numbers: Sequence[int]) -> None:
        rest = iter(numbers)
        sizes = [[next(rest) for _ in target] for target in self._targets]
        targets = [
            Target(
                name,
                tuple(entry.dim(size, rest) for entry, size in zip(target, shape, strict=True)),
            )
            for name, target, shape in zip(self._site.names, self._targets, sizes, strict=True)
        ]
        parameters = dict(zip(self._site.parameters, rest, strict=True))
        directions: dict[str, tuple[Direction, ...]] = {
            "to": ("to",),
            "from": ("from",),
            "inout": ("to", "from"),
        }
        for direction in directions[self._site.direction]:
            _require_64_bits(self._functor.resolve(targets, parameters, direction, EXACT), targets)

    @cached_property
    def _functor(self) -> Functor:
        from hpacml.frontend.directives import parse_functor

        return parse_functor(self._site.functor).functor(frozenset(self._site.parameters))

    @property
    def _map(self) -> str:
        if self._site.text is not None:
            return self._site.text
        targets = [n + t for n, t in zip(self._site.names, self._site.targets, strict=True)]
        return f"{self._site.functor.partition(':')[0]}({', '.join(targets)})"


def _require_64_bits(mapped: Mapped[int], targets: Sequence[Target[int]]) -> None:
    """Compiled code computes with 64-bit integers: raise MapError where one would overflow."""
    numbers = [*mapped.shape, 8 * prod(mapped.shape)]
    for number, view in enumerate(mapped.views):
        target = targets[number if len(targets) > 1 else 0]
        strides = [prod(dim.size for dim in target.dims[m + 1 :]) for m in range(len(target.dims))]
        offset, steps = view.strided(strides, EXACT)
        numbers += [*view.base, *(step for row in view.steps for step in row), offset, *steps]
    if largest := max((abs(number) for number in numbers if abs(number) > LARGEST), default=0):
        raise MapError(f"it needs the number {largest}, but indices and sizes have 64 bits")
