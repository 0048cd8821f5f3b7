"""A network that can be run, wherever it comes from, and what the file formats share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class InputType:
    """The dtype and the shape of an input, with None for sizes that may vary."""

    dtype: torch.dtype
    shape: tuple[int | None, ...]

    def fits(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor has this rank and these sizes; its dtype does not matter, as it is converted."""
        sizes = zip(self.shape, tensor.shape, strict=False)
        return len(self.shape) == tensor.dim() and all(size in (None, given) for size, given in sizes)

    def __str__(self) -> str:
        sizes = ", ".join("*" if size is None else str(size) for size in self.shape)
        return f"{str(self.dtype).removeprefix('torch.')}[{sizes}]"


@dataclass(frozen=True)
class Network:
    """A network: `run` takes tensors, and should return a tensor or a tuple of tensors.

    `anchor` gives a tensor that has the network's floating dtype and its device, or None if it has no such
    tensor. `inputs` is what a file declares; `example`, `metadata`, and `maps` of the training data with their digest
    are what `save_model` was given. `addresses` tells where its weights are, and what else a captured graph of it
    depends on, if that may change.
    """

    run: Callable[..., object]
    anchor: Callable[[], torch.Tensor | None] = lambda: None
    inputs: tuple[InputType, ...] | None = None
    example: tuple[InputType, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: dict[str, Any]())
    maps: tuple[str, ...] = ()
    maps_sha256: str | None = None
    addresses: Callable[[], tuple[int, ...]] = lambda: ()

    @cached_property
    def dtypes(self) -> tuple[torch.dtype, ...] | None:
        """The dtypes of the inputs that a file tells."""
        known = self.inputs or self.example
        return None if known is None else tuple(declared.dtype for declared in known)

    @property
    def declaration(self) -> str:
        """The inputs that a file declares, such as `float32[*, 5]`, else those it was saved with."""
        return ", ".join(map(str, self.inputs or self.example or ()))

    def with_metadata(self, metadata: Mapping[str, Any]) -> Network:
        """Add what `save_model` wrote beside the network; files that it did not write have nothing of it."""
        import torch

        example = tuple(InputType(getattr(torch, x["dtype"]), tuple(x["shape"])) for x in metadata.get("example", ()))
        return replace(
            self,
            example=example or None,
            metadata=metadata.get("metadata", {}),
            maps=tuple(metadata.get("maps", ())),
            maps_sha256=metadata.get("maps_sha256"),
        )


def describe(tensors: Sequence[torch.Tensor]) -> str:
    """Write dtypes and shapes, such as `float32[64, 5], float32[64]`."""
    return ", ".join(str(InputType(x.dtype, tuple(x.shape))) for x in tensors)


def first_floating(module: torch.nn.Module) -> torch.Tensor | None:
    """Find the first floating parameter of a module, else its first floating buffer."""
    for tensor in module.parameters():
        if tensor.is_floating_point():
            return tensor
    return next((tensor for tensor in module.buffers() if tensor.is_floating_point()), None)


@contextlib.contextmanager
def evaluating(module: torch.nn.Module) -> Generator[None]:
    """Put the parts of a module that are in training mode into evaluation mode, and back afterwards."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
