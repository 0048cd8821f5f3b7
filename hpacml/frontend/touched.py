"""The parts of arrays that the maps of a call touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hpacml.frontend.maps import AppliedFunctor, integers_of, numbers_of
from hpacml.frontend.scope import READS, Keyword
from hpacml.functors.boxes import boxes, union
from hpacml.runtime.arrays.views import ArrayView

if TYPE_CHECKING:
    from hpacml.functors.application import Way
    from hpacml.functors.boxes import Box


def touched(
    maps: Sequence[tuple[Keyword, AppliedFunctor]],
    arrays: Sequence[str],
    given: Sequence[ArrayView],
    values: Mapping[str, object],
) -> list[Box]:
    """The part of each array that the maps of a call touch. Raises `MapError` for maps that do not fit."""
    views = dict(zip(arrays, given, strict=True))
    found: dict[str, Box] = {}
    integers = integers_of(values)
    for keyword, each in maps:
        of_each = [views[name] for name in each.arrays]
        of_map = [view.shape for view in of_each]
        params = {name: integers[name] for name in each.functor.used_params}
        way: Way = "to" if keyword in READS else "from"
        numbers = numbers_of(each.open_numbers, values, each.arrays, of_each)
        mapped = each.resolve(way, of_map, numbers, params)
        for name, box in zip(each.arrays, boxes(mapped, each.trees, of_map), strict=True):
            found[name] = union(found.get(name), box)
    return [found[name] for name in arrays]
