"""Whether the clause `truth` gives as many rows as the outputs have in whose place they are collected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hpacml.abi.records import CollectSite
from hpacml.directives.elements import sweep_sizes
from hpacml.errors import DatabaseError
from hpacml.runtime.databases.sweeps import Sweep, shown, sweep_of


class _Rows(NamedTuple):
    """A truth, and an input whose maps say that it has as many rows as the output, which nobody gathers."""

    truth: str
    output: str
    of_truth: Sweep
    number: int
    of_input: Sweep
    input: int


class Truths:
    """The truths of a call site whose rows have to be counted in each call: all but those with the output's ranges."""

    def __init__(self, site: CollectSite) -> None:
        self._label = site.label
        self._rows = _rows_to_count(site)

    def require_rows(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise DatabaseError if in tensors of these shapes, inputs first, a truth has other rows than its output."""
        for each in self._rows:
            has, wants = each.of_truth.sizes(shapes[each.number]), each.of_input.sizes(shapes[each.input])
            if has != wants:
                raise DatabaseError(
                    f"a truth of the region '{self._label}' has the rows {shown(has)}, and the output that it stands "
                    f"for has {shown(wants)}:\n    {each.truth}\n    {each.output}\n"
                    "Give it a row for each of the output"
                )


def _rows_to_count(site: CollectSite) -> list[_Rows]:
    count = len(site.inputs)
    inputs, outputs = site.maps[:count], site.maps[count:]
    sizes = [sweep_sizes(text) for text in inputs]
    found: list[_Rows] = []
    for k, (truth, output) in enumerate(zip(site.truth, outputs, strict=False)):
        wanted = sweep_sizes(output)
        if wanted is None or wanted == sweep_sizes(truth) or wanted not in sizes:
            continue
        number = sizes.index(wanted)
        sweeps = sweep_of(truth, site.outputs[k].rank), sweep_of(inputs[number], site.inputs[number].rank)
        if sweeps[0] is not None and sweeps[1] is not None:
            found.append(_Rows(truth, output, sweeps[0], count + k, sweeps[1], number))
    return found
