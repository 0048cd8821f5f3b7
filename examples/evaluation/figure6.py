"""Figure 6: what the time of a region goes to by each model: gather, casts, the model, scatter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .drawing import canvas, save
from .measured import STAGES, Measured

NAME = "figure6.png"
COLORS = {"gather": "tab:cyan", "casts": "tab:olive", "model": "tab:grey", "scatter": "tab:purple"}


def points(all_measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """The shares for each model and engine."""
    return [
        {"application": name, "model": row.name, "engine": row.engine, **_percent(row.shares)}
        for name, measured in all_measured.items()
        for row in measured.models
        if row.shares is not None
    ]


def _percent(shares: Mapping[str, float]) -> dict[str, float]:
    return {f"{stage}, %": 100 * shares[stage] for stage in STAGES}


def draw(all_measured: Mapping[str, Measured], folder: Path) -> None:
    """Write the figure: a bar for each model and engine."""
    found = points(all_measured)
    figure = canvas(9, 1 + 0.2 * len(found))
    axes = figure.subplots()
    places = range(len(found))
    left = [0.0] * len(found)
    for stage, color in COLORS.items():
        shares = [point[f"{stage}, %"] for point in found]
        axes.barh(places, shares, left=left, color=color, label=stage)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    labels = [f"{all_measured[each['application']].title}: {each['model']}, {each['engine']}" for each in found]
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of the time of these stages, %")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(COLORS), fontsize=7, frameon=False)
    save(figure, found, folder / NAME)
