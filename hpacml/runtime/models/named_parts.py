"""The names of what is in the tensors of a region: those of the arrays that its maps gather and scatter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from hpacml.directives.recorded import RecordedMap, read_map
from hpacml.errors import DirectiveError
from hpacml.functors.tensor_functor import Range


class Part(NamedTuple):
    """What of a tensor is of one array: all of it, or some of its last dimension."""

    name: str
    tensor: int
    columns: slice | None = None


def parts(maps: Sequence[str], count: int) -> list[Part]:
    """The parts of `count` tensors with these maps, in order.

    A part has the name of its array, of which a tensor may have several. Where these lie elsewhere than one behind the
    other, the part is the whole tensor, and its name lists them. Of parts with equal names, each of another tensor, the
    name is that of the functor, and of those a number follows it. A tensor without a map is no part.
    """
    known = [read_map(text) for text in maps[:count]]
    found = [part for number, each in enumerate(known) for part in _parts_of(number, each)]
    counts = Counter(part.name for part in found)
    named = [part if counts[part.name] < 2 else part._replace(name=_functor(part, known)) for part in found]
    counts = Counter(part.name for part in named)
    return [
        part if counts[part.name] < 2 else part._replace(name=f"{part.name} {place}")
        for place, part in enumerate(named)
    ]


def _functor(part: Part, known: Sequence[RecordedMap | None]) -> str:
    recorded = known[part.tensor]
    return part.name if recorded is None else recorded.functor.name


def _parts_of(number: int, known: RecordedMap | None) -> list[Part]:
    if known is None:
        return [Part(f"tensor {number}", number)]
    arrays = [target.array for target in known.target_of_each_slice]
    if not arrays:
        return [Part(known.functor.name, number)]
    names = [name for name, _ in groupby(arrays)]
    counts = _columns(known) if len(names) > 1 else None
    if counts is None or len(counts) != len(arrays) or len(set(names)) < len(names):
        return [Part(", ".join(dict.fromkeys(arrays)), number)]
    widths = [sum(count for array, count in zip(arrays, counts, strict=True) if array == name) for name in names]
    ends = pairwise(accumulate(widths, initial=0))
    return [Part(name, number, slice(*each)) for name, each in zip(names, ends, strict=True)]


def _columns(known: RecordedMap) -> list[int] | None:
    """How many features each slice has; None unless all of them are known, and are the last dimension."""
    try:
        functor = known.functor.functor()
    except DirectiveError:
        return None
    if functor.feature_dims != (len(functor.lhs) - 1,):
        return None
    counts = [[entry.count for entry in entries if isinstance(entry, Range)] for entries in functor.rhs]
    numbers = [[None if each is None else each.as_int for each in entries] for entries in counts]
    if any(None in each for each in numbers):
        return None
    return [math.prod(each or 0 for each in entries) for entries in numbers]
