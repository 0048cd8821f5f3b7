"""Pictures of a training and of what it made: the learning curve, predictions beside the truth, errors, and fields."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hpacml.disk.whole_files import whole_file
from hpacml.errors import HpacmlError, plain
from hpacml.training.rows import Matrix, Rows, Sample, flat, pieces, size
from hpacml.training.scores import columns

if TYPE_CHECKING:
    from hpacml.training.baselines import Predict
    from hpacml.training.rows import Tensors

PANELS = 12
"""Up to so many outputs have a panel each."""

SAMPLED = 1 << 20
"""The numbers of outputs that are drawn; of more rows, those of a random sample."""

POINTS = 4000
"""The points in a panel; more hide each other."""

BINS = 60

CHANNELS = 4
"""Up to so many fields of a row have panels."""

MOST_PIXELS = 1000
"""Larger fields are drawn by every second of their points, or fewer."""


class Panel(NamedTuple):
    """Numbers of an output, as they are and as the model predicts them; those of a field are on a grid."""

    name: str
    truth: Matrix
    predicted: Matrix


def draw(folder: Path, test: Rows, predict: Predict, grid: tuple[int, int] | None = None) -> list[Path]:
    """Write `parity.png`, `errors.png` and, if outputs are fields, `fields.png` of a model on test rows to a folder.

    Outputs are fields if a row has two dimensions or more, of which the last two are drawn for the row with the largest
    error; or if rows are the points of a sweep whose sizes in a call are `grid`, of which the last call is drawn. Of
    many rows a random sample is drawn. Files that are there are replaced. Returns the paths. Raises DatabaseError if
    there are no rows or if one is NaN or infinite, and HpacmlError if a file cannot be written.
    """
    sample, tail = Sample(len(test), SAMPLED // max(1, size(test.outputs))), _Tail(math.prod(grid) if grid else 0)
    chosen: list[Drawn] = []
    first = 0
    for x, y in pieces(test, "test"):
        tail.add(x, y)
        rows = sample.choose(len(y[0]))
        if len(rows):
            truth = [tensor[rows] for tensor in y]
            chosen.append(Drawn(rows + first, flat(truth), flat(predict([tensor[rows] for tensor in x]))))
        first += len(y[0])
    drawn = Drawn(*(np.concatenate(parts) for parts in zip(*chosen, strict=True)))
    panels = list(_panels(drawn, test))
    title = "test rows" if sample.is_all else f"{sample} test rows"
    parity(folder / "parity.png", panels, title)
    histograms(folder / "errors.png", panels, title)
    shown = list(_fields_of_a_row(drawn, test))
    among = "" if sample.is_all else f" of {sample} rows"
    place = f"{test.place(int(drawn.rows[drawn.worst]))}: the largest error{among}"
    if not shown and grid is not None and tail.is_whole:
        shown = list(_fields_of_a_call(tail, test, predict, grid))
        place = f"the last call, up to {test.place(first - 1)}"
    if shown:
        fields(folder / "fields.png", shown, place)
    return [folder / name for name in ("parity.png", "errors.png", *(["fields.png"] if shown else []))]


def learning_curve(path: Path, history: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> None:
    """Draw how losses went on over the epochs.

    `history` has a row for each record, as `csv.DictReader` reads it: `epoch`, and numbers by their names, where what
    is missing is empty. Drawn are `names`, or else all with "loss" in them.
    """
    if names is None:
        names = sorted({name for row in history for name in row if "loss" in name})
    with _picture(path, 1, 1, (7, 4.5), "learning curve") as [axis]:
        lines = {name: [(_number(row.get("epoch")), _number(row.get(name))) for row in history] for name in names}
        known = {name: [pair for pair in pairs if np.isfinite(pair).all()] for name, pairs in lines.items()}
        for name, pairs in known.items():
            axis.plot([x for x, _ in pairs], [y for _, y in pairs], ".-", label=_text(name))
        axis.set_yscale("log" if all(y > 0 for pairs in known.values() for _, y in pairs) else "linear")
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        if known:
            axis.legend()


def parity(path: Path, panels: Sequence[Panel], title: str) -> None:
    """Draw predictions over the truth, in a panel for each output."""
    with _picture(path, *_layout(len(panels)), (4, 3.6), title) as axes:
        for axis, (name, truth, predicted) in zip(axes, panels, strict=False):
            known = np.flatnonzero(np.isfinite(predicted))
            if len(known) > POINTS:
                known = np.random.default_rng(0).choice(known, POINTS, replace=False)
            ends = [truth.min(), truth.max()]
            axis.plot(ends, ends, color="0.6", linewidth=1, zorder=0)
            axis.plot(truth[known], predicted[known], ".", markersize=3, alpha=0.5)
            axis.set_title(_named(name, predicted), fontsize="medium")
            axis.set_xlabel("truth")
            axis.set_ylabel("network")


def histograms(path: Path, panels: Sequence[Panel], title: str) -> None:
    """Draw how many predictions have which error, in a panel for each output."""
    with _picture(path, *_layout(len(panels)), (4, 2.8), title) as axes:
        for axis, (name, truth, predicted) in zip(axes, panels, strict=False):
            errors = (predicted - truth)[np.isfinite(predicted)]
            low, high = (errors.min(), errors.max()) if len(errors) else (0.0, 0.0)
            # Equal errors, or almost, would leave no room for bins between them.
            room = 1e-9 * max(abs(low), abs(high)) or 1e-12
            axis.stairs(*np.histogram(errors, BINS, (low - room, high + room)), fill=True)
            axis.set_yscale("symlog", linthresh=1)
            axis.set_title(_named(name, predicted), fontsize="medium")
            axis.set_xlabel("network - truth")
            axis.set_ylabel("predictions")


def fields(path: Path, shown: Sequence[Panel], title: str) -> None:
    """Draw fields [rows, columns], each in a row of three panels: truth, prediction and error."""
    with _picture(path, len(shown), 3, (4, 3.2), title) as axes:
        for k, (name, truth, predicted) in enumerate(shown):
            stride = math.ceil(max(truth.shape) / MOST_PIXELS)
            truth, predicted = truth[::stride, ::stride], predicted[::stride, ::stride]
            error = predicted - truth
            most = np.abs(error).max(initial=0, where=np.isfinite(error)) or 1
            for axis, what, values, low, high, colours in (
                (axes[3 * k], "truth", truth, truth.min(), truth.max(), "viridis"),
                (axes[3 * k + 1], "network", predicted, truth.min(), truth.max(), "viridis"),
                (axes[3 * k + 2], "network - truth", error, -most, most, "coolwarm"),
            ):
                image = axis.imshow(values, vmin=low, vmax=high, cmap=colours, aspect="auto")
                axis.figure.colorbar(image, ax=axis)
                axis.set_title(_text(f"{name}: {what}"), fontsize="medium")


class Drawn(NamedTuple):
    """The numbers of rows, and their outputs [rows, features]."""

    rows: np.ndarray[Any, np.dtype[np.int64]]
    truth: Matrix
    predicted: Matrix

    @property
    def worst(self) -> int:
        """Which of the rows has the largest error."""
        errors = np.nan_to_num(np.abs(self.predicted - self.truth), nan=np.inf)
        return int(errors.max(1, initial=0).argmax())


class _Tail:
    """The last so many rows."""

    def __init__(self, count: int):
        self._count = count
        self._pieces: list[tuple[Tensors, Tensors]] = []

    def add(self, x: Tensors, y: Tensors) -> None:
        if self._count:
            self._pieces.append((x, y))
            while self._rows() - len(self._pieces[0][1][0]) >= self._count:
                self._pieces.pop(0)

    @property
    def is_whole(self) -> bool:
        return self._rows() >= self._count > 0

    def _rows(self) -> int:
        return sum(len(y[0]) for _, y in self._pieces)

    def evaluated(self, predict: Predict) -> tuple[Matrix, Matrix]:
        """Return truth and predictions [rows, features]."""
        truth = np.concatenate([flat(y) for _, y in self._pieces])
        predicted = np.concatenate([flat(predict(x)) for x, _ in self._pieces])
        return truth[-self._count :], predicted[-self._count :]


def _panels(drawn: Drawn, test: Rows) -> Iterator[Panel]:
    starts = _starts(test)
    for name, output, places, width in islice(columns(test.outputs, test.names[1]), PANELS):
        first = starts[output] + (places.start or 0)
        part = slice(first, first + width)
        yield Panel(name, drawn.truth[:, part].ravel(), drawn.predicted[:, part].ravel())


def _fields_of_a_row(drawn: Drawn, test: Rows) -> Iterator[Panel]:
    """Yield the last two dimensions of outputs, in the row with the largest error."""
    for name, shape, start in zip(test.names[1], test.outputs, _starts(test), strict=True):
        if len(shape) >= 2 and min(shape[-2:]) > 1:
            part = slice(start, start + math.prod(shape))
            sides = [side[drawn.worst, part].reshape(shape) for side in (drawn.truth, drawn.predicted)]
            for at in islice(np.ndindex(shape[:-2]), CHANNELS):
                yield Panel(f"{name}{list(at)}" if at else name, *(side[at] for side in sides))


def _fields_of_a_call(tail: _Tail, test: Rows, predict: Predict, grid: tuple[int, int]) -> Iterator[Panel]:
    """Yield the numbers of a row over the points of a call."""
    drawn = Drawn(np.arange(math.prod(grid)), *tail.evaluated(predict))
    for name, truth, predicted in islice(_panels(drawn, test), CHANNELS):
        if truth.size == math.prod(grid):
            yield Panel(name, truth.reshape(grid), predicted.reshape(grid))


def _starts(test: Rows) -> list[int]:
    """Where the numbers of each output begin in a flat row."""
    return [0, *accumulate(map(math.prod, test.outputs))][:-1]


def _layout(panels: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    across = max(1, min(4, math.ceil(math.sqrt(panels))))
    return max(1, math.ceil(panels / across)), across


@contextlib.contextmanager
def _picture(path: Path, down: int, across: int, panel: tuple[float, float], title: str) -> Generator[list[Any]]:
    """Yield the axes of a figure with its panels in rows, each so many inches wide and high, and write it as PNG."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(panel[0] * across, panel[1] * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    yield axes
    for axis in axes:
        if not axis.has_data():
            axis.axis("off")
    figure.suptitle(_text(title))
    try:
        with whole_file(path) as part:
            figure.savefig(part, format="png", dpi=100)
    except OSError as error:
        raise HpacmlError(f"cannot write '{path}': {error.strerror or error}: choose another place") from error


def _named(name: str, predicted: Matrix) -> str:
    bad = int(np.count_nonzero(~np.isfinite(predicted)))
    return _text(f"{name} ({bad} not finite)" if bad else name)


def _number(cell: object) -> float:
    """The number in a cell of a table, NaN if it is empty."""
    return float(str(cell)) if cell not in (None, "") else math.nan


def _text(text: str) -> str:
    """Escape what Matplotlib would read as mathematics."""
    return plain(text, line=True).replace("$", r"\$")
