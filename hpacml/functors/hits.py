"""The elements that a map touches, one by one: an exact check, for maps that no rule decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias, cast

import numpy as np

from hpacml.errors import MapError
from hpacml.functors.arithmetic import EXACT
from hpacml.functors.strided_views import Mapped, View
from hpacml.functors.targets import Access, Target, TargetDim

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

MOST = 1 << 24
"""The most elements that are compared to find out whether all are different."""

MOST_EARLY = 1 << 18
"""The most elements that are compared before the run."""


@dataclass(frozen=True)
class Hits:
    """The elements of an array that a view touches: their index in each dimension (broadcast), and their addresses.

    `width` is the bytes of an element, or 1 where addresses count elements.
    """

    array: str
    places: tuple[Numbers, ...]
    addresses: Numbers
    width: int = 1

    def place(self, number: int) -> str:
        """Element `number` of the view as text, such as `t[3, 0]`."""
        return _element(self.array, self.places, self.addresses.shape, number)

    def grains(self, size: int) -> Numbers:
        """The addresses of the pieces of `size` bytes of which the elements consist, element by element."""
        return np.add.outer(self.addresses.ravel(), np.arange(0, self.width, size)).ravel()


def require_distinct(hit: Sequence[tuple[View[int], Target[int]]]) -> None:
    """Raise `MapError` if strided views hit an element twice, or are too large to check. Names identify arrays."""
    hit = [(view, target) for view, target in hit if 0 not in view.sizes]
    _require_few((view, target.name, math.prod(dim.size for dim in target.dims)) for view, target in hit)
    starts: dict[str, int] = {}
    hits: list[Hits] = []
    for view, target in hit:
        start = starts.setdefault(target.name, len(starts) << 56)
        places = tuple(_along(view, d) for d in range(len(view.base)))
        strides = [math.prod(dim.size for dim in target.dims[m + 1 :]) for m in range(len(target.dims))]
        hits.append(Hits(target.name, places, _addresses(view, start, places, strides)))
    _require_grains_distinct(hits, "the windows or slices overlap")


def require_distinct_early(mapped: Mapped[int], targets: Sequence[Target[int | None]]) -> None:
    """Do as `require_distinct` before the run, unless there are too many elements; sizes of arrays may be unknown."""
    if sum(math.prod(v.sizes) for v in mapped.views) <= MOST_EARLY and not any(0 in v.sizes for v in mapped.views):
        require_distinct(mapped.directly_hit(_with_sizes(mapped.views, targets)))


def _with_sizes(views: Sequence[View[int]], targets: Sequence[Target[int | None]]) -> list[Target[int]]:
    """The targets, with the size that the views need where the size of an array is unknown."""
    found: list[Target[int]] = []
    for target in targets:
        same = [view for view, other in zip(views, targets, strict=True) if other.name == target.name]
        dims = tuple(
            TargetDim(0, 0, 1, max(view.reach(m, EXACT)[1] for view in same) + 1 if dim.size is None else dim.size)
            for m, dim in enumerate(target.dims)
        )
        found.append(Target(target.name, dims, target.places, target.indirect))
    return found


@dataclass(frozen=True)
class Memory:
    """The arrays of a map, in the order in which its targets name them, depth first."""

    names: Sequence[str]
    arrays: Sequence[Array]
    content: Callable[[int], Array]
    """Returns array `number`, with elements to read: those of `arrays` may lie on a device, and only give addresses."""

    def check(self, mapped: Mapped[int], accesses: Sequence[Access], writes: bool) -> None:
        """Raise `MapError` if an index that the map uses lies outside the array that it indexes.

        With `writes`, also raise it if two elements of the map share memory, or one shares memory with an index.
        """
        views = [(v, access) for v, access in zip(mapped.views, accesses, strict=True) if 0 not in v.sizes]
        indirect = any(access.indirect for access in accesses)
        for view, access in views:
            for m, index in access.indirect:
                self._read(view.moving(index.target_dims, EXACT), index, access, m)
        if writes and (indirect or not self.apart()):
            _require_few((v, self.names[access.array], self.arrays[access.array].size) for v, access in views)
            hits = [self._hits(view, access) for view, access in views]
            repeat = "indices repeat (unchecked=True allows it; it is open then which value stays)"
            _require_grains_distinct(hits, repeat if indirect else "the windows or slices overlap")
            _require_apart(hits, [self._hits(view, index) for view, access in views for index in _indices(access)])

    def apart(self) -> bool:
        """Whether a quick test shows that no two elements of the arrays share memory."""
        arrays = list(dict(zip(self.names, self.arrays, strict=True)).values())
        return not any(map(_may_overlap, arrays)) and not any(may_share(a, b) for a, b in combinations(arrays, 2))

    def _hits(self, view: View[int], access: Access) -> Hits:
        array, places = self.arrays[access.array], self._places(view, access)
        addresses = _addresses(view, array.ctypes.data, places, array.strides)
        return Hits(self.names[access.array], places, addresses, array.itemsize)

    def _places(self, view: View[int], access: Access) -> tuple[Numbers, ...]:
        """The index of each element in each dimension of the array (broadcast)."""
        return tuple(
            self._read(view, d, access, m) if isinstance(d, Access) else _along(view, d)
            for m, d in enumerate(access.dims)
        )

    def _read(self, view: View[int], access: Access, indexed: Access, m: int) -> Numbers:
        """The elements of an index array, for dimension `m` of `indexed`. Raises `MapError` if one lies outside."""
        places, size = self._places(view, access), self.arrays[indexed.array].shape[m]
        values = np.broadcast_to(self.content(access.array)[places], view.sizes)
        wrong = (values < 0) | (values >= size)
        if wrong.any():
            first = int(wrong.argmax())
            raise MapError(
                f"the index {_element(self.names[access.array], places, view.sizes, first)} is {values.flat[first]}, "
                f"outside dimension {m} of '{self.names[indexed.array]}', which has {size} elements"
            )
        return values.astype(np.int64)


def _element(array: str, places: Sequence[Numbers], shape: tuple[int, ...], number: int) -> str:
    indices = (int(np.broadcast_to(place, shape).flat[number]) for place in places)
    return f"{array}[{', '.join(map(str, indices))}]"


def _indices(access: Access) -> Iterator[Access]:
    for _, index in access.indirect:
        yield index
        yield from _indices(index)


def _along(view: View[int], d: int) -> Numbers:
    """The index in dimension `d` of the target, for each element of the view (broadcast)."""
    axes = np.ogrid[tuple(slice(0, size) for size in view.sizes)]
    index = np.asarray(view.base[d], np.int64)
    for axis, step, size in zip(axes, view.steps[d], view.sizes, strict=True):
        if size > 1:  # the step of one element does not matter, and may exceed 64 bits
            index = index + axis * step
    return index


def _addresses(view: View[int], start: int, places: Sequence[Numbers], strides: Sequence[int]) -> Numbers:
    address = np.full(view.sizes, start, np.int64)
    for place, stride in zip(places, strides, strict=True):
        address = address + place * stride
    return address


def _require_few(written: Iterable[tuple[View[int], str, int]]) -> None:
    """Raise `MapError` if there are too many elements to compare, in views of arrays with a name and a size."""
    totals: dict[tuple[str, int], int] = {}
    for view, name, size in written:
        totals[name, size] = totals.get((name, size), 0) + math.prod(view.sizes)
    if (total := sum(totals.values())) <= MOST:
        return
    for (name, size), count in totals.items():
        if count > size:
            raise MapError(
                f"a 'from' map must write each element once, but this one writes {count} elements of '{name}', "
                f"which has {size}: windows, slices or indices repeat"
            )
    raise MapError(f"cannot tell whether the {total} elements written are all different: split the map")


def _require_grains_distinct(hits: Sequence[Hits], reason: str) -> None:
    grain = math.gcd(*(hit.width for hit in hits))
    parts = [hit.grains(grain) for hit in hits]
    grains = np.concatenate([np.empty(0, np.int64), *parts])
    addresses, counts = np.unique(grains, return_counts=True)
    if not counts.size or counts.max() == 1:
        return
    times, address = int(counts.max()), addresses[counts.argmax()]
    places = [
        hit.place(int(number) * grain // hit.width)
        for hit, part in zip(hits, parts, strict=True)
        for number in np.flatnonzero(part == address)
    ]
    others = sorted(set(places) - {places[0]})
    found = f"{places[0]} and {others[0]}, which share memory" if others else f"{places[0]} {times} times"
    raise MapError(
        f"a 'from' map must write each element once, but this one writes {found}" + ("" if others else f": {reason}")
    )


def _require_apart(written: Sequence[Hits], read: Sequence[Hits]) -> None:
    for hit in written:
        for index in read:
            grain = math.gcd(hit.width, index.width)
            written_grains = hit.grains(grain)
            shared = np.isin(written_grains, index.grains(grain))
            if shared.any():
                place = hit.place(int(shared.argmax()) * grain // hit.width)
                raise MapError(f"the map writes {place}, which is memory of its own index array '{index.array}'")


def _may_overlap(array: Array) -> bool:
    """Whether two elements of an array may share memory, as with a stride of 0."""
    end = array.itemsize
    for stride, size in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < end:
            return True
        end += stride * (size - 1)
    return False


def may_share(a: Array, b: Array) -> bool:
    """Whether two arrays share memory, or finding out takes too long."""
    try:
        return bool(np.shares_memory(a, b, max_work=cast(Any, 1 << 14)))
    except np.exceptions.TooHardError:
        return True
