"""The bounds of a model's outputs, within which its numbers are set. It imports Torch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch


class Clip(NamedTuple):
    """The least and the greatest number of an output; None for none."""

    low: float | None
    high: float | None

    def within(self, *dtypes: torch.dtype) -> Clip:
        """The outermost bounds inside of these that all dtypes have. Raises ValueError where no number is left."""
        low = high = None
        for k, dtype in enumerate(dtypes):
            now = self if not k else Clip(low, high)
            low = None if now.low is None else _inward(now.low, dtype, up=True)
            high = None if now.high is None else _inward(now.high, dtype, up=False)
        if low == math.inf or high == -math.inf or (low is not None and high is not None and low > high):
            names = " and ".join(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype in dtypes))
            raise ValueError(f"{names} has no number from {self.low} to {self.high}")
        return Clip(low, high)

    def clip(self, y: torch.Tensor) -> tuple[torch.Tensor, int]:
        """A tensor with its numbers set within the bounds, and how many were outside. NaN stays, and counts as none."""
        if not y.numel() or self == (None, None):
            return y, 0
        least, greatest = cast("tuple[torch.Tensor, torch.Tensor]", cast(Any, torch).aminmax(y.detach()))
        if (self.low is None or bool(least >= self.low)) and (self.high is None or bool(greatest <= self.high)):
            return y, 0
        clipped = y.clamp(self.low, self.high)
        return clipped, int((clipped != y).logical_and(y == y).sum())


def _inward(bound: float, dtype: torch.dtype, *, up: bool) -> float:
    """The bound, or the next number inside of it that a dtype has; infinity if there is none."""
    if math.isinf(bound):
        return bound
    if not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        whole = max(math.ceil(bound), limits.min) if up else min(math.floor(bound), limits.max)
        return whole if limits.min <= whole <= limits.max else math.inf if up else -math.inf
    near = torch.tensor(bound, dtype=torch.float64, device="cpu").to(dtype)
    if float(near) < bound if up else float(near) > bound:
        near = near.nextafter(torch.tensor(math.inf if up else -math.inf, dtype=dtype, device="cpu"))
    return float(near)
