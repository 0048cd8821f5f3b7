"""Nests of loops whose iterations each make one point of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from xdsl.dialects import scf
from xdsl.ir import SSAValue

from hpacml.functors.polynomials import Poly
from hpacml.passes.derivation.integers import LOOP
from hpacml.passes.masking.accesses import Loop, Nest, NotFollowed, Touched
from hpacml.passes.masking.positions import Apart, Elements, Position


@dataclass(frozen=True)
class PointNest:
    """A nest of loops of which each iteration of the innermost `loop` makes the point at `position`, if that is one."""

    nest: Nest
    loop: Loop
    position: Position
    extents: Sequence[Poly]
    shared: Sequence[tuple[SSAValue, SSAValue]]
    """Pairs of arrays, of which the first is written: they must be apart in memory."""


def point_nest(nest: Nest, outputs: Sequence[Elements]) -> PointNest:
    """What a nest makes of the outputs. Raises `NotFollowed` where that is not seen to be a point at a time."""
    chain = nest.read()
    if not nest.stores:
        raise NotFollowed("nothing is written")
    found = [_position(store, outputs) for store in nest.stores]
    position, elements = found[0]
    if any(other != position for other, _ in found):
        raise NotFollowed("an iteration writes several points")
    names = {name for each in position for name in each.number.names if name.startswith(LOOP)}
    depth = max((k for k, loop in enumerate(chain) if names & nest.names_of(loop)), default=-1)
    if depth < 0 or names - {name for loop in chain for name in nest.names_of(loop)}:
        raise NotFollowed("the points are not those of loops around one another")
    loop = chain[depth]
    if not all(loop.is_ancestor(each) for each in nest.made):
        raise NotFollowed("memory is kept from one point to the next")
    if any(isinstance(each, scf.ForOp) for each in chain[: depth + 1]):
        _require_own_loads(nest, position, outputs)
    touched = dict.fromkeys([each.array for each in (*nest.stores, *nest.loads, *outputs)])
    stored = dict.fromkeys(each.array for each in nest.stores)
    shared = [(one, other) for one, other in product(stored, touched) if one is not other]
    return PointNest(nest, loop, position, elements.view.sizes[: elements.sweep], shared)


def _position(access: Touched, outputs: Sequence[Elements]) -> tuple[Position, Elements]:
    """The point that an access is of. There is one map and slice that may lead to its element."""
    found: list[tuple[Position, Elements]] = []
    for elements in outputs:
        if elements.array is access.array:
            position = None if access.index is None else elements.position(access.index, access.facts)
            if position is None:
                raise NotFollowed("it is not seen of which point an element is")
            if not isinstance(position, Apart):
                found.append((position, elements))
    if len(found) != 1:
        raise NotFollowed("an element may be of no point, or of several")
    return found[0]


def _require_own_loads(nest: Nest, position: Position, outputs: Sequence[Elements]) -> None:
    """Require that no point takes what another one has made: loops in sequence would make that in their order."""
    stored = {each.array for each in nest.stores}
    for load in nest.loads:
        if load.array in stored and _position(load, outputs)[0] != position:
            raise NotFollowed("a point takes what another one makes")
