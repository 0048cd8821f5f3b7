"""Which dimensions of the arrays in maps each point of a sweep has one index of, and which sizes are its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, cast

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType
from xdsl.ir import Operation, SSAValue
from xdsl.transforms.canonicalization_patterns.utils import const_evaluate_operand

from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.functors.targets import Bounds, TargetTree, heads
from hpacml.functors.tensor_functor import Functor, Point, names_of
from hpacml.passes.common.located import refusal
from hpacml.passes.common.mappings import functor_of

_CASTS = (arith.IndexCastOp, arith.ExtSIOp, arith.TruncIOp)

Size = SSAValue | tuple[SSAValue, int]
"""A number that may be the size of a sweep: a value, or the size of a dimension of an array."""


class _Entry(NamedTuple):
    """A dimension of a target: its range, and the positions of its open numbers among the operands of the map."""

    range: Bounds | None
    opened: tuple[int, ...]


@dataclass(frozen=True)
class PointsOfMap:
    """A map each of whose points has one index of some dimensions of its arrays, and all of the others."""

    map: MapOp
    moved: dict[SSAValue, dict[int, int]]
    """For each array, the dimensions that points have one index of, and which dimensions of the sweep these are."""
    stops: dict[int, int]
    """The operands among `bounds` at which the ranges of such dimensions end, and these dimensions of the sweep."""

    def __post_init__(self) -> None:
        for array, dims in self.moved.items():
            shape = cast(MemRefType, array.type).get_shape()
            for d in dims:
                if shape[d] != DYNAMIC_INDEX:
                    raise refusal(
                        self.map,
                        f"'{self.map.applied}' is of a pointwise region, and dimension {d} of its array has the size "
                        f"{shape[d]} in its type {array.type}: code for that many points makes no others",
                    )


def points_of_map(map_op: MapOp, near: Operation) -> PointsOfMap:
    """How the points of a map lie in its arrays.

    Raises `PassFailedException` for maps of which an element belongs to several points, or to none.
    """
    functor = functor_of(map_op, near).functor
    trees, first = map_op.trees, heads(map_op.trees)
    entries = [list(each) for each in _entries(trees)]
    arrays = [map_op.arrays[position] for position in first]
    many = len(functor.rhs) if len(trees) == 1 else 1
    moved: dict[SSAValue, dict[int, int]] = {}
    stops: dict[int, int] = {}
    for slice_, array, of_array in zip(functor.rhs, arrays * many, entries * many, strict=True):
        dims = _moved(slice_, functor)
        if dims and all(_is_one(of_array[d].range) for d in dims):  # a number, which all points have
            dims = {}
        fits = dims is not None and moved.setdefault(array, dims) == dims
        if dims is None or not fits:
            raise refusal(map_op, _text(map_op, "an element of its arrays does not belong to one point alone"))
        for d, dim in dims.items():
            range_, opened = of_array[d]
            if range_ is None or (range_.start, range_.step, range_.stop) != (0, 1, None):
                raise refusal(
                    map_op, _text(map_op, f"dimension {d} of an array has no range from 0 to a number of the call")
                )
            stops[opened[0]] = dim
    return PointsOfMap(map_op, moved, stops)


def _is_one(range_: Bounds | None) -> bool:
    return range_ is not None and (range_.start, range_.step, range_.stop) == (0, 1, 1)


def _text(map_op: MapOp, why: str) -> str:
    return f"'{map_op.applied}' is of a pointwise region, and {why}: leave the clause 'pointwise' out"


def _moved(slice_: Sequence[object], functor: Functor) -> dict[int, int] | None:
    """The dimensions of an array that points have one index of: all sweep symbols, or none. None if it is otherwise."""
    found: dict[int, int] = {}
    for m, entry in enumerate(slice_):
        names = names_of([entry]) & set(functor.sweep)  # pyright: ignore[reportArgumentType]
        if not names:
            continue
        name = entry.index.as_name if isinstance(entry, Point) else None
        if name is None or functor.sweep.index(name) in found.values():
            return None
        found[m] = functor.sweep.index(name)
    return found if len(found) in (0, len(functor.sweep)) else None


def _entries(trees: Sequence[TargetTree]) -> Iterator[Iterator[_Entry]]:
    """The dimensions of each target; those with indices have no range."""
    numbers = count()

    def entry(given: Bounds | TargetTree) -> _Entry:
        if isinstance(given, Bounds):
            return _Entry(None if given.single else given, tuple(next(numbers) for n in given.numbers if n is None))
        for each in given:
            entry(each)
        return _Entry(None, ())

    for tree in trees:
        yield iter([entry(each) for each in tree])


def size_of(value: SSAValue) -> Size:
    """What a number is, without the casts around it."""
    while isinstance(owner := value.owner, _CASTS):
        value = owner.operands[0]
    if isinstance(owner, memref.DimOp) and (d := const_evaluate_operand(owner.index)) is not None:
        return owner.source, d
    return value
