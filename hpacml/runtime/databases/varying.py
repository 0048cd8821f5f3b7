"""Calls of a region whose tensors differ in their points from those before: points, one call's after the other's.

    /heat/input                   the calls before the first that differs, [calls, *shape]
    /heat/runtime                 all calls
    /heat/varying/input           [points, *features], the points of all calls from that one on; its attribute `dims`
                                  has the dimensions of a call in this order: first those that are the points
    /heat/varying/input_offsets   [calls + 1], int64: the first point of each of these calls, and the number of all
    /heat/varying/input_shapes    [calls, rank], int64: the shape of each of these calls

Nothing that is in the file moves when calls begin to differ, so that it costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array, Column
from hpacml.runtime.databases.parts import offsets_of
from hpacml.runtime.databases.sweeps import sweep_of

VARYING = "varying"
"""The name of the group of these calls in that of the region."""

COUNTS = np.dtype(np.int64)

_CALLS = 1024
"""The most calls of a chunk of offsets or shapes."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one tensor: their points [points, *features], and their shapes [calls, rank]."""

    points: Array
    shapes: Array

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the calls of a tensor become points: the dimensions that are the points, and the others with their sizes.

    `dims` are both, in this order; `order` is the same, None if that is the order of the tensor.
    """

    swept: tuple[int, ...]
    others: tuple[int, ...]
    features: tuple[int, ...]
    dims: tuple[int, ...]
    order: tuple[int, ...] | None

    @staticmethod
    def of(shape: Sequence[int], swept: Sequence[int]) -> Layout:
        """The layout of tensors that are like one of this shape, but for the sizes of the dimensions `swept`."""
        others = tuple(d for d in range(len(shape)) if d not in swept)
        dims = (*swept, *others)
        order = None if dims == tuple(range(len(dims))) else dims
        return Layout(tuple(swept), others, tuple(shape[d] for d in others), dims, order)

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape differs in its points alone."""
        if len(shape) != len(self.dims):
            return False
        return all(shape[d] == size for d, size in zip(self.others, self.features, strict=True))

    def points(self, shapes: Array) -> Array:
        """The number of points of each call, of shapes [calls, rank]."""
        return shapes[:, list(self.swept)].prod(1)


class VaryingColumn:
    """The datasets of one tensor."""

    def __init__(self, group: Any, name: str) -> None:
        self._points = Column(group[name])
        self._offsets = Column(group[f"{name}_offsets"])
        self._shapes = Column(group[f"{name}_shapes"])
        self.calls = self._shapes.calls
        self.features = self._points.shape
        self.dtype = self._points.dtype
        if self._offsets.calls != self.calls + 1 or group[f"{name}_offsets"][-1] != self._points.calls:
            raise DatabaseError(
                f"'{group.name}/{name}' has other points than its offsets tell: use another file, or one that "
                "`hpacml db merge` makes of it"
            )

    @staticmethod
    def create(group: Any, name: str, layout: Layout, like: Any, points: int) -> VaryingColumn:
        """Make the datasets, with the dtype and the filters of the dataset `like`, for calls of so many points."""
        Column.create_like(group, name, layout.features, like, points)
        group[name].attrs.create("dims", layout.dims, (len(layout.dims),), COUNTS)
        Column.create(group, f"{name}_offsets", (), COUNTS, most=_CALLS).append(np.zeros(1, COUNTS))
        Column.create(group, f"{name}_shapes", (len(layout.dims),), COUNTS, most=_CALLS)
        return VaryingColumn(group, name)

    def append(self, calls: Calls, layout: Layout) -> None:
        """Append calls."""
        first = self._points.calls
        self._points.append(calls.points)
        self._offsets.append(first + offsets_of(layout.points(calls.shapes))[1:])
        self._shapes.append(calls.shapes)
        self.calls += len(calls)


class VaryingCalls:
    """The datasets of all tensors of a region, by its group."""

    def __init__(self, columns: Sequence[VaryingColumn], layouts: Sequence[Layout]) -> None:
        self._columns = columns
        self._layouts = layouts
        self.calls = columns[0].calls if columns else 0

    @staticmethod
    def find(group: Any, names: Sequence[str], layouts: Sequence[Layout]) -> VaryingCalls | None:
        """Those that the group of a region has. Raises DatabaseError if they contradict each other."""
        if VARYING not in group:
            return None
        found = group[VARYING]
        wanted = [each for name in names for each in (name, f"{name}_offsets", f"{name}_shapes")]
        if missing := [name for name in wanted if name not in found]:
            raise DatabaseError(f"the group '{found.name}' lacks its dataset '{missing[0]}': use another file")
        calls = VaryingCalls([VaryingColumn(found, name) for name in names], layouts)
        if len({column.calls for column in calls._columns}) > 1:
            raise DatabaseError(f"the group '{found.name}' has tensors of different numbers of calls: use another file")
        return calls

    @staticmethod
    def create(group: Any, names: Sequence[str], layouts: Sequence[Layout], points: Sequence[int]) -> VaryingCalls:
        """Make the datasets of calls whose tensors have about so many points."""
        return VaryingCalls(create_columns(group, names, layouts, points), layouts)

    def append(self, calls: Sequence[Calls]) -> None:
        """Append calls, of which each tensor has its own."""
        for column, layout, each in zip(self._columns, self._layouts, calls, strict=True):
            column.append(each, layout)
        self.calls += len(calls[0])


def create_columns(
    group: Any, names: Sequence[str], layouts: Sequence[Layout], points: Sequence[int]
) -> list[VaryingColumn]:
    """Make the datasets of all tensors of a region, whose calls have about so many points."""
    own = group.create_group(VARYING)
    try:
        made = zip(names, layouts, points, strict=True)
        return [VaryingColumn.create(own, name, layout, group[name], count) for name, layout, count in made]
    except BaseException:
        del group[VARYING]
        raise


def layouts_of(maps: Sequence[str], shapes: Sequence[Sequence[int]]) -> list[Layout]:
    """How the tensors of these maps become points; one whose sweep is not known is one point."""
    if len(maps) != len(shapes):
        return [Layout.of(shape, ()) for shape in shapes]
    sweeps = [sweep_of(text, len(shape)) for text, shape in zip(maps, shapes, strict=True)]
    return [Layout.of(shape, () if sweep is None else sweep.dims) for shape, sweep in zip(shapes, sweeps, strict=True)]


def points_of(calls: Array, layout: Layout) -> Calls:
    """The points of calls that agree, an array [calls, *shape]."""
    shapes = np.broadcast_to(np.array(calls.shape[1:], COUNTS), (len(calls), calls.ndim - 1))
    moved = calls.transpose(0, *(1 + d for d in layout.dims))
    return Calls(moved.reshape(math.prod(moved.shape[: 1 + len(layout.swept)]), *layout.features), shapes)
