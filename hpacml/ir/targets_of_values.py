"""Targets of maps over values of the IR, written as Python writes elements: `target(u)[1 : n - 1, 0]`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, Union, cast

from xdsl.builder import Builder
from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerAttr, MemRefType
from xdsl.ir import SSAValue

from hpacml.errors import MapError
from hpacml.functors.targets import Bounds, TargetTree, single
from hpacml.ir.given import described, type_of
from hpacml.ir.integers import Index, Integer, known_or_index

TargetEntry: TypeAlias = "Integer | slice[Integer | None, Integer | None, Integer | None] | Target"
"""An index, a range, or the target of an array that holds indices."""


@dataclass(frozen=True, eq=False)
class Target:
    """An array, and an entry for each of its dimensions."""

    array: SSAValue
    entries: tuple[TargetEntry, ...]


@dataclass(frozen=True, eq=False)
class WholeArray:
    """An array that is to be indexed."""

    array: SSAValue

    def __getitem__(self, entries: Union[TargetEntry, tuple[TargetEntry, ...]]) -> Target:  # noqa: UP007
        return Target(self.array, entries if isinstance(entries, tuple) else (entries,))


def target(array: SSAValue) -> WholeArray:
    """An array to be indexed as in directives: `target(pos)[target(idx)[0:n], 0:3]`.

    Ranges without a start begin at the first element, those without a stop reach the last. Steps that are not given
    are 1; where a step runs backwards, both ends are given, and -1 is the stop behind the first element.
    Raises `MapError` for what is no memref.
    """
    require_array(array)
    return WholeArray(array)


def require_array(value: object) -> SSAValue[MemRefType]:
    """The array. Raises `MapError` for what is no memref."""
    if isinstance(type_of(value), MemRefType):
        return cast("SSAValue[MemRefType]", value)
    raise MapError(f"{described(value)} is no array: targets are memrefs, which target(a)[...] indexes")


def whole(array: SSAValue[MemRefType]) -> Target:
    """All elements of an array."""
    return Target(array, (slice(None),) * array.type.get_num_dims())


def size(array: SSAValue[MemRefType], dim: int, builder: Builder, name: str | None = None) -> Index:
    """The size of a dimension: a number where the type has it. Raises `MapError` if there is no such dimension."""
    rank = array.type.get_num_dims()
    if not 0 <= dim < rank:
        raise MapError(f"{_named(array)} has no dimension {dim}: it has {rank}, which are counted from 0")
    known = array.type.get_shape()[dim]
    if known != DYNAMIC_INDEX:
        return Index(known, builder, name)
    number = builder.insert(arith.ConstantOp(IntegerAttr(dim, IndexType()))).result
    return Index(builder.insert(memref.DimOp(array, number)).result, builder, name)


class Operands:
    """What targets become: trees, whose open numbers are `bounds`, over `arrays`, both depth first."""

    def __init__(self, builder: Builder):
        self._builder = builder
        self.arrays: list[SSAValue] = []
        self.bounds: list[SSAValue] = []

    def tree(self, target: Target) -> TargetTree:
        """Add a target. Raises `MapError` for entries that are none, and counts that are not the array's."""
        array = require_array(target.array)
        rank = array.type.get_num_dims()
        if len(target.entries) != rank:
            raise MapError(
                f"the target of {_named(array)} has {_counted(len(target.entries), 'entry', 'entries')}, but the "
                f"array {_counted(rank, 'dimension', 'dimensions')}: {array.type}"
            )
        self.arrays.append(array)
        return tuple(self._entry(entry, array, dim) for dim, entry in enumerate(target.entries))

    def _entry(self, entry: TargetEntry, array: SSAValue[MemRefType], dim: int) -> Bounds | TargetTree:
        if isinstance(entry, Target):
            return self.tree(entry)
        if not isinstance(entry, slice):
            return single(self._number(entry))
        start, stop, step = map(self._number, self._ends(entry, array, dim))
        return Bounds(start, stop, step)

    def _ends(
        self, entry: slice[Integer | None, Integer | None, Integer | None], array: SSAValue[MemRefType], dim: int
    ) -> Iterator[Integer]:
        step = 1 if entry.step is None else known_or_index(entry.step, self._builder)
        if not (isinstance(step, int) and step > 0) and (entry.start is None or entry.stop is None):
            raise MapError(
                f"the range of dimension {dim} of {_named(array)} may run backwards: give it a start and a stop"
            )
        yield 0 if entry.start is None else entry.start
        yield size(array, dim, self._builder) if entry.stop is None else entry.stop
        yield step

    def _number(self, number: Integer) -> int | None:
        found = known_or_index(number, self._builder)
        if isinstance(found, int):
            return found
        self.bounds.append(found)
        return None


def _named(array: SSAValue) -> str:
    return "an array" if array.name_hint is None else f"'{array.name_hint}'"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
