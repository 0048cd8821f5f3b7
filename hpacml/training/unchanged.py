"""Which numbers that a region writes are numbers that it reads: to leave them as they are is a prediction, too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hpacml.directives.elements import Elements, elements_of
from hpacml.training.baselines import Unchanged
from hpacml.training.region_table import Table


def unchanged(table: Table) -> list[Unchanged]:
    """Find what the maps of a region read and write: whole tensors of one map, and elements of others."""
    whole = [Unchanged(*pair) for pair in table.same]
    maps = table.region.maps or ()
    if len(maps) != len(table.inputs) + len(table.outputs):
        return whole
    found = [elements_of(text) for text in maps]
    read, written = found[: len(table.inputs)], found[len(table.inputs) :]
    done = {each.output for each in whole}
    parts = (_of(table, read, o, each) for o, each in enumerate(written) if o not in done and each is not None)
    return [*whole, *(each for part in parts for each in part)]


def _of(table: Table, read: Sequence[Elements | None], o: int, written: Elements) -> Iterator[Unchanged]:
    """Find the features of output `o`, each in the first input that has it."""
    left = {each: k for k, each in enumerate(written.features)}
    for i, elements in enumerate(read):
        if elements is None or elements.sweep != written.sweep:
            continue
        lead = 1 if table.kind == "points" else 1 + len(written.sweep)
        x, y = table.inputs[i].shape, table.outputs[o].shape
        counts = len(elements.features), len(written.features)
        if x[1:lead] != y[1:lead] or (math.prod(x[lead:]), math.prod(y[lead:])) != counts:
            continue
        pairs = tuple((k, left.pop(each)) for k, each in enumerate(elements.features) if each in left)
        if pairs:
            yield Unchanged(i, o, pairs, lead)
