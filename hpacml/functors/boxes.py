"""The part of each array that a map touches, as a box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from hpacml.functors.strided_views import Mapped, View
from hpacml.functors.targets import Access, TargetTree, accesses

Box: TypeAlias = tuple[tuple[int, int], ...]
"""For each dimension, the first index and the index after the last."""


def boxes(mapped: Mapped[int], trees: Sequence[TargetTree], shapes: Sequence[Sequence[int]]) -> list[Box]:
    """The smallest box of each array, depth first, that holds all elements which a map touches.

    It spans the whole of a dimension that another array indexes.
    """
    found: list[Box | None] = [None] * len(shapes)
    for view, access in zip(mapped.views, accesses(trees, len(mapped.views)), strict=True):
        for array, box in _of_view(view, access, shapes):
            found[array] = union(found[array], box)
    return [tuple((0, 0) for _ in shape) if box is None else box for box, shape in zip(found, shapes, strict=True)]


def union(one: Box | None, other: Box) -> Box:
    """The smallest box that holds both; an empty box holds nothing."""
    if one is None or _is_empty(one):
        return other
    if _is_empty(other):
        return one
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def _is_empty(box: Box) -> bool:
    return any(low >= high for low, high in box)


def _of_view(view: View[int], access: Access, shapes: Sequence[Sequence[int]]) -> Iterator[tuple[int, Box]]:
    def span(target_dim: int) -> tuple[int, int]:
        moves = [step * (size - 1) for step, size in zip(view.steps[target_dim], view.sizes, strict=True)]
        base = view.base[target_dim]
        return base + sum(m for m in moves if m < 0), base + sum(m for m in moves if m > 0) + 1

    if 0 in view.sizes:
        return
    shape = shapes[access.array]
    yield (
        access.array,
        tuple((0, shape[m]) if isinstance(d, Access) else span(d) for m, d in enumerate(access.dims)),
    )
    for _, inner in access.indirect:
        yield from _of_view(view, inner, shapes)
