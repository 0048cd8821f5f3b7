"""What networks return: tensors by their place, or by their names. It imports Torch."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn


def fields(returned: object) -> tuple[str, ...]:
    """List the names of a named tuple; none for other values."""
    return tuple(getattr(cast(object, returned), "_fields", ())) if isinstance(returned, tuple) else ()


def by_name(returned: object) -> dict[str, object] | None:
    """Give what a network returns by names; None if it has none, or a place beside its name, as in a named tuple."""
    if isinstance(returned, Mapping):
        return {str(name): value for name, value in cast("Mapping[object, object]", returned).items()}
    if is_dataclass(returned):
        return {field.name: getattr(returned, field.name) for field in dataclasses.fields(cast(Any, returned))}
    return None


def in_order(returned: object) -> Sequence[object] | None:
    """Give what a network returns in order, a single tensor as one; None for what is no sequence."""
    if isinstance(returned, torch.Tensor):
        return (returned,)
    return cast("Sequence[object]", returned) if isinstance(returned, (tuple, list)) else None


def is_dataclass(value: object) -> bool:
    """Tell whether a value is an object of a dataclass; some are mappings, too."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def names_of_outputs(maps: Sequence[str], count: int) -> list[frozenset[str]]:
    """List the names of outputs from the texts of their maps: of the arrays, and of a functor that only one has."""
    from hpacml.directives.recorded import read_map

    known = [read_map(text) for text in maps]
    if len(maps) != count:
        return [frozenset()] * count
    arrays = [frozenset(target.array for target in (each and each.targets) or ()) for each in known]
    functors = [each and each.functor.name for each in known]
    count_of = Counter(functors)
    own = [{functor} if functor and count_of[functor] == 1 else set[str]() for functor in functors]
    return [names | (functor - frozenset[str]().union(*arrays)) for names, functor in zip(arrays, own, strict=True)]


def keys_of(names: Sequence[str], wanted: Sequence[frozenset[str]]) -> list[str] | None:
    """Choose for each output the one of `names` that is its name; None unless each has one of its own."""
    found = [[name for name in names if name in each] for each in wanted]
    keys = [each[0] for each in found if len(each) == 1]
    return keys if len(keys) == len(wanted) == len(set(keys)) else None


class Plain(nn.Module):
    """A module that returns what another one does, in types that files have: no dataclasses and named tuples."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = False

    def forward(self, *inputs: torch.Tensor) -> object:
        returned = self.network(*inputs)
        if (named := by_name(returned)) is not None:
            return named
        return tuple(cast("Sequence[object]", returned)) if isinstance(returned, (tuple, list)) else returned
