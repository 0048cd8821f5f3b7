"""Functions of a region's inputs, as `hpacml.train` takes them for baselines, in the place of its model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch

from hpacml.errors import ModelError
from hpacml.training.baselines import called


def takes_inputs(function: Callable[..., object]) -> bool:
    """Whether a function cannot be called without arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # it is one of a C library that does not tell
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(each.kind in positional and each.default is each.empty for each in parameters)


def as_model(function: Callable[..., Any], sweep: int) -> Callable[..., torch.Tensor | tuple[torch.Tensor, ...]]:
    """Make a model for regions of a function that takes float64 arrays [rows, *shape] and returns outputs as such.

    The rows are the first `sweep` dimensions of the region's tensors; with 0 each tensor is a row.
    """

    def model(*inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        rows = [each.reshape(math.prod(each.shape[:sweep]), *each.shape[sweep:]) for each in inputs]
        outputs = called(function, rows)
        if wrong := [list(each.shape) for each in outputs if each.shape[:1] != (len(rows[0]),)]:
            raise ModelError(f"the function gives an output {wrong[0]} for inputs of {len(rows[0])} rows")
        tensors = (torch.as_tensor(each, device=inputs[0].device) for each in outputs)
        found = tuple(each.reshape(*inputs[0].shape[:sweep], *each.shape[1:]) for each in tensors)
        return found[0] if len(found) == 1 else found

    return model
