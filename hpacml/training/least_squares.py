"""Linear least squares over rows that come in blocks, of which only a triangular factor is kept."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from hpacml.training.rows import Matrix

CUTOFF = 1e-12
"""Directions of the features that are smaller than the largest one by this are rounding errors, and have no weight."""


class Linear(NamedTuple):
    """An affine map of features [rows, features] to outputs [rows, outputs]."""

    centre: Matrix
    weights: Matrix
    offset: Matrix

    def __call__(self, x: Matrix) -> Matrix:
        return (x - self.centre) @ self.weights + self.offset


class LeastSquares:
    """Fits outputs [rows, outputs] by features [rows, features], both float64.

    It keeps the factor R of the QR decomposition of [1, features, outputs]: its first row has the means, and what is
    below is the factor of the centred columns. Unlike normal equations it does not square the features' condition.
    """

    def __init__(self, features: int, outputs: int):
        self._features = features
        self._factor: Matrix = np.empty((0, 1 + features + outputs))
        self._origin: Matrix = np.zeros(features + outputs)

    def update(self, x: Matrix, y: Matrix) -> None:
        """Add rows, at least one."""
        columns: Matrix = np.concatenate([x, y], axis=1)
        if not len(self._factor):
            # What is constant becomes exactly zero, and large offsets do not hide small variations.
            self._origin = np.array(columns[0])
        with np.errstate(over="ignore", invalid="ignore"):  # `_centred` looks at the result
            block = np.insert(columns - self._origin, 0, 1.0, axis=1)
            self._factor = _triangle(np.concatenate([self._factor, block]))

    def fit(self) -> Linear | None:
        """Fit by all features, with the smallest of the best weights. None if numbers are too large for float64."""
        centred = self._centred()
        if centred is None:
            return None
        a, b, scale = centred
        weights, *_ = np.linalg.lstsq(a, b, rcond=CUTOFF)
        return self._linear(weights / scale[:, None])

    def fit_singles(self, most: int) -> list[tuple[int, Linear]]:
        """Fit by each of up to `most` single features that vary, and return their numbers too.

        The first leaves the smallest sum of squared residuals of all outputs, and so on.
        """
        centred = self._centred()
        if centred is None:
            return []
        a, b, scale = centred
        squares = (a**2).sum(0)
        slopes: Matrix = (a.T @ b) / np.where(squares > 0, squares, 1)[:, None]
        explained = squares * ((slopes / (np.abs(b).max(initial=0) or 1)) ** 2).sum(1)
        left: Matrix = np.where(squares > 0, explained, -1.0)
        found: list[tuple[int, Linear]] = []
        for _ in range(min(most, int((squares > 0).sum()))):
            best = int((left >= left.max() * (1 - CUTOFF)).argmax())  # the first of equals, despite rounding
            weights = np.zeros_like(slopes)
            weights[best] = slopes[best] / scale[best]
            found.append((best, self._linear(weights)))
            left[best] = -1.0
        return found

    def _centred(self) -> tuple[Matrix, Matrix, Matrix] | None:
        """Return the factors of the features, each divided by its scale, and of the outputs, and the scales."""
        if not np.isfinite(self._factor).all():
            return None
        below: Matrix = self._factor[1:, 1:]
        a, b = below[:, : self._features], below[:, self._features :]
        scale: Matrix = np.abs(a).max(0, initial=0)
        scale = np.where(scale > 0, scale, 1)
        return a / scale, b, scale

    def _linear(self, weights: Matrix) -> Linear:
        mean: Matrix = self._origin + self._factor[0, 1:] / self._factor[0, 0]
        return Linear(mean[: self._features], weights, mean[self._features :])


def _triangle(rows: Matrix) -> Matrix:
    return cast("Matrix", np.linalg.qr(rows, mode="r"))
