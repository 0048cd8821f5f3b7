"""Figure 6: the shares of gather, model and scatter in the time of a region, for the fastest model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .drawing import canvas, save
from .measured import ENGINES, Measured

NAME = "figure6.png"
PARTS = {"gather": "tab:cyan", "model": "tab:grey", "scatter": "tab:purple"}


def points(all_measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """The shares for each application and engine."""
    fastest = [(name, each.fastest(engine)) for name, each in all_measured.items() for engine in ENGINES]
    return [
        {"application": name, "model": row.name, "engine": row.engine, **row.shares}
        for name, row in fastest
        if row is not None and row.shares is not None
    ]


def draw(all_measured: Mapping[str, Measured], folder: Path) -> None:
    """Write the figure: a bar for each application and engine."""
    found = points(all_measured)
    figure = canvas(9, 1 + 0.45 * len(found))
    axes = figure.subplots()
    places = range(len(found))
    left = [0.0] * len(found)
    for part, color in PARTS.items():
        shares = [100 * point[part] for point in found]
        axes.barh(places, shares, left=left, color=color, label=part)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    labels = [f"{all_measured[each['application']].title}\n{each['model']}, {each['engine']}" for each in found]
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("share of the time of gather, model and scatter, %")
    axes.legend(loc="lower left", fontsize=7)
    save(figure, found, folder / NAME)
