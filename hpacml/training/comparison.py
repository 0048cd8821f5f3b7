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


SAID = 3
"""So many outputs of which a baseline is better are named."""


@dataclass(frozen=True)
class Comparison:
    """The scores of the model and of each baseline on the same rows, by name, and what there is to say about them."""

    results: dict[str, Result]
    notes: tuple[str, ...]
    minor: frozenset[str] = frozenset()

    @property
    def shown(self) -> dict[str, Result]:
        """The scores that a table shows."""
        return {name: result for name, result in self.results.items() if name not in self.minor}

    def verdict(self) -> str | None:
        """Say which baseline is at least as good as the model; None if the model is better than all."""
        return verdict(self.results)

    def exceptions(self) -> str | None:
        """Say of which outputs a baseline is better, where the model is better over all; None if of none."""
        return exceptions(self.results)


def score(baselines: Baselines, test: Rows, predict: Predict) -> Comparison:
    """Score a model and fitted baselines on the rows of `test`, in one pass.

    Raises DatabaseError if there are no rows, or if one is NaN or infinite, ModelError where a predictor does not fit.
    """
    predictors = {MODEL: predict, **baselines.predictors}
    scored = {name: Scores(test.outputs, test.names[1]) for name in predictors}
    for x, y in pieces(test, "test"):
        for name, predictor in predictors.items():
            scored[name].update_by(name, predictor, x, y)
    return Comparison({name: each.result() for name, each in scored.items()}, baselines.notes, baselines.minor)


def verdict(results: Mapping[str, Errors]) -> str | None:
    """Say which baseline is at least as good as the model, by RMSE or else by MAE; None if the model is better.

    Of baselines that differ by rounding or by less than 1 %, it is the first, which is the simplest.
    """
    if name := _winner(results, "rmse"):
        return f"{_told(results, name, 'rmse')}: use it instead"
    if name := _winner(results, "mae"):
        return f"{_told(results, name, 'mae')}, which is better by RMSE alone"


def exceptions(results: Mapping[str, Result]) -> str | None:
    """Say of which outputs a baseline has at most the RMSE of the model, where no baseline has it over all."""
    outputs = results[MODEL]["per_output"]
    if len(outputs) < 2 or _winner(results, "rmse"):
        return None
    found: list[str] = []
    for k, output in enumerate(outputs):
        errors = {name: result["per_output"][k] for name, result in results.items()}
        if name := _winner(errors, "rmse"):
            found.append(f"'{output['name']}' by {name} (RMSE {errors[name]['rmse']:.3g}, not {output['rmse']:.3g})")
    if not found:
        return None
    more = f" and {len(found) - SAID} more" if len(found) > SAID else ""
    return (
        f"the {MODEL} is the best over all outputs, but not of each: {', '.join(found[:SAID])}{more}; such "
        "outputs need no network, or one of their own"
    )


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
