"""Targets of maps: ranges of arrays, with the numbers that are known and room for those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, NamedTuple, TypeAlias, Union, cast

from hpacml.errors import MapError
from hpacml.functors.arithmetic import Arithmetic, C, V


@dataclass(frozen=True)
class TargetDim(Generic[V]):
    """One dimension of a target: the range `start:stop:step` over `size` elements.

    `single` marks a single index instead of a range (then `stop` is `start + 1`).
    """

    start: V
    stop: V
    step: V
    size: V
    single: bool = False

    def extent(self, a: Arithmetic[V, C]) -> V:
        """The number of indices that the range has."""
        return a.constant(1) if self.single else a.extent(a.sub(self.stop, self.start), self.step)


class Place(NamedTuple):
    """A dimension of an array."""

    array: str
    dim: int

    def __str__(self) -> str:
        return f"dimension {self.dim} of '{self.array}'"


@dataclass(frozen=True)
class Target(Generic[V]):
    """A target of a map: an array's name and the dimensions by which it is indexed.

    An `indirect` target is a virtual array, as in `V[x] = data[idx[x]]`: `places` names the array and the dimension
    behind each of its dimensions. The dimensions of a direct target are those of the array.
    """

    name: str
    dims: tuple[TargetDim[V], ...]
    places: tuple[Place, ...] = ()
    indirect: bool = False

    def place(self, m: int) -> Place:
        """The dimension of an array behind dimension `m`."""
        return self.places[m] if self.places else Place(self.name, m)


@dataclass(frozen=True)
class Bounds:
    """The range of one dimension of a target, or a single index; None stands for a number not known yet."""

    start: int | None
    stop: int | None
    step: int | None = 1
    single: bool = False

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """The numbers that are written: the index, or start, stop and step."""
        return (self.start,) if self.single else (self.start, self.stop, self.step)

    def __str__(self) -> str:
        start, stop, step = ("?" if n is None else str(n) for n in (self.start, self.stop, self.step))
        if self.single:
            return start
        return f"{start} : {stop}" + ("" if self.step == 1 else f" : {step}")


TargetTree: TypeAlias = tuple[Union[Bounds, "TargetTree"], ...]
"""The dimensions of a target: a range each, or the target of an index array (indirection)."""


def format_tree(tree: TargetTree) -> str:
    """`[1 : ?, 0]`, with `?` for each open number and `*` before the target of an index array."""
    entries = (str(e) if isinstance(e, Bounds) else "*" + format_tree(e) for e in tree)
    return f"[{', '.join(entries)}]"


def leaves(tree: TargetTree) -> list[Bounds]:
    """The ranges of a target, depth first: the dimensions of its virtual array."""
    return [b for entry in tree for b in ([entry] if isinstance(entry, Bounds) else leaves(entry))]


def open_numbers(trees: Iterable[TargetTree]) -> int:
    """How many numbers are open."""
    return sum(n is None for tree in trees for b in leaves(tree) for n in b.numbers)


def fill(tree: TargetTree, numbers: Iterator[int | None]) -> TargetTree:
    """The tree with the next of `numbers` for each open number; None keeps one open."""

    def entry(entry: Bounds | TargetTree) -> Bounds | TargetTree:
        if not isinstance(entry, Bounds):
            return fill(entry, numbers)
        start, *others = (next(numbers) if n is None else n for n in entry.numbers)
        return single(start) if entry.single else Bounds(start, others[0], others[1])

    return tuple(map(entry, tree))


def ranks(trees: Iterable[TargetTree]) -> list[int]:
    """The ranks of the arrays that targets name, their own and those of their indirections, depth first."""
    return [
        rank for tree in trees for rank in (len(tree), *ranks(entry for entry in tree if not isinstance(entry, Bounds)))
    ]


def heads(trees: Sequence[TargetTree]) -> list[int]:
    """The numbers, counted depth first, of the arrays that hold elements; the others hold indices."""
    return [len(ranks(trees[:number])) for number in range(len(trees))]


def format_map(functor: str, names: Sequence[str], trees: Sequence[TargetTree]) -> str:
    """Write a map whose text is not known; `names` are the arrays of its targets, depth first."""
    targets = [names[head] + format_tree(tree) for head, tree in zip(heads(trees), trees, strict=True)]
    return f"{functor.partition(':')[0]}({', '.join(targets)})"


def tree_to_json(tree: TargetTree) -> list[Any]:
    """`[[start, stop, step], [index], {"indirect": [...]}]`, with None for open numbers."""
    return [list(e.numbers) if isinstance(e, Bounds) else {"indirect": tree_to_json(e)} for e in tree]


def tree_from_json(entries: Sequence[Any]) -> TargetTree:
    """The tree that `tree_to_json` wrote."""

    def entry(value: Any) -> Bounds | TargetTree:
        if isinstance(value, dict):
            return tree_from_json(cast("Mapping[str, list[Any]]", value)["indirect"])
        start, *others = cast("list[int | None]", value)
        return Bounds(start, others[0], others[1]) if others else single(start)

    return tuple(map(entry, entries))


def single(index: int | None) -> Bounds:
    """A single index."""
    return Bounds(index, None if index is None else index + 1, single=True)


@dataclass(frozen=True)
class Access:
    """How a map indexes its array number `array`, counted depth first.

    `dims` has an entry for each dimension of the array: the number of the target's dimension that indexes it
    directly, or the access of the array whose elements index it.
    """

    array: int
    dims: tuple[int | Access, ...]

    @property
    def direct(self) -> list[tuple[int, int]]:
        """Pairs of a dimension of the array and the target's dimension that indexes it."""
        return [(m, d) for m, d in enumerate(self.dims) if not isinstance(d, Access)]

    @property
    def target_dims(self) -> list[int]:
        """The dimensions of the target that the array is indexed by, directly or not."""
        return [d for _, d in self.direct] + [d for _, index in self.indirect for d in index.target_dims]

    @property
    def indirect(self) -> list[tuple[int, Access]]:
        """Pairs of a dimension of the array and the access of its indices."""
        return [(m, d) for m, d in enumerate(self.dims) if isinstance(d, Access)]


def accesses(trees: Sequence[TargetTree], slices: int) -> list[Access]:
    """The access of each slice, from one target for all slices, or one per slice."""
    arrays = count()

    def access(tree: TargetTree, dims: Iterator[int]) -> Access:
        array = next(arrays)
        return Access(array, tuple(next(dims) if isinstance(e, Bounds) else access(e, dims) for e in tree))

    found = [access(tree, count()) for tree in trees]
    return found * slices if len(found) == 1 else found


def bind(
    trees: Sequence[TargetTree],
    names: Sequence[str],
    shapes: Sequence[Sequence[V]],
    numbers: Iterable[V],
    a: Arithmetic[V, C],
) -> list[Target[V]]:
    """The targets over arrays of `shapes`, with `numbers` for the open numbers, all depth first.

    Raises `MapError` where a target does not have one entry for each dimension of its array.
    """
    arrays, rest = iter(zip(names, shapes, strict=True)), iter(numbers)

    def dims(tree: TargetTree, name: str, shape: Sequence[V]) -> Iterator[tuple[TargetDim[V], Place]]:
        if len(tree) != len(shape):
            raise MapError(
                f"the target of '{name}' gives {len(tree)} {'range' if len(tree) == 1 else 'ranges'}, but the "
                f"array has {len(shape)} {'dimension' if len(shape) == 1 else 'dimensions'}"
            )
        for m, (entry, size) in enumerate(zip(tree, shape, strict=True)):
            if not isinstance(entry, Bounds):
                yield from dims(entry, *next(arrays))
                continue
            start, *others = (next(rest) if n is None else a.constant(n) for n in entry.numbers)
            stop, step = others or (a.add(start, a.constant(1)), a.constant(1))
            yield TargetDim(start, stop, step, size, entry.single), Place(name, m)

    targets: list[Target[V]] = []
    for tree in trees:
        name, shape = next(arrays)
        found = list(dims(tree, name, shape))
        indirect = len(ranks([tree])) > 1
        targets.append(Target(name, tuple(dim for dim, _ in found), tuple(place for _, place in found), indirect))
    return targets
