"""Figure 5: speed-up and error of each model, by both engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .drawing import COLORS, PAPER, canvas, save
from .measured import ENGINES, Measured

NAME = "figure5.png"


def points(all_measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """A point for each model and engine."""
    return [
        {"application": name, "model": row.name, "engine": row.engine, "speedup": row.speedup, "error": row.error}
        for name, measured in all_measured.items()
        for row in measured.models
    ]


def draw(all_measured: Mapping[str, Measured], folder: Path) -> None:
    """Write the figure, with a column for each application: errors above, speed-ups below."""
    figure = canvas(3.2 * len(all_measured), 6.5)
    panels = figure.subplots(2, len(all_measured), squeeze=False)
    for measured, errors, speedups in zip(all_measured.values(), *panels, strict=True):
        errors.set_title(measured.title, fontsize=9)
        errors.set_ylabel(measured.unit)
        speedups.set_ylabel("speed-up over the accurate path")
        for axes, quantity in ((errors, "error"), (speedups, "speedup")):
            _bars(axes, measured, quantity)
        if all(row.speedup > 0 for row in measured.models):
            speedups.set_yscale("log")
        speedups.axhline(1, color="black", linewidth=0.8)
        if measured.paper:
            best = measured.paper.best_speedup
            speedups.axhline(best, color=PAPER, linestyle=":")
            speedups.set_title(f"dotted: the paper's best (A100), {best:g}", fontsize=7)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8)
    save(figure, points(all_measured), folder / NAME)


def _bars(axes: Any, measured: Measured, quantity: str) -> None:
    """Two bars for each network, with their values."""
    names = list(dict.fromkeys(row.name for row in measured.models))
    for shift, engine in ((-0.2, ENGINES[0]), (0.2, ENGINES[1])):
        shown = [(names.index(row.name) + shift, row) for row in measured.models if row.engine == engine]
        heights = [getattr(row, quantity) for _, row in shown]
        bars = axes.bar([place for place, _ in shown], heights, 0.38, color=COLORS[engine], label=engine)
        axes.bar_label(bars, [f"{height:.2g}" if height < 100 else f"{height:.0f}" for height in heights], fontsize=5)
    axes.margins(y=0.1)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
