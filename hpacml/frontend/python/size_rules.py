"""The sizes that annotations of arrays demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from hpacml.frontend.python.annotations import ArrayParameter

Place: TypeAlias = tuple[int, int]
"""The position of an array among the arrays of a call, and one of its dimensions."""


class SizeRule(NamedTuple):
    """A size that must be that at another place, or `size` if there is none."""

    place: Place
    other: Place | None
    size: int
    text: str
    """What is wrong if it is not, for `format` with the sizes `given` and `wanted`."""


def size_rules(kernel: str, arrays: Sequence[ArrayParameter]) -> list[SizeRule]:
    """The rules for the arrays of a kernel: dimensions of a given size, then those of one name."""
    fixed: list[SizeRule] = []
    named: list[SizeRule] = []
    first: dict[str, Place] = {}
    for k, parameter in enumerate(arrays):
        for axis, dim in enumerate(parameter.dims):
            here = f"dimension {axis} of argument '{parameter.name}' of {kernel}()"
            if isinstance(dim, int):
                text = f"{here} is {{given}}, but its annotation says {{wanted}}"
                fixed.append(SizeRule((k, axis), None, dim, text))
            elif dim is not None and dim not in first:
                first[dim] = k, axis
            elif dim is not None:
                other, other_axis = first[dim]
                there = f"dimension {other_axis} of argument '{arrays[other].name}' of {kernel}()"
                text = f"'{dim}' is {{wanted}} in {there}, but {{given}} in dimension {axis} of '{parameter.name}'"
                named.append(SizeRule((k, axis), first[dim], 0, text))
    return [*fixed, *named]
