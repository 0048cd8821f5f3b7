"""What happens to arrays in the course of a call: writes that Torch must know of, and memory exchanged under a call."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hpacml.errors import MapError
from hpacml.runtime.arrays.protocols import is_still_there, is_tensor, numpy_address
from hpacml.runtime.arrays.torch_memory import ORDINARY
from hpacml.runtime.arrays.views import ArrayView, Foreign


def note_writes(views: Sequence[ArrayView], written: Iterable[int]) -> None:
    """Count a write to each tensor among the owners of the views at the positions `written`.

    Torch then refuses gradients that need what was there before. Of a NumPy array over the memory of a tensor it cannot
    be known. Raises MapError for an object of others that no longer has its memory where the view has it.
    """
    tensors: list[Any] = []
    for n in written:
        owner = views[n].owner
        if type(owner) is np.ndarray:
            continue
        if type(owner) in ORDINARY or is_tensor(owner):
            tensors.append(owner)
        elif type(owner) is Foreign and not isinstance(owner.array, np.ndarray):  # which has no code to run
            require_in_place([owner.name], [views[n]], "an argument of the call, or the array itself,")
    if tensors:
        sys.modules["torch"].autograd.graph.increment_version(tensors)


def require_in_place(names: Sequence[str], views: Sequence[ArrayView], by: str) -> None:
    """Raise MapError for an array that has other memory, sizes or strides than its view, changed `by` some code.

    The view has the address that compiled code uses. The memory that was there may be freed.
    """
    for name, view in zip(names, views, strict=True):
        owner: Any = view.owner
        if type(owner) is np.ndarray:
            same = owner.shape == view.shape or _is_number(owner, view)
            if same and (numpy_address(owner) == view.address or not owner.size):
                continue
        elif is_still_there(owner) if type(owner) is Foreign else _is_in_place(owner, view):
            continue
        raise MapError(
            f"{by} has given the array '{name}' other memory or sizes, while the region uses those that it had: "
            f"write into it, such as {name}[...] = ..., or change it before the call"
        )


def _is_in_place(owner: Any, view: ArrayView) -> bool:
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(owner, torch.Tensor):
        return True
    try:
        if owner.data_ptr() != view.address:
            return False
        return (owner.shape == view.shape and owner.stride() == view.strides) or _is_number(owner, view)
    except RuntimeError:  # it is of another kind now, without memory
        return False


def _is_number(owner: Any, view: ArrayView) -> bool:
    """Tell whether the owner has no dimensions: a map gives a number those that it needs."""
    return owner.shape == () and view.shape == (1,) * len(view.shape)
