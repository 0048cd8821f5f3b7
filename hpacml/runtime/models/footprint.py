"""How large the tensors are that a module of data would make, which is known before it runs. It imports Torch."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,  # pyright: ignore[reportPrivateUsage]
)

from hpacml.runtime.models.values import flat


class TooLarge(ValueError):
    """Inputs of which a module would make more than there is memory."""


class Footprint:
    """Tells what a module would make of inputs by running it without data, on the device meta.

    Its layers are those of a file, which may name any sizes: a pooling layer of a few bytes can ask for terabytes.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._rows: dict[torch.Size, int] = {}
        """The rows up to which inputs are known to fit, by their other sizes."""
        self._last: torch.Size | None = None
        """The sizes of the last inputs."""

    def largest(self, inputs: Sequence[torch.Tensor]) -> int:
        """Give the bytes of the operation that takes and makes most, up to one that fails."""
        measured = _Measured()
        # Hooks and modes of users do not see it. What fails without data fails with it, too, behind what is measured.
        with (
            torch.no_grad(),
            cast(Any, torch)._C.DisableTorchFunction(),
            _disable_current_modes(),
            measured,
            contextlib.suppress(Exception),
        ):
            (x,) = (torch.empty(x.shape, dtype=x.dtype, device="meta") for x in inputs)
            for layer in self._layers:
                x = layer.forward(x)
        return measured.largest

    def checked(self, module: nn.Module) -> Callable[..., object]:
        """Let a copy of the module, or itself, raise TooLarge instead of asking the host for more than it has."""

        def run(*inputs: torch.Tensor) -> object:
            if inputs[0].shape != self._last:
                self._require_known(inputs)
            return module(*inputs)

        return run

    def _require_known(self, inputs: Sequence[torch.Tensor]) -> None:
        shape = inputs[0].shape
        if not shape or self._rows.get(shape[1:], 0) < shape[0]:
            self._require(inputs)
        self._last = shape or None

    def _require(self, inputs: Sequence[torch.Tensor]) -> None:
        """Raise TooLarge if the memory of the host cannot hold what is made of inputs; what grows, grows by rows."""
        shape = inputs[0].shape
        largest, there = max(1, self.largest(inputs)), memory()
        if inputs[0].is_cpu and largest > there:
            raise TooLarge(f"it would take {largest / 2**30:.1f} GiB at once, and there are {there / 2**30:.1f}")
        if shape:
            self._rows[shape[1:]] = shape[0] * max(1, there // largest)

    @cached_property
    def _layers(self) -> list[nn.Module]:
        """The layers of the module, which has no other containers than sequences, without data."""
        tensors = (*self._module.parameters(), *self._module.buffers())
        sketch = copy.deepcopy(self._module, {id(x): x.detach().to("meta") for x in tensors})
        return [part for part in sketch.modules() if not isinstance(part, nn.Sequential)]


class _Measured(TorchDispatchMode):
    """Notes the bytes of the operation that takes and makes most."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        storages = [x.untyped_storage() for x in flat((args, kwargs, returned)) if isinstance(x, torch.Tensor)]
        self.largest = max(self.largest, sum({cast(Any, each)._cdata: each.nbytes() for each in storages}.values()))
        return returned


@cache
def memory() -> int:
    """Give the bytes of memory of this machine, or of its container."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # there is no limit
        return whole
