"""How far predictions are from the truth: errors by torchmetrics, in float64, over rows that come in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, cast

import numpy as np

from hpacml.errors import DatabaseError, ModelError, plain
from hpacml.training.finite import require_finite
from hpacml.training.rows import doubles, size

if TYPE_CHECKING:
    import torch
    from rich.table import Table
    from torchmetrics import MetricCollection

    Array = np.ndarray[Any, Any] | torch.Tensor

Metric = Literal["rmse", "mae", "mape", "max"]

METRICS: tuple[Metric, ...] = ("rmse", "mae", "mape", "max")

EPSILON = 1.17e-6
"""Torchmetrics' and scikit-learn's: MAPE divides by |truth|, or by this where |truth| is smaller."""

FEATURES = 32
"""Up to so many numbers in a row each has scores of its own; of more, each output tensor has."""

AT_ONCE = 1 << 15
"""The numbers of a column that are scored at once: more would leave the cache, and wait for Torch's threads."""


class Errors(TypedDict):
    """The root of the mean square, the mean, the mean relative (1 is 100 %) and the largest of the absolute errors."""

    rmse: float
    mae: float
    mape: float
    max: float


class OutputErrors(Errors):
    """The errors of one output, or of one number of it."""

    name: str


class Result(Errors):
    """The errors over all numbers of all outputs, and of each output."""

    rows: int
    per_output: list[OutputErrors]


class Column(NamedTuple):
    """What is scored by itself: some of the numbers in a row of an output."""

    name: str
    output: int
    places: slice
    width: int


def columns(shapes: Sequence[tuple[int, ...]], names: Sequence[str]) -> Iterator[Column]:
    """Yield what is scored by itself, of outputs whose rows have these shapes."""
    apart = size(shapes) <= FEATURES
    for output, (shape, name) in enumerate(zip(shapes, names, strict=True)):
        width = math.prod(shape)
        if apart and width > 1:
            for place, at in enumerate(np.ndindex(shape)):
                yield Column(f"{name}{list(at)}", output, slice(place, place + 1), 1)
        elif width:
            yield Column(name, output, slice(None), width)


class Scores:
    """Scores predictions block by block.

    `shapes` are those of one row of each output, `names` the names of the outputs. A prediction that is NaN makes the
    errors NaN.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], names: Sequence[str]):
        self.shapes = tuple(shapes)
        self.names = tuple(names)
        self.rows = 0
        if not size(self.shapes):
            raise DatabaseError("the outputs have no numbers, so there is nothing to score")
        self._columns = [(column, _metrics()) for column in columns(self.shapes, self.names)]
        self._step = max(1, AT_ONCE // max(column.width for column, _ in self._columns))

    def update(self, predicted: Sequence[torch.Tensor], truth: Sequence[torch.Tensor]) -> None:
        """Add rows: a tensor [rows, *shape] for each output, of any dtype and device.

        Raises ModelError if the predictions have other shapes; they are not broadcast.
        """
        rows = len(truth[0])
        expected = [(rows, *shape) for shape in self.shapes]
        given = [tuple(tensor.shape) for tensor in predicted]
        if given != expected:
            raise ModelError(f"predictions have the shapes {_listed(given)}, but the outputs are {_listed(expected)}")
        self.rows += rows
        for start in range(0, rows, self._step):
            sides = (doubles([each[start : start + self._step] for each in side]) for side in (predicted, truth))
            pairs = list(zip(*sides, strict=True))
            for column, metrics in self._columns:
                _update(metrics, *(each[:, column.places] for each in pairs[column.output]))

    def update_by(
        self,
        name: str,
        predict: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]],
        x: Sequence[torch.Tensor],
        truth: Sequence[torch.Tensor],
    ) -> None:
        """Add rows that `predict` is given the inputs of. Raises ModelError, which begins with the name of it."""
        try:
            self.update(predict(x), truth)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error

    def result(self) -> Result:
        """Return the errors of all rows so far. Raises DatabaseError if there are none."""
        if not self.rows:
            raise DatabaseError("there are no rows to score: give the test part some")
        outputs: list[OutputErrors] = [{"name": column.name, **_errors(metrics)} for column, metrics in self._columns]
        return {
            **_joined(outputs, [column.width for column, _ in self._columns]),
            "rows": self.rows,
            "per_output": outputs,
        }


def scores(
    predicted: Array | Sequence[Array], truth: Array | Sequence[Array], names: Sequence[str] | None = None
) -> Result:
    """Score predictions in memory: arrays or tensors [rows, ...], one for each output.

    Raises ModelError where shapes differ, DatabaseError where the truth is NaN or infinite or has no rows.
    """
    predictions, truths = _tensors(predicted), _tensors(truth)
    if names is None:
        names = ["output"] if len(truths) == 1 else [f"output{k}" for k in range(len(truths))]
    if any(not tensor.ndim for tensor in truths) or len({len(tensor) for tensor in truths}) != 1:
        raise ModelError(f"the outputs {_listed([tuple(t.shape) for t in truths])} do not have the same rows")
    require_finite(names, truths, "row {}".format)
    scored = Scores([tuple(tensor.shape[1:]) for tensor in truths], names)
    scored.update(predictions, truths)
    return scored.result()


def table(results: Mapping[str, Errors], title: str | None = None) -> Table:
    """Make a table for rich of the errors of several predictors; the least of each column is bold and has a star."""
    head = ["", "RMSE", "MAE", f"MAPE (of |truth| ≥ {EPSILON:g})", "largest error"]
    formats = {metric: "{:.2%}" if metric == "mape" else "{:.3g}" for metric in METRICS}
    cells = [_marked([result[metric] for result in results.values()], formats[metric]) for metric in METRICS]
    return _table(title, head, [[name, *row] for name, row in zip(results, zip(*cells, strict=True), strict=True)])


def table_per_output(results: Mapping[str, Result], metric: Metric = "rmse", title: str | None = None) -> Table:
    """Make a table for rich of one error of each output, with a column for each predictor; the least have stars."""
    outputs = [each["name"] for each in next(iter(results.values()))["per_output"]]
    rows = [
        [name, *_marked([result["per_output"][k][metric] for result in results.values()], "{:.3g}")]
        for k, name in enumerate(outputs)
    ]
    return _table(title, [metric.upper(), *results], rows)


def _metrics() -> MetricCollection:
    import torch
    from torchmetrics import MaxMetric, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError
    from torchmetrics import MetricCollection as Collection

    # One process has all rows, so that it would wait for ever for the others.
    alone: Any = {"sync_on_compute": False}
    with torch.device("cpu"):
        collection = Collection(
            {
                "rmse": MeanSquaredError(squared=False, **alone),
                "mae": MeanAbsoluteError(**alone),
                "mape": MeanAbsolutePercentageError(**alone),
                "max": MaxMetric(nan_strategy="disable", **alone),
            },
            compute_groups=False,
        )
        return collection.set_dtype(torch.float64)


def _update(metrics: MetricCollection, predicted: torch.Tensor, truth: torch.Tensor) -> None:
    p, t = predicted.reshape(-1), truth.reshape(-1)
    metrics.update(preds=p, target=t, value=(p - t).abs())


def _errors(metrics: MetricCollection) -> Errors:
    values = metrics.compute()
    return cast("Errors", {metric: float(values[metric]) for metric in METRICS})


def _joined(errors: Sequence[Errors], widths: Sequence[int]) -> Errors:
    """The errors over all numbers, from those of columns of so many numbers in a row."""
    rmse, mae, mape, largest = (np.array([each[metric] for each in errors]) for metric in METRICS)
    return {
        "rmse": float(np.sqrt(np.average(rmse**2, weights=widths))),
        "mae": float(np.average(mae, weights=widths)),
        "mape": float(np.average(mape, weights=widths)),
        "max": float(largest.max()),
    }


def _tensors(arrays: Array | Sequence[Array]) -> list[torch.Tensor]:
    import torch

    several = [arrays] if isinstance(arrays, (np.ndarray, torch.Tensor)) else arrays
    return [torch.as_tensor(each, device="cpu") for each in several]


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes) or "none"


def _marked(values: Sequence[float], form: str) -> list[str]:
    least = min((value for value in values if not math.isnan(value)), default=math.nan)
    return [f"{form.format(value)} {'*' if value == least else ' '}" for value in values]


def _table(title: str | None, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=None if title is None else Text(plain(title, line=True), "bold"), title_justify="left")
    for k, each in enumerate(head):
        shown.add_column(Text(plain(each, line=True)), justify="right" if k else "left")
    for name, *cells in rows:
        winning = (Text(cell, "bold" if cell.endswith("*") else "") for cell in cells)
        shown.add_row(Text(plain(name, line=True)), *winning)
    return shown
