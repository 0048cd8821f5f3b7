"""The picture of an evaluation: speed-up over error, a point for each row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpacml.errors import plain
from hpacml.evaluation.tabular import TITLES

if TYPE_CHECKING:
    from hpacml.evaluation.measured import Measured, Row

MARKS = {"accurate": "*", "model": "o", "baseline": "s"}


def draw(evaluation: Measured, path: Path) -> None:
    """Write the picture as PNG. Rows without a finite error are told of in its title."""
    from matplotlib.figure import Figure

    points = {row.title: point for row in evaluation.rows if (point := _point(row, evaluation)) is not None}
    figure: Any = Figure(figsize=(7, 5), layout="constrained")
    axis: Any = figure.subplots()
    axis.axhline(1.0, color="0.6", linewidth=1, zorder=0)
    for k, row in enumerate(row for row in evaluation.rows if row.title in points):
        x, y = points[row.title]
        axis.plot([x], [y], MARKS[row.kind], color=f"C{k % 10}")
        axis.annotate(_text(row.title), (x, y), xytext=(5, 4), textcoords="offset points", fontsize="x-small")
    axis.set_yscale("log")
    _scale(axis, [x for x, _ in points.values()])
    axis.set_xlabel(f"{TITLES[evaluation.metric]} of the quality of interest")
    axis.set_ylabel("speed-up of the whole run")
    axis.grid(alpha=0.3)
    left_out = [row.title for row in evaluation.rows if row.title not in points]
    axis.set_title(_text(f"without {', '.join(left_out)}" if left_out else ""), fontsize="small", wrap=True)
    figure.savefig(path, format="png", dpi=120)


def _point(row: Row, evaluation: Measured) -> tuple[float, float] | None:
    """Its error and speed-up. The accurate program has the error 0 where it is the truth."""
    error = 0.0 if row.kind == "accurate" and row.errors is None else row.error(evaluation.metric)
    if error is None or not math.isfinite(error) or row.speedup is None:
        return None
    return error, row.speedup


def _scale(axis: Any, errors: list[float]) -> None:
    """Errors by orders of magnitude, and 0 left of them."""
    positive = [error for error in errors if error > 0]
    if positive and min(errors) > 0:
        axis.set_xscale("log")
    elif positive:
        axis.set_xscale("symlog", linthresh=min(positive))
        axis.set_xlim(left=-0.2 * min(positive))


def _text(text: str) -> str:
    """Escape what Matplotlib would read as mathematics."""
    return plain(text, line=True).replace("$", r"\$")
