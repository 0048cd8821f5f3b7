"""The rows of an evaluation as tables: for terminals, for pages, and for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hpacml.errors import plain
from hpacml.evaluation.breakdown import STAGES
from hpacml.evaluation.clocks import Spread
from hpacml.evaluation.verdicts import verdict
from hpacml.training.scores import METRICS, Metric

if TYPE_CHECKING:
    from rich.table import Table

    from hpacml.evaluation.measured import Measured, Row

TITLES: Mapping[Metric, str] = {"rmse": "RMSE", "mae": "MAE", "mape": "MAPE", "max": "largest error"}

HEAD = ("", "engine", "wall, ms", "CPU, ms", "speed-up", "in pairs", *TITLES.values())


def cells(evaluation: Measured) -> list[list[str]]:
    """The head and the rows of the table, as texts. Stages that take nothing in all rows are left out."""
    stages = [stage for stage in STAGES if any((row.shares or {}).get(stage, 0.0) >= 5e-4 for row in evaluation.rows)]
    return [[*HEAD, *stages, "computed by"], *(_cells(row, stages) for row in evaluation.rows)]


def _cells(row: Row, stages: list[str]) -> list[str]:
    shares = row.shares or {}
    return [
        row.name,
        row.engine,
        _spread(row.wall_spread, 1000),
        _spread(row.cpu_spread, 1000),
        "" if row.speedup is None else f"{row.speedup:.3g}x",
        _spread(row.paired),
        *(_error(row, metric) for metric in METRICS),
        *(f"{shares[stage]:.1%}" if shares.get(stage) else "" for stage in stages),
        row.engine_note if row.failed is None else "failed, see below",
    ]


def _spread(spread: Spread | None, scale: float = 1) -> str:
    """The median, and the quartiles in brackets."""
    if spread is None:
        return ""
    low, median, high = (f"{scale * each:.3g}" for each in spread)
    return f"{median} ({low}–{high})"


def _error(row: Row, metric: Metric) -> str:
    error = row.error(metric)
    if error is None:
        return ""
    if math.isnan(error):
        return f"NaN ({row.not_finite} numbers)"
    return f"{error:.2%}" if metric == "mape" else f"{error:.3g}"


def title(evaluation: Measured) -> str:
    """What was measured, in words."""
    truth = "the accurate result" if evaluation.truth == "accurate" else "the truth that was given"
    counted = evaluation.trials - evaluation.dropped
    return (
        f"{counted} trials of {evaluation.trials}, medians (and quartiles), {evaluation.threads} "
        f"thread{'s' * (evaluation.threads > 1)}; errors against {truth}; speed-up of mean times"
    )


def rich_table(evaluation: Measured) -> Table:
    """Make a table for rich."""
    from rich.table import Table
    from rich.text import Text

    head, *rows = cells(evaluation)
    shown = Table(title=title(evaluation), title_justify="left", caption_justify="left")
    for k, each in enumerate(head):
        shown.add_column(each, justify="right" if 1 < k < len(head) - 1 else "left")
    for row in rows:
        shown.add_row(*(Text(plain(cell, line=True)) for cell in row))
    if evaluation.notes:
        shown.caption = Text(plain("\n".join(evaluation.notes)))
    return shown


def markdown(evaluation: Measured) -> str:
    """The table, the verdict and the notes as a page."""
    head, *rows = cells(evaluation)
    lines = [
        title(evaluation),
        "",
        _line(head),
        _line(["---:" if 1 < k < len(head) - 1 else "---" for k in range(len(head))]),
        *map(_line, rows),
        "",
        *(f"- {plain(each, line=True)}" for each in (*verdict(evaluation).splitlines(), *evaluation.notes)),
    ]
    return "\n".join(lines) + "\n"


def _line(texts: list[str]) -> str:
    inner = " | ".join(plain(text, line=True).replace("|", r"\|") for text in texts)
    return f"| {inner} |"


def csv_text(evaluation: Measured) -> str:
    """A line for each row, times in seconds."""
    text = io.StringIO()
    content = list(map(_record, evaluation.rows))
    writer = csv.DictWriter(text, list(content[0]))
    writer.writeheader()
    writer.writerows(content)
    return text.getvalue()


def _record(row: Row) -> dict[str, object]:
    def spread(name: str, spread: Spread | None) -> dict[str, float | None]:
        low, median, high = (None, None, None) if spread is None else spread
        return {f"{name}_median": median, f"{name}_low": low, f"{name}_high": high}

    events, shares = row.events or {}, row.shares or {}
    return {
        "name": row.name,
        "kind": row.kind,
        "engine": row.engine,
        "trials": len(row.wall),
        "wall_mean": row.mean,
        **spread("wall", row.wall_spread),
        **spread("cpu", row.cpu_spread),
        "speedup": row.speedup,
        **spread("paired_speedup", row.paired),
        **{metric: row.error(metric) for metric in METRICS},
        "not_finite": row.not_finite,
        **{f"{stage}_ms": events.get(stage) for stage in STAGES},
        **{f"{stage}_share": shares.get(stage) for stage in STAGES},
        "computed_by": row.engine_note,
        "failed": row.failed,
    }
