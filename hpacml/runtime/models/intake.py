"""The dtypes in which a network takes arrays that have others. It imports Torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hpacml.runtime.models import gradients
from hpacml.runtime.models.values import flat

_ABOUT_DTYPES = re.compile(
    r"dtype|scalar type|not implemented for|used as indices must|LongTensor|FloatTensor|'float' object"
)
_MOST_WAYS = 64
_JOINS = {"cat", "stack", "concat", "hstack", "vstack"}
_MOVES = _JOINS | {"clone", "_to_copy", "index", "index_select", "gather", "repeat", "roll", "flip", "take"}
"""Operations that give values of their first argument as they are, besides views."""


# -- which dtypes ------------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """The dtypes in which a network takes its inputs, and for those of integers that it uses as features by itself the
    floating dtype in which it does; `features` is empty if there are none."""

    dtypes: tuple[torch.dtype, ...]
    features: tuple[torch.dtype | None, ...] = ()


def taken(
    network: Callable[[], Callable[..., object]],
    inputs: Sequence[torch.Tensor],
    floating: torch.dtype | None,
    declared: bool = False,
) -> tuple[Taken, bool]:
    """Find out in which dtypes a network takes inputs, and whether it does; `floating` is its floating dtype, or None.

    Integers stay integers if the network runs on them, which gives what it gives by itself; otherwise they become
    floats. Those of 8 and 16 bits become `int64` at most, unless they are `declared`, so that they do not wrap. To see
    what runs, copies of the network, which `network` makes, run on the inputs.
    """
    choices = [_choices(x.dtype, floating, declared) for x in inputs]
    failures: dict[tuple[torch.dtype, ...], Exception] = {}

    def tried(dtypes: tuple[torch.dtype, ...]) -> _Watch:
        """Try dtypes, and give what was seen; those that the network does not take are in `failures` then."""
        watch = _Watch()
        try:
            watch.run(network, [x.to(dtype, copy=True) for x, dtype in zip(inputs, dtypes, strict=True)])
        except Exception as error:
            failures[dtypes] = error
        return watch

    places = [0] * len(inputs)
    while True:
        dtypes = tuple(choice[place] for choice, place in zip(choices, places, strict=True))
        seen = tried(dtypes)
        if dtypes not in failures:
            return seen.taken(dtypes), True
        culprits = [n for n in seen.failed if places[n] + 1 < len(choices[n])]
        if not culprits:
            break
        for n in culprits:
            places[n] += 1
    ways = sorted(itertools.product(*(range(len(choice)) for choice in choices)), key=sum)
    for way in ways[:_MOST_WAYS]:  # nothing has told which of them it is
        dtypes = tuple(choice[place] for choice, place in zip(choices, way, strict=True))
        if dtypes not in failures:
            seen = tried(dtypes)
            if dtypes not in failures:
                return seen.taken(dtypes), True
    return Taken(_most_telling(failures, tuple(choice[-1] for choice in choices))), False


def is_about_dtypes(error: Exception) -> bool:
    """Tell whether an error of Torch seems to say that a dtype is none that an operation takes."""
    return _ABOUT_DTYPES.search(str(error)) is not None


def _choices(given: torch.dtype, floating: torch.dtype | None, declared: bool) -> list[torch.dtype]:
    """List the dtypes in which a network may take an input of the dtype `given`, the best first."""
    if given.is_floating_point:
        return [floating] if floating is not None else list(dict.fromkeys([given, torch.float32]))
    wide = given in (torch.bool, torch.int32, torch.int64, torch.uint64)
    first = [given] if wide or declared else []
    whole = [torch.int64] if given is not torch.bool else []
    return list(dict.fromkeys([*first, *whole, floating or torch.get_default_dtype()]))


def _most_telling(
    failures: Mapping[tuple[torch.dtype, ...], Exception], otherwise: tuple[torch.dtype, ...]
) -> tuple[torch.dtype, ...]:
    """Give the dtypes with which a network fails for another reason than dtypes, whose error is the one to show."""
    return next((dtypes for dtypes, error in failures.items() if not is_about_dtypes(error)), otherwise)


class _Watch(TorchDispatchMode):
    """Watches what becomes of integer inputs. `features` are the numbers of those that became floats along with floats,
    as they are, with the dtype of these; `failed` are those in the operation that has raised an error."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._origins: dict[int, tuple[torch.Tensor, frozenset[int], frozenset[int]]] = {}
        """By its id, a tensor, the inputs of which it was made, and those of which it has values as they are."""
        self.features: dict[int, torch.dtype] = {}
        self.failed: frozenset[int] = frozenset()

    def taken(self, dtypes: tuple[torch.dtype, ...]) -> Taken:
        """Give what the network takes, which was run on these dtypes."""
        return Taken(dtypes, tuple(map(self.features.get, range(len(dtypes)))) if self.features else ())

    def run(self, network: Callable[[], Callable[..., object]], inputs: Sequence[torch.Tensor]) -> None:
        """Run a network on inputs, and watch those of integers. Raises what it raises."""
        with torch.inference_mode(False):
            copied = network()

            def watched(*given: torch.Tensor) -> object:
                numbers = {n: x for n, x in enumerate(given) if not x.is_floating_point()}
                self._origins = {id(x): (x, frozenset([n]), frozenset([n])) for n, x in numbers.items()}
                with self:
                    return copied(*given)

            gradients.run(watched, inputs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [self._origins[id(x)] for x in flat((args, kwargs)) if id(x) in self._origins]
        origins = frozenset[int]().union(*(made_of for _, made_of, _ in given))
        if not origins:
            return func(*args, **kwargs)
        try:
            returned = func(*args, **kwargs)
        except Exception:
            self.failed = origins
            raise
        name = func.overloadpacket.__name__
        first = {id(x) for x in flat(args[:1])} if func.is_view or name in _MOVES else set[int]()
        moved = frozenset[int]().union(*(same for x, _, same in given if id(x) in first))
        for result in flat(returned):
            if not isinstance(result, torch.Tensor):
                continue
            if not result.is_floating_point():
                self._origins[id(result)] = result, origins, moved  # which keeps it, so that its id stays its own
            elif torch.Tag.pointwise in func.tags or name in _JOINS:
                for n in frozenset[int]().union(*(same for x, _, same in given if x.dtype is not torch.bool)):
                    self.features[n] = max(self.features.get(n, result.dtype), result.dtype, key=_coarseness)
        return returned


def _coarseness(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


# -- conversion --------------------------------------------------------------------------------------------


def is_checked(source: torch.dtype, target: torch.dtype) -> bool:
    """Tell whether a conversion may only be of values that both dtypes have: those of integers that can lose some.

    Integers of up to 16 bits become floats as they are, features such as the pixels of an image.
    """
    if source is target or source is torch.bool or (source.is_floating_point and target.is_floating_point):
        return False
    if target.is_floating_point:
        return torch.iinfo(source).bits > 16 or (source is torch.uint16 and target is torch.float16)
    if source.is_floating_point or target is torch.bool:
        return True
    return not (
        torch.iinfo(target).min <= torch.iinfo(source).min and torch.iinfo(source).max <= torch.iinfo(target).max
    )


def first_inexact(x: torch.Tensor, converted: torch.Tensor) -> list[int] | None:
    """Find the first element of `x` that is another number in `converted`; None if there is none."""
    if x.dtype is torch.uint64 or converted.dtype is torch.uint64:
        bad = torch.as_tensor(_inexact_by_numpy(x.cpu().numpy(), converted.cpu().numpy()))
    else:
        bad = _inexact(_comparable(x), _comparable(converted))
    return [int(place) for place in bad.nonzero()[0]] if bool(bad.any()) else None


def _comparable(x: torch.Tensor) -> torch.Tensor:
    """Give a tensor in a dtype in which Torch compares; it does not in the unsigned ones of more than 8 bits."""
    return x.to(torch.int64) if x.dtype in (torch.uint16, torch.uint32, torch.bool) else x


def _inexact(x: torch.Tensor, converted: torch.Tensor) -> torch.Tensor:
    bad = converted.to(x.dtype) != x
    for floats in (x, converted):
        if floats.is_floating_point():
            bad |= floats >= 2.0**63  # which some processors make the largest integer
    return bad


def _inexact_by_numpy(x: Any, converted: Any) -> Any:
    import numpy as np

    with np.errstate(invalid="ignore"):
        bad = (converted.astype(x.dtype) != x) | ((converted < 0) != (x < 0))
    for floats in (x, converted):
        if floats.dtype.kind == "f":
            bad |= floats >= 2.0**64
    return np.asarray(bad)
