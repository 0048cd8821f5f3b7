"""The points of a sweep that elements of outputs belong to: maps the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import cast

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import SSAValue

from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.errors import MapError
from hpacml.functors.application import resolve
from hpacml.functors.arithmetic import NAMED
from hpacml.functors.polynomials import Poly
from hpacml.functors.strided_views import View
from hpacml.functors.targets import accesses, bind
from hpacml.functors.tensor_functor import Functor
from hpacml.passes.derivation.facts import ONE, ZERO, Facts, constant_part, divided
from hpacml.passes.derivation.integers import Integers
from hpacml.passes.derivation.memory import Memory
from hpacml.passes.derivation.memory import View as Part
from hpacml.passes.masking.accesses import NotFollowed


@dataclass(frozen=True)
class Coordinate:
    """A dimension of a position: `number / divisor`, where that is an integer."""

    number: Poly
    divisor: int


Position = tuple[Coordinate, ...]
"""A point of the sweep, or one that lies outside of it."""


class Apart:
    """An element that belongs to no point."""


APART = Apart()


@dataclass(frozen=True)
class Elements:
    """The elements of an array that one slice of an output's map leads to."""

    array: SSAValue
    view: View[Poly]
    sweep: int
    """How many of the view's dimensions are those of the sweep; the others are features."""

    def position(self, index: Sequence[Poly], facts: Facts) -> Position | Apart | None:
        """The point of which an element of the array is a feature; None where that is not seen.

        No other element of the view has that index: positions are unique.
        """
        found = [self._along(m, each, facts) for m, each in enumerate(index)]
        if any(isinstance(each, Apart) for each in found):
            return APART
        moved = [self._moving(m, range(self.sweep)) for m in range(len(index))]
        if None in found or sorted(d for dims in moved for d in dims) != list(range(self.sweep)):
            return None
        coordinates = {dims[0]: cast(Coordinate, each) for dims, each in zip(moved, found, strict=True) if dims}
        return tuple(coordinates[d] for d in range(self.sweep))

    def _moving(self, m: int, dims: Iterable[int]) -> list[int]:
        return [d for d in dims if self.view.steps[m][d] != ZERO]

    def _along(self, m: int, index: Poly, facts: Facts) -> Coordinate | Apart | bool | None:
        """What an index says: a coordinate, or True where no coordinate moves it and it is one that features have."""
        rest = index - self.view.base[m]
        sweep, features = (
            self._moving(m, dims) for dims in (range(self.sweep), range(self.sweep, len(self.view.sizes)))
        )
        if len(sweep) > 1 or len(features) > 1:
            return None
        if not sweep:
            return self._is_feature(rest, m, features, facts)
        step = self.view.steps[m][sweep[0]].as_int
        if step is None:
            return None
        if features:
            return self._block(rest, step, m, features[0], facts)
        if (number := divided(rest, step)) is not None:
            return Coordinate(number, 1)
        if constant_part(rest) % gcd(step, *(factor for names, factor in rest.terms if names)):
            return APART
        return Coordinate(rest if step > 0 else -rest, abs(step))

    def _is_feature(self, rest: Poly, m: int, features: Sequence[int], facts: Facts) -> bool | Apart | None:
        """Whether an index is one of those that features have in a dimension that the sweep does not move."""
        number, size = rest, ONE
        if features:
            step, size = self.view.steps[m][features[0]].as_int, self.view.sizes[features[0]]
            if step is None or (number := divided(rest, step)) is None:
                return None
        if facts.prove(number) and facts.prove(size - ONE - number):
            return True
        return APART if facts.prove(-number - ONE) or facts.prove(number - size) else None

    def _block(self, rest: Poly, step: int, m: int, feature: int, facts: Facts) -> Coordinate | None:
        """The coordinate in a dimension that is cut into blocks, which do not overlap, and have the features."""
        pitch, size = self.view.steps[m][feature].as_int, self.view.sizes[feature].as_int
        if pitch is None or size is None or abs(pitch) * (size - 1) >= abs(step):
            return None
        constant = constant_part(rest)
        whole = Poly(tuple(term for term in rest.terms if term[0] and term[1] % step == 0))
        for blocks in (constant // step, constant // step + 1, 0):
            inside = rest - whole - Poly.constant(step * blocks)
            number = divided(inside, pitch)
            if number is not None and facts.prove(number) and facts.prove(Poly.constant(size - 1) - number):
                found = divided(whole + Poly.constant(step * blocks), step)
                return None if found is None else Coordinate(found, 1)
        return None


def elements_of(map_op: MapOp, functor: Functor, integers: Integers, memory: Memory) -> list[Elements]:
    """What an output's map leads to. Raises `NotFollowed` for a map whose points are not seen before the run."""
    if map_op.index_arrays:
        raise NotFollowed(f"the map '{map_op.applied}' is indirect")
    arrays = [_whole(array, memory) for array in map_op.arrays]
    shapes = [_known(memory.sizes(array)) for array in map_op.arrays]
    params = dict(zip(functor.used_params, _known(map(integers.of, map_op.params)), strict=True))
    try:
        targets = bind(map_op.trees, map_op.array_names, shapes, _known(map(integers.of, map_op.bounds)), NAMED)
        mapped = resolve(functor, targets, params, "from", NAMED)
    except MapError as error:  # which the run will tell, if it is one
        raise NotFollowed(str(error)) from error
    found = accesses(map_op.trees, len(mapped.views))
    sweep = len(functor.sweep)
    return [Elements(arrays[at.array], view, sweep) for view, at in zip(mapped.views, found, strict=True)]


def _known(integers: Iterable[object]) -> list[Poly]:
    found = list(integers)
    if not all(isinstance(each, Poly) for each in found):
        raise NotFollowed("a number of a map is not known before the region")
    return cast("list[Poly]", found)


def _whole(array: SSAValue, memory: Memory) -> SSAValue:
    """The array by which accesses of a map's array are known: no part of another one, whose indices would differ."""
    rank = cast(MemRefType, array.type).get_num_dims()
    match memory.of(array):
        case Part(array=whole, index=index) if index == tuple(Poly.name(f"${k}") for k in range(rank)):
            return whole
        case _:
            raise NotFollowed("a map is of a part of an array")
