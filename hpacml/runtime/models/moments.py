"""Numbers of rows: minimum, maximum, mean and covariance in float64, in one reading. It imports Torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

MOST_COVARIANCES = 128
"""Features up to which moments have their covariances, unless they are told otherwise."""


class Moments:
    """Minimum, maximum, mean and deviation of tensors [rows, *shape], of each element, in float64.

    With up to `most` elements it has their covariances too. Blocks are joined by the formulas of Chan,
    Golub and LeVeque, which lose nothing where the mean is large beside the deviation.
    """

    min: torch.Tensor
    max: torch.Tensor
    mean: torch.Tensor
    squares: torch.Tensor
    products: torch.Tensor | None

    def __init__(self, shape: Sequence[int], most: int = MOST_COVARIANCES) -> None:
        self.shape = tuple(shape)
        size = torch.Size(shape).numel()
        self.count = 0
        self.min = torch.full((size,), torch.inf, dtype=torch.float64)
        self.max = torch.full((size,), -torch.inf, dtype=torch.float64)
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64) if size <= most else None

    def update(self, block: torch.Tensor) -> None:
        """Take further rows."""
        if not len(block):
            return
        rows = block.reshape(len(block), -1).double()
        self.min = torch.minimum(self.min, rows.amin(0))
        self.max = torch.maximum(self.max, rows.amax(0))
        total = self.count + len(rows)
        mean = rows.mean(0)
        rows = rows - mean
        step = mean - self.mean
        weight = self.count * len(rows) / total
        self.squares += rows.square().sum(0) + step.square() * weight
        if self.products is not None:
            self.products += rows.T @ rows + torch.outer(step, step) * weight
        self.mean += step * (len(rows) / total)
        self.count = total

    def deviation(self, dims: Sequence[int] = ()) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation over the rows and the dimensions `dims` of a row, which become of size 1."""
        mean, squares = (each.reshape(self.shape) for each in (self.mean, self.squares))
        if not dims:
            return mean, (squares / self.count).sqrt()
        joint = mean.mean(tuple(dims), keepdim=True)
        spread = (squares / self.count + (mean - joint).square()).mean(tuple(dims), keepdim=True)
        return joint, spread.sqrt()

    def range(self, dims: Sequence[int] = ()) -> tuple[torch.Tensor, torch.Tensor]:
        """Minimum and maximum over the rows and the dimensions `dims` of a row, which become of size 1."""
        low, high = self.min.reshape(self.shape), self.max.reshape(self.shape)
        return (low.amin(tuple(dims), True), high.amax(tuple(dims), True)) if dims else (low, high)

    def told(self) -> dict[str, Any]:
        """The numbers as JSON has them: of each element where they are few, else of each channel, else of all.

        A covariance is that of the rows, divided by their number.
        """
        few = self.products is not None
        dims = () if few else tuple(range(1 if len(self.shape) > 2 else 0, len(self.shape)))
        (low, high), (mean, deviation) = self.range(dims), self.deviation(dims)
        found = {"min": low, "max": high, "mean": mean, "deviation": deviation}
        told: dict[str, Any] = {name: cast(Any, each.flatten()).tolist() for name, each in found.items()}
        if self.products is not None:
            told["covariance"] = cast(Any, self.products / self.count).tolist()
        return {"shape": list(self.shape), "rows": self.count, **told}
