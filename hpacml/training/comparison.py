"""The model beside the baselines, on rows that none of them has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpacml.training.baselines import MODEL, Baselines
from hpacml.training.rows import Rows, pieces
from hpacml.training.scores import Errors, Metric, Result, Scores

if TYPE_CHECKING:
    from hpacml.training.baselines import Predict


@dataclass(frozen=True)
class Comparison:
    """The scores of the model and of each baseline on the same rows, by name, and what there is to say about them."""

    results: dict[str, Result]
    notes: tuple[str, ...]

    def verdict(self) -> str | None:
        """Say which baseline is at least as good as the model; None if the model is better than all."""
        return verdict(self.results)


def score(baselines: Baselines, test: Rows, predict: Predict) -> Comparison:
    """Score a model and fitted baselines on the rows of `test`, in one pass.

    Raises DatabaseError if there are no rows, or if one is NaN or infinite, ModelError where a predictor does not fit.
    """
    predictors = {MODEL: predict, **baselines.predictors}
    scored = {name: Scores(test.outputs, test.names[1]) for name in predictors}
    for x, y in pieces(test, "test"):
        for name, predictor in predictors.items():
            scored[name].update_by(name, predictor, x, y)
    return Comparison({name: each.result() for name, each in scored.items()}, baselines.notes)


def verdict(results: Mapping[str, Errors]) -> str | None:
    """Say which baseline is at least as good as the model, by RMSE or else by MAE; None if the model is better.

    Of baselines that differ by rounding or by less than 1 %, it is the first, which is the simplest.
    """
    if name := _winner(results, "rmse"):
        return f"{_told(results, name, 'rmse')}: use it instead"
    if name := _winner(results, "mae"):
        return f"{_told(results, name, 'mae')}, which is better by RMSE alone"


def _winner(results: Mapping[str, Errors], metric: Metric) -> str | None:
    errors = {name: result[metric] for name, result in results.items()}
    model = errors.pop(MODEL)
    good = {name: error for name, error in errors.items() if error <= model or model != model}
    finite = [error for error in good.values() if error == error]
    if not finite:
        return None
    close = max(1.01 * min(finite), 1e-9 * errors["mean"])
    return next(name for name, error in good.items() if error <= close)


def _told(results: Mapping[str, Errors], name: str, metric: Metric) -> str:
    ours, its = results[MODEL][metric], results[name][metric]
    return f"{name} has {metric.upper()} {its:.3g} on the test rows, the {MODEL} {ours:.3g}"
