"""Which tensors take part in derivatives: Torch's gradients, and its tangents in forward mode. It imports no Torch."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from hpacml.runtime.arrays.protocols import is_tensor

if TYPE_CHECKING:
    import torch


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
