"""What figures have in common: a canvas, colours, markers, and files that are there whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..resumable import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"torch": "tab:orange", "compiled": "tab:blue"}
MARKERS = {"torch": "s", "compiled": "o"}
BASELINE, PAPER = "tab:green", "tab:red"

Point = Mapping[str, Any]


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches, which no window shows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, points: Sequence[Point], path: Path) -> None:
    """Write a figure as PNG, and beside it all that it shows as CSV."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write(path, picture.getvalue())
    write(path.with_suffix(".csv"), table(points))


def table(rows: Sequence[Point]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
