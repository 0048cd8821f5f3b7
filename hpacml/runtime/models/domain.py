"""The domain of a model: where the inputs lie that it was trained with, for guards that keep it from others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float64]]
Matrix = np.ndarray[Any, np.dtype[np.float64]]

MOST_FEATURES = 1 << 16
"""Features of a point up to which there is a domain."""

MOST_WHITENED = 512
"""Features of a point, of all inputs, up to which a domain tells distances."""

_RIDGE = 1e-9
"""What is added to correlations of 1: features that always go together have a distance, too, if they stop to."""

_ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""The deviation, relative to the mean, of a feature that is constant."""

_CONSTANT = 1e-6
"""What counts as the deviation of a constant feature, relative to it."""

_NOTHING = 1e-90
"""What counts as the deviation of a feature that is always 0, of which nobody knows the unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """The ranges of a model's inputs, and the cloud of its training points.

    `low` and `high` have for each input a float64[F_k]: one number for each feature of a point, row-major. `mean` [F]
    and the lower-triangular `whitening` [F, F] are of the features of all inputs, one input after the other: the
    distance of a point x is the 2-norm of `whitening @ (x - mean)`, that of Mahalanobis. They are None where inputs
    have no points in common, or more than `MOST_WHITENED` features. `points` counts the training points, and `reach` is
    the largest distance of one of them.
    """

    low: tuple[Vector, ...]
    high: tuple[Vector, ...]
    points: int
    mean: Vector | None = None
    whitening: Matrix | None = None
    reach: float = 0.0

    @staticmethod
    def of(
        low: Sequence[Vector], high: Sequence[Vector], points: int, mean: Vector | None, covariance: Matrix | None
    ) -> Domain:
        """Make that of ranges, and of the mean and the covariance of the points, if there are any."""
        found = Domain(tuple(low), tuple(high), points)
        if mean is None or covariance is None or not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            return found
        return replace(found, mean=mean, whitening=_whitening(covariance, mean))

    @property
    def features(self) -> tuple[int, ...]:
        """The number of features of a point of each input."""
        return tuple(map(len, self.low))

    def with_margin(self, margin: float) -> tuple[tuple[Vector, ...], tuple[Vector, ...]]:
        """The lows and highs, each moved outwards by `margin` of the width of its range."""
        with np.errstate(over="ignore"):
            room = [margin * (high - low) for low, high in zip(self.low, self.high, strict=True)]
            low = tuple(each - by for each, by in zip(self.low, room, strict=True))
            return low, tuple(each + by for each, by in zip(self.high, room, strict=True))

    def distances(self, points: Matrix) -> Vector:
        """The distances of points [N, F], with the features of all inputs. Raises ValueError if it has none."""
        if self.mean is None or self.whitening is None:
            raise ValueError("the domain tells no distances")
        return np.asarray(np.linalg.norm((points - self.mean) @ self.whitening.T, axis=1))

    def joined(self, other: Domain) -> Domain:
        """That of the points of both; `reach` is the larger one of the two, each by its own distances.

        Raises ValueError if their features differ in number.
        """
        if self.features != other.features:
            raise ValueError(f"one has {listed(self.features)} features, and the other {listed(other.features)}")
        low = [np.minimum(*pair) for pair in zip(self.low, other.low, strict=True)]
        high = [np.maximum(*pair) for pair in zip(self.high, other.high, strict=True)]
        points, mean, covariance = self.points + other.points, None, None
        if self.mean is not None and other.mean is not None:
            share, step = other.points / points, other.mean - self.mean
            mean = self.mean + share * step
            covariance = (1 - share) * self._covariance + share * other._covariance
            covariance += share * (1 - share) * np.outer(step, step)
        return replace(Domain.of(low, high, points, mean, covariance), reach=max(self.reach, other.reach))

    @property
    def _covariance(self) -> Matrix:
        assert self.whitening is not None
        root = np.linalg.inv(self.whitening)
        return root @ root.T

    def to_json(self) -> dict[str, Any]:
        """The record for `parse`; of the whitening it has the rows up to the diagonal."""
        inputs = [{"low": low.tolist(), "high": high.tolist()} for low, high in zip(self.low, self.high, strict=True)]
        record: dict[str, Any] = {"inputs": inputs, "points": self.points}
        if self.mean is not None and self.whitening is not None:
            rows = [row[: k + 1].tolist() for k, row in enumerate(self.whitening)]
            record |= {"mean": self.mean.tolist(), "whitening": rows, "reach": self.reach}
        return record

    @staticmethod
    def parse(record: object) -> Domain:
        """Read a record, which can come from anywhere. Raises ValueError for anything that is no domain."""
        told = _mapping(record)
        inputs = told.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise ValueError("its domain has no list of inputs")
        found = [_range(_mapping(each)) for each in cast("list[object]", inputs)]
        points, low, high = told.get("points"), *zip(*found, strict=True)
        if type(points) is not int or not 0 < points < 1 << 63:
            raise ValueError(f"its domain is that of {points!r} points")
        domain = Domain(low, high, points)
        if told.get("whitening") is None:
            return domain
        count = sum(domain.features)
        mean, reach, rows = _vector(told.get("mean")), _vector([told.get("reach")]), told["whitening"]
        if len(mean) != count or count > MOST_WHITENED or not reach[0] >= 0:
            raise ValueError(f"its domain has {count} features, and a mean of {len(mean)}")
        return replace(domain, mean=mean, whitening=_triangle(rows, count), reach=float(reach[0]))

    def __str__(self) -> str:
        text = f"{self.points} points of {listed(self.features)} features"
        return text if self.mean is None else f"{text}, in which no distance is beyond {self.reach:.4g}"


def listed(features: Sequence[int]) -> str:
    """Write the numbers of features of inputs, such as `5 + 2`."""
    return " + ".join(map(str, features))


def _whitening(covariance: Matrix, mean: Vector) -> Matrix:
    """The inverse of the lower Cholesky factor of a covariance [F, F], whose constant features are given room."""
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    varies = deviation > _ROUNDING * np.abs(mean)
    scale = np.where(varies, deviation, np.maximum(_CONSTANT * np.abs(mean), _NOTHING))
    with np.errstate(over="ignore", invalid="ignore"):  # of constant features, which have no correlations
        correlation = np.where(np.outer(varies, varies), covariance / scale / scale[:, None], 0.0)
    np.fill_diagonal(correlation, 1.0 + _RIDGE)
    return np.tril(np.linalg.inv(np.linalg.cholesky(correlation))) / scale


def _mapping(record: object) -> Mapping[str, object]:
    if not isinstance(record, dict):
        raise ValueError("its domain is no object of JSON")
    return cast("dict[str, object]", record)


def _range(record: Mapping[str, object]) -> tuple[Vector, Vector]:
    low, high = _vector(record.get("low")), _vector(record.get("high"))
    if len(low) != len(high) or not len(low) or not (low <= high).all():
        raise ValueError("its domain has an input whose lows are not as many as its highs, or not below these")
    return low, high


def _vector(numbers: object) -> Vector:
    """Finite numbers, up to as many as a point may have features."""
    listed = cast("list[object]", numbers) if isinstance(numbers, list) else [None]
    if len(listed) > MOST_FEATURES or not all(map(_is_number, listed)):
        raise ValueError("its domain has something else than lists of finite numbers")
    return np.array(listed, np.float64)


def _is_number(value: object) -> bool:
    if type(value) is int:
        return abs(value) < 1 << 1000
    return isinstance(value, float) and math.isfinite(value)


def _triangle(rows: object, count: int) -> Matrix:
    listed = cast("list[object]", rows) if isinstance(rows, list) else []
    vectors = [_vector(row) for row in listed[: count + 1]]
    if [len(each) for each in vectors] != list(range(1, count + 1)):
        raise ValueError("the whitening of its domain is no triangle of as many rows as there are features")
    found = np.zeros((count, count))
    for k, row in enumerate(vectors):
        found[k, : k + 1] = row
    if not (np.diag(found) > 0).all():
        raise ValueError("the whitening of its domain has a diagonal that is not positive")
    return found
