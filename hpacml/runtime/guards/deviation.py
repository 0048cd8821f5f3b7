"""How far what a model makes is from what the original code makes, in one number. It imports Torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

BLOCK = 1 << 20
"""Elements that are compared at once: they are converted to float64."""

ROUNDING = torch.finfo(torch.float32).eps


class Deviation(NamedTuple):
    """The error of a tensor, None where there is nothing to compare, and how many elements of it were left out."""

    error: float | None
    left_out: int = 0


def deviation(made: torch.Tensor, truth: torch.Tensor, metric: str) -> Deviation:
    """Compare two tensors of one shape by a metric of `hpacml.clauses`; "mape" is a fraction.

    It is infinite where one is not finite and the other not the same. "mape" leaves out elements whose truth is 0, or
    so small beside the largest one that it is rounding: no relative error tells anything of them.
    """
    if not truth.numel():
        return Deviation(None)
    floor = _floor(truth) if metric == "mape" else 0.0
    total, largest, count = 0.0, 0.0, 0
    for y, t in zip(_blocks(made), _blocks(truth), strict=True):
        error = torch.where((y == t) | (y.isnan() & t.isnan()), 0.0, (y - t).abs())
        if not bool(error.isfinite().all()):
            return Deviation(math.inf)
        if metric == "mape":
            counts = t.abs() > floor
            error = error[counts] / t.abs()[counts]
        if not error.numel():
            continue
        count += error.numel()
        total += float((error.square() if metric == "rmse" else error).sum())
        largest = max(largest, float(error.max()))
    if not count:
        return Deviation(None, truth.numel())
    mean = total / count
    error = {"rmse": math.sqrt(mean), "mape": mean, "max": largest}[metric]
    return Deviation(error, truth.numel() - count)


def _floor(truth: torch.Tensor) -> float:
    """The largest size of an element that is 0 or nothing but rounding."""
    if not truth.dtype.is_floating_point:
        return 0.0
    largest = max(float(torch.where(block.isfinite(), block.abs(), 0.0).max()) for block in _blocks(truth))
    return largest * min(torch.finfo(truth.dtype).eps, ROUNDING)


def _blocks(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The elements in order, in float64."""
    flat = tensor.reshape(-1)
    return (flat[start : start + BLOCK].to(torch.float64) for start in range(0, flat.numel(), BLOCK))
