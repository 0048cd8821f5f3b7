"""The dtypes in which a network takes arrays that have others. It imports Torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hpacml.runtime.models import gradients
from hpacml.runtime.models.values import flat

_ABOUT_DTYPES = re.compile(
    r"dtype|scalar type|not implemented for|used as indices must|LongTensor|FloatTensor|'float' object"
)
_MOST_WAYS = 64
_JOINS = {"cat", "stack", "concat", "hstack", "vstack"}


# -- which dtypes ------------------------------------------------------------------------------------------


def taken(
    network: Callable[[], Callable[..., object]],
    inputs: Sequence[torch.Tensor],
    floating: torch.dtype | None,
    declared: bool = False,
) -> tuple[tuple[torch.dtype, ...], bool]:
    """Find out in which dtypes a network takes inputs, and whether it does; `floating` is its floating dtype, or None.

    Integers stay integers if the network uses them as such: as indices, in integer arithmetic, or by a conversion of
    its own. They become floats where it mixes them with floats, or takes no integers; where they are `declared`, only
    where it takes none. To see that, copies of the network, which `network` makes, run on the inputs.
    """
    choices = [_choices(x.dtype, floating, declared) for x in inputs]
    failures: dict[tuple[torch.dtype, ...], Exception] = {}

    def works(dtypes: tuple[torch.dtype, ...]) -> _Watch | None:
        """Try dtypes; None if the network takes them, else what was seen."""
        watch = _Watch()
        try:
            watch.run(network, [x.to(dtype, copy=True) for x, dtype in zip(inputs, dtypes, strict=True)])
        except Exception as error:
            failures[dtypes] = error
            return watch
        features = not declared and any(dtypes[n] is not choices[n][-1] for n in watch.mixed)
        return watch if features else None

    places = [0] * len(inputs)
    while True:
        dtypes = tuple(choice[place] for choice, place in zip(choices, places, strict=True))
        if (seen := works(dtypes)) is None:
            return dtypes, True
        last = [len(choices[n]) - 1 for n in range(len(inputs))]
        culprits = [n for n in seen.failed or seen.mixed if places[n] < last[n]]
        if not culprits:
            break
        for n in culprits:
            places[n] = places[n] + 1 if seen.failed else last[n]
    ways = sorted(itertools.product(*(range(len(choice)) for choice in choices)), key=sum)
    for way in ways[:_MOST_WAYS]:  # nothing has told which of them it is
        dtypes = tuple(choice[place] for choice, place in zip(choices, way, strict=True))
        if dtypes not in failures and works(dtypes) is None:
            return dtypes, True
    return _most_telling(failures, tuple(choice[-1] for choice in choices)), False


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
    """Watches what becomes of integer inputs. `mixed` are the numbers of those that became floats along with floats,
    `failed` of those in the operation that has raised an error."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._origins: dict[int, tuple[torch.Tensor, frozenset[int]]] = {}
        self.mixed: frozenset[int] = frozenset()
        self.failed: frozenset[int] = frozenset()

    def run(self, network: Callable[[], Callable[..., object]], inputs: Sequence[torch.Tensor]) -> None:
        """Run a network on inputs, and watch those of integers. Raises what it raises."""
        with torch.inference_mode(False):
            copied = network()

            def watched(*given: torch.Tensor) -> object:
                self._origins = {id(x): (x, frozenset([n])) for n, x in enumerate(given) if not x.is_floating_point()}
                with self:
                    return copied(*given)

            gradients.run(watched, inputs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [x for x in flat((args, kwargs)) if isinstance(x, torch.Tensor)]
        origins = frozenset[int]().union(*(self._origins[id(x)][1] for x in given if id(x) in self._origins))
        if not origins:
            return func(*args, **kwargs)
        try:
            returned = func(*args, **kwargs)
        except Exception:
            self.failed = origins
            raise
        for result in flat(returned):
            if not isinstance(result, torch.Tensor):
                continue
            if not result.is_floating_point():
                self._origins[id(result)] = result, origins  # which keeps it, so that its id stays its own
            elif torch.Tag.pointwise in func.tags or func.overloadpacket.__name__ in _JOINS:
                self.mixed |= frozenset[int]().union(
                    *(self._origins[id(x)][1] for x in given if id(x) in self._origins and x.dtype is not torch.bool)
                )
        return returned


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
