"""Figures 7 and 8: speed against accuracy, with the Pareto front, and what needs no network beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .drawing import BASELINE, COLORS, MARKERS, PAPER, canvas, save
from .measured import Measured, Row, front

PANELS = {
    "figure7.png": ("particlefilter",),
    "figure8.png": ("minibude", "binomial_options", "bonds", "miniweather"),
}
"""The applications of each figure. The paper has no such panel of MiniWeather, of which its figure 9 tells."""

LEAST = 1e-6
"""Errors below this are drawn there, and told in numbers: a logarithmic scale has no 0."""


def points(measured: Measured) -> list[dict[str, Any]]:
    """A point for each model and engine, each baseline, and the accurate path where its own error is told."""
    best = front(measured.models)
    accurate = [measured.accurate] if measured.has_other_truth else []
    return [
        {
            "application": measured.name,
            "model": row.name,
            "kind": row.kind,
            "engine": row.engine,
            "error": row.error,
            "speedup": row.speedup,
            "parameters": row.parameters,
            "front": row in best,
        }
        for row in (*accurate, *measured.models, *measured.baselines)
    ]


def draw(all_measured: Mapping[str, Measured], folder: Path) -> None:
    """Write both figures."""
    for name, panels in PANELS.items():
        shown = [all_measured[each] for each in panels if each in all_measured]
        if shown:
            draw_panels(shown, folder / name)


def draw_panels(shown: Sequence[Measured], path: Path) -> None:
    """Write a figure with a panel for each application."""
    figure = canvas(5.5 * min(2, len(shown)), 4.6 * -(-len(shown) // 2))
    panels = figure.subplots(-(-len(shown) // 2), min(2, len(shown)), squeeze=False).ravel()
    for axes, measured in zip(panels, shown, strict=False):
        _panel(axes, measured)
    for axes in panels[len(shown) :]:
        axes.remove()
    save(figure, [point for measured in shown for point in points(measured)], path)


def _panel(axes: Any, measured: Measured) -> None:
    fewest = min((row.parameters for row in measured.models if row.parameters), default=1)
    for engine, marker in MARKERS.items():
        _scatter(axes, [r for r in measured.models if r.engine == engine], fewest, marker, COLORS[engine], engine)
    best = front(measured.models)
    axes.plot([_error(row) for row in best], [row.speedup for row in best], color="black", linewidth=0.8, label="front")
    middle = sum(math.log(_error(row)) for row in _extremes(measured)) / 2
    for row in measured.baselines:
        axes.plot(_error(row), row.speedup, "^", color=BASELINE)
        about = row.name if row.error >= LEAST else f"{row.name}: {row.error:.2g}"
        side, shift = ("right", -3) if math.log(_error(row)) > middle else ("left", 3)
        axes.annotate(
            about, (_error(row), row.speedup), fontsize=6, xytext=(shift, 3), textcoords="offset points", ha=side
        )
    if measured.has_other_truth:
        error = measured.accurate.error
        axes.axvline(error, color="black", linestyle="--", label=f"accurate path: {error:.3g}")
    if measured.paper and measured.paper.points:
        errors, speedups = [p.error for p in measured.paper.points], [p.speedup for p in measured.paper.points]
        axes.plot(errors, speedups, "*", color=PAPER, markerfacecolor="none", label="paper (A100)")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel=measured.unit, ylabel="speed-up over the accurate path")
    axes.tick_params(which="minor", labelsize=6)
    axes.set_title(measured.title, fontsize=9)
    axes.margins(0.15)
    axes.legend(fontsize=6)


def _scatter(axes: Any, rows: Sequence[Row], fewest: int, marker: str, color: str, label: str) -> None:
    """Models of one engine: the more parameters, the larger."""
    sizes = [20 * (1 + max(0.0, (row.parameters or fewest) / fewest) ** 0.33) for row in rows]
    errors, speedups = [_error(row) for row in rows], [row.speedup for row in rows]
    axes.scatter(errors, speedups, sizes, color=color, marker=marker, alpha=0.7, linewidths=0, label=label)


def _extremes(measured: Measured) -> tuple[Row, Row]:
    """The rows with the least and with the largest error."""
    rows = [*measured.models, *measured.baselines]
    return min(rows, key=_error), max(rows, key=_error)


def _error(row: Row) -> float:
    return max(row.error, LEAST)
