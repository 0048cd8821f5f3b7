"""What of a module a captured graph depends on, and whether it is made of Torch's code alone. It imports Torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, cast

import torch

from hpacml.runtime.models.network import attributes

_everywhere = vars(torch.nn.modules.module)
_function_modes = cast("Callable[[], int]", cast(Any, torch)._C._len_torch_function_stack)
_dispatch_modes = cast("Callable[[], int]", cast(Any, torch)._C._len_torch_dispatch_stack)

STANDARD = len(vars(torch.nn.Module()))
"""How many attributes each module has, which come before those of its class."""


def traits(module: torch.nn.Module) -> tuple[int, ...]:
    """List the parts of a module, how many hooks each has, and where their tensors are, weights or plain attributes.

    Graphs ask in each call; this is several times faster than `parameters()`.
    """
    found: list[int] = []
    _add(module, found)
    return tuple(found)


def _add(module: torch.nn.Module, found: list[int]) -> None:
    inside = attributes(module)
    found += id(module), len(inside["_forward_pre_hooks"]), len(inside["_forward_hooks"])
    for weights in inside["_parameters"], inside["_buffers"]:
        for weight in weights.values():
            if weight is not None:
                found.append(weight.data_ptr())
    for each in islice(inside.values(), STANDARD, None):
        found += [item.data_ptr() for item in _items(each) if isinstance(item, torch.Tensor)]
    for child in inside["_modules"].values():
        if child is not None:
            _add(child, found)


def runs_code(module: torch.nn.Module) -> bool:
    """Tell whether a module runs other code than that of Torch's layers: a `forward` of a user, or hooks."""
    inside = attributes(module)
    if inside["_forward_pre_hooks"] or inside["_forward_hooks"] or "forward" in inside:
        return True
    if not type(module).__module__.startswith("torch.nn.modules."):
        return True
    return any(child is not None and runs_code(child) for child in inside["_modules"].values())


def is_watched() -> bool:
    """Tell whether Python code sees the tensors of any network: hooks for all modules, or modes of Torch."""
    return bool(
        _everywhere["_global_forward_pre_hooks"]
        or _everywhere["_global_forward_hooks"]
        or _function_modes()
        or _dispatch_modes()
    )


def _items(value: object) -> Iterable[object]:
    """List what is in a plain container, else the value itself."""
    if isinstance(value, dict):
        return cast("dict[object, object]", value).values()
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else (value,)
