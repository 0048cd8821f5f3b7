"""Whether the tensors of a region have such elements as its maps were recorded with, from which a model has learned."""

from __future__ import annotations

from hpacml.directives.map_texts import Maps
from hpacml.directives.recorded import read_map
from hpacml.dtypes import DTYPES, DType


def misfit(recorded: Maps, given: Maps) -> int | None:
    """Find the first map whose tensor has elements of another kind than was recorded; None if all have the same.

    The kinds are truth values, unsigned integers, signed ones and floats. Of integers of several widths, those that are
    read must be among the recorded ones, and those that are written hold them. What is not known fits, and so does
    a map of numbers alone, which have the type that a call gives them.
    """
    for number, (text, before, now) in enumerate(zip(given, recorded.dtypes, given.dtypes, strict=False)):
        if before not in DTYPES or now not in DTYPES or (known := read_map(text)) is None:
            continue
        has_arrays = known.targets is None or any(target.entries for target in known.targets)
        source, place = (now, before) if known.direction == "to" else (before, now)
        if has_arrays and not _fits(DTYPES[source], DTYPES[place]):
            return number
    return None


def _fits(source: DType, place: DType) -> bool:
    if source.kind != place.kind or source.kind == "f":
        return source.kind == place.kind
    (least, largest), (first, last) = source.bounds, place.bounds
    return first <= least and largest <= last
