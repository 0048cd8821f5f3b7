"""What takes part in Torch's derivatives: tensors, and inferences inside of `hpacml.differentiable()`.

It imports no Torch: who has a tensor has loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from hpacml.locks import Order, lock
from hpacml.runtime.arrays.protocols import is_tensor

if TYPE_CHECKING:
    import torch

_on: ContextVar[bool] = ContextVar("hpacml.differentiable", default=False)
_counting = lock(Order.COUNTING)
_contexts = 0

inside: bool | None = None
"""None while no thread is inside of a context: who asks for it first pays nothing where nothing is differentiated."""


@contextmanager
def differentiable() -> Generator[None]:
    """Have the inferences of regions take part in the autograd of Torch.

    ```python
    with hpacml.differentiable():
        for _ in range(10):
            correct(u, n, net)      # a region: gradients flow through the model, to `u` before and to its parameters
            u = step(u)
        loss(u).backward()
    ```
    Arrays are Torch's tensors on the host. What a region writes is written in place, as by an operation of Torch, which
    refuses backward where that needed what was there. The model runs by Torch, in evaluation mode. It holds for the
    code inside of the block, in this thread or task; as a decorator for a function.
    A call raises `MapError` for arrays that are no tensors, or are leaves and would be written, `CompileError` where
    the region wants compiled code of its network, and `ModelError` for a model that has no gradient.
    """
    token = _on.set(True)
    _count(1)
    try:
        yield
    finally:
        _count(-1)
        _on.reset(token)


def _count(change: int) -> None:
    global _contexts, inside
    with _counting:
        _contexts += change
        inside = True if _contexts else None


def is_recording() -> bool:
    """Whether inferences of this thread are recorded now: inside of a context, where Torch records derivatives."""
    if inside is None or not _on.get():
        return False
    torch: Any = import_module("torch")
    return torch.is_grad_enabled() or torch.autograd.forward_ad._current_level >= 0


def wanted(values: Iterable[object]) -> bool:
    """Whether one of the values is a tensor of which derivatives are recorded now."""
    for value in values:  # noqa: SIM110 (each call that no form fits asks, and a generator takes longer)
        if type(value) is not np.ndarray and is_tensor(value) and takes_part(value):
            return True
    return False


def takes_part(tensor: torch.Tensor) -> bool:
    """Whether derivatives with respect to a tensor are recorded now: it needs gradients, or has a tangent."""
    torch: Any = sys.modules["torch"]
    return (tensor.requires_grad and torch.is_grad_enabled()) or has_tangent(tensor)


def has_tangent(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a tangent of `torch.autograd.forward_ad`."""
    forward: Any = sys.modules["torch"].autograd.forward_ad
    return forward._current_level >= 0 and forward.unpack_dual(tensor).tangent is not None


def is_float(value: object) -> TypeGuard[torch.Tensor]:
    """Whether a value is a tensor of floats, which alone have derivatives."""
    return is_tensor(value) and value.is_floating_point()


class Recorder(Protocol):
    """Records the inference of a call."""

    def inputs(self, gathered: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The gathered tensors, which are the caller's, as functions of the arrays."""
        ...

    def returns(self, outputs: Sequence[torch.Tensor]) -> None:
        """Take what the model has made of them, and compiled code is about to scatter."""
        ...
