"""What the rows of an evaluation say to somebody who would use a model.

Speeds are the medians of the ratios in each trial, which a disturbed trial does not move as it moves means.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hpacml.evaluation.contestants import ACCURATE
from hpacml.training.scores import Metric

if TYPE_CHECKING:
    from hpacml.evaluation.measured import Measured, Row

CLOSE = 1.01
"""Times and errors that differ by less are as good."""


def verdict(evaluation: Measured) -> str:
    """Say of each model, a line each, what is as good and as fast, or that nothing is."""
    return "\n".join(_lines(evaluation.rows, evaluation.metric))


def _lines(rows: Sequence[Row], metric: Metric) -> Iterator[str]:
    others = [row for row in rows if row.kind != "model" and row.failed is None]
    for row in rows:
        if row.kind == "model":
            yield f"{row.title} {_of_model(row, others, metric)}"


def _of_model(model: Row, others: Sequence[Row], metric: Metric) -> str:
    if model.failed is not None:
        return f"failed: {model.failed}"
    if math.isnan(error := _error(model, metric)):
        return f"gives {model.not_finite} numbers that are NaN or infinite: it is of no use"
    about = f"has {_told(model, metric)}"
    good = [other for other in others if _error(other, metric) <= CLOSE * error]
    if fast := [other for other in good if CLOSE * _speed(other) >= _speed(model)]:
        best = min(fast, key=lambda other: (_error(other, metric), -_speed(other)))
        return f"{about}; {_named(best)} has {_told(best, metric)}: use it instead"
    if baselines := [other for other in good if other.kind == "baseline"]:
        best = max(baselines, key=_speed)
        ratio = _speed(model) / _speed(best)
        return f"{about}; {best.name} has {_told(best, metric)}, and takes {ratio:.3g} times as long"
    return f"{about}; no baseline is as good"


def _named(row: Row) -> str:
    return "the accurate program" if row.kind == ACCURATE else row.name


def _told(row: Row, metric: Metric) -> str:
    """Its error and speed-up."""
    return f"{metric.upper()} {_shown(_error(row, metric), metric)} at {_speed(row):.3g}x the speed"


def _shown(error: float, metric: Metric) -> str:
    return f"{error:.2%}" if metric == "mape" else f"{error:.3g}"


def _error(row: Row, metric: Metric) -> float:
    """The accurate program has none where it is the truth."""
    error = row.error(metric)
    return 0.0 if error is None else error


def _speed(row: Row) -> float:
    return 0.0 if row.paired is None else row.paired.median
