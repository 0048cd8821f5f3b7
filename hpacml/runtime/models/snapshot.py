"""What a module consists of, to tell at each call whether it still does. It imports Torch."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable
from itertools import islice
from operator import is_
from typing import Any, cast

import torch

from hpacml.runtime.models.traits import STANDARD


class Snapshot:
    """The parts of a module, their attributes, hooks and modes, and where their weights are.

    It does not keep the module alive, but its parts and the memory of its weights as long as there is the snapshot, so
    that no others come to lie at their addresses.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = weakref.ref(module)
        self._parts: list[tuple[dict[str, Any], tuple[Any, ...]]] = []
        self._tensors: list[tuple[torch.Tensor, int, Callable[[], Any]]] = []
        ahead = [module]
        for part in ahead:
            inside = vars(part)
            self._parts.append((inside, _state(inside)))
            ahead += inside["_modules"].values()
            self._tensors += [
                (tensor, tensor.data_ptr(), _bytes(tensor))
                for kind in ("_parameters", "_buffers")
                for tensor in inside[kind].values()
                if tensor is not None
            ]
        self._kinds: list[tuple[Any, Any, Any]] = [(part, part.__class__, part.__class__.forward) for part in ahead[1:]]
        self._kind = module.__class__

    def holds(self, module: torch.nn.Module) -> bool:
        """Tell whether this is the module, and consists of the same, apart from the values of its weights."""
        if self._module() is not module or module.__class__ is not self._kind:
            return False
        for part, kind, forward in self._kinds:
            if part.__class__ is not kind or kind.forward is not forward:
                return False
        for inside, before in self._parts:
            now = _state(inside)
            if len(now) != len(before) or not all(map(is_, now, before)):
                return False
        for tensor, address, _ in self._tensors:  # noqa: SIM110 (each call asks, and a generator takes longer)
            if tensor.data_ptr() != address:
                return False
        return True

    def digest(self) -> int:
        """A checksum of the weights, which also changes after writes that Torch does not count, by `.data` or NumPy."""
        value = 0
        for _, _, content in self._tensors:
            value = zlib.crc32(content(), value)
        return value


def _state(inside: dict[str, Any]) -> tuple[Any, ...]:
    """The mode of a part, its hooks, its own attributes, its tensors and its parts."""
    return (
        inside["training"],
        bool(inside["_forward_hooks"] or inside["_forward_pre_hooks"]),
        *islice(inside.values(), STANDARD, None),
        *inside["_parameters"].values(),
        *inside["_buffers"].values(),
        *inside["_modules"].values(),
    )


def _bytes(tensor: torch.Tensor) -> Callable[[], Any]:
    """What gives the elements of a tensor as they are at that time."""
    plain = tensor.detach()
    if not plain.is_contiguous():
        return lambda: plain.contiguous().numpy()
    content = memoryview(cast(Any, plain.numpy())).cast("B") if plain.numel() else b""
    return lambda: content
