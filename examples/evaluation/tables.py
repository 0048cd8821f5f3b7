"""The tables: rows of cells by columns, for CSV and Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .measured import Measured, Row, numbers
from .paper import NUMBERS, Point

Cells = dict[str, Any]


def summary(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """The fastest and the most accurate model of each application, the most accurate baseline, and the paper's models.

    The last row has geometric means of speed-ups.
    """
    found = [_summary(name, measured) for name, measured in all_measured.items()]
    columns = ("fastest: speed-up", "paper, fastest: speed-up")
    means = {column: _geometric_mean([row[column] for row in found]) for column in columns}
    return [*found, {"application": "geometric mean", **means}]


def _summary(name: str, measured: Measured) -> Cells:
    fastest = max(measured.models, key=lambda row: row.speedup, default=None)
    best = _most_accurate(measured.models)
    baseline = _most_accurate(measured.baselines)
    paper = NUMBERS.get(name)
    points = sorted(paper.points, key=lambda point: point.error) if paper else []
    return {
        "application": measured.title,
        "error by": measured.unit,
        **_cells("fastest", fastest),
        **_cells("most accurate", best),
        "baseline": baseline and baseline.name,
        **_cells("baseline", baseline),
        "paper, fastest: speed-up": paper and paper.best_speedup,
        **_cells("paper, most accurate", points[0] if points else None),
    }


def _cells(what: str, row: Row | Point | None) -> Cells:
    return {
        f"{what}: {name}": row and getattr(row, field) for name, field in (("speed-up", "speedup"), ("error", "error"))
    }


def _most_accurate(rows: Sequence[Row]) -> Row | None:
    """The fastest of those with the least error: engines differ in the last bits."""
    least = min((row.error for row in rows), default=0.0)
    return max((row for row in rows if row.error <= 1.01 * least), key=lambda row: row.speedup, default=None)


def _geometric_mean(values: Sequence[float | None]) -> float | None:
    """That of all values; None if one is not there."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values and numbers(*values) else None


def table2(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """Lines of code and of directives."""
    return [
        {
            "application": measured.title,
            "lines": measured.lines.code,
            "directive lines": measured.lines.directive_lines,
            "directives": measured.lines.directives,
            "directive lines, %": 100 * measured.lines.directive_lines / measured.lines.code,
            **_paper(name, lines="lines", **{"directive lines": "directive_lines", "directives": "directives"}),
        }
        for name, measured in all_measured.items()
    ]


def table3(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """What collection costs: of one run, seconds without and with it, and the file."""
    return [
        {
            "application": measured.title,
            "ms": 1e3 * measured.collection["seconds"],
            "ms collecting": 1e3 * measured.collection["seconds_collecting"],
            "overhead": measured.collection["overhead"],
            "MB": measured.collection["bytes"] / 1e6,
            **_paper_collection(name),
        }
        for name, measured in all_measured.items()
        if measured.collection
    ]


def originals(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """The accurate paths beside the same programs in C, strict and with fastmath."""
    return [
        {
            "application": measured.title,
            "way": way,
            "ms": _milliseconds(told.get("seconds")),
            "ms in C": _milliseconds(told.get("seconds_c")),
            "ours / C": told.get("ratio"),
            "what": measured.original["what"] if "ratio" in told else told.get("skipped"),
        }
        for measured in all_measured.values()
        for way, told in measured.original.items()
        if way != "what"
    ]


def runs(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """All ways to run each application: the accurate one, models by both engines, baselines."""
    return [_run(measured, row) for measured in all_measured.values() for row in measured.rows]


def _run(measured: Measured, row: Row) -> Cells:
    """`over C` is the speed-up if the accurate path were the strict one in C, which there is for the CPU."""
    slower = measured.original.get("strict", {}).get("ratio") if measured.device == "cpu" else None
    return {
        "application": measured.title,
        "way": row.name,
        "kind": row.kind,
        "engine": row.engine,
        "parameters": row.parameters,
        "ms": _milliseconds(row.seconds),
        "speed-up": row.speedup,
        "in the median trial": row.paired,
        "ours / C": slower,
        "over C": row.speedup / slower if numbers(row.speedup, slower) else None,
        measured.metric: row.error,
        "remark": row.failed or row.note,
    }


def shares(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """Where the time of each model's region goes."""
    return [
        {
            "application": measured.title,
            "model": row.name,
            "engine": row.engine,
            **{f"{stage}, ms": 1e3 * seconds for stage, seconds in row.stages.items()},
            **{f"{part}, %": 100 * share for part, share in (row.shares or {}).items()},
        }
        for measured in all_measured.values()
        for row in measured.models
    ]


def trainings(all_measured: Mapping[str, Measured]) -> list[Cells]:
    """How long the training of each network took, and its error on rows of the database that it has not seen."""
    return [
        {
            "application": measured.title,
            "network": name,
            "seconds": told.get("seconds"),
            "epochs": told.get("epochs"),
            **_tested(told.get("test", {}), measured.metric),
        }
        for measured in all_measured.values()
        for name, told in measured.trained.items()
    ]


def _tested(test: Mapping[str, Mapping[str, Any]], metric: str) -> Cells:
    """The network's error, and that of the best predictor that needs none."""
    percent = 100 if metric == "mape" else 1
    errors = {name: percent * each[metric] for name, each in test.items() if numbers(each.get(metric))}
    network = errors.pop("network", None)
    best = min(errors, key=errors.__getitem__, default=None)
    return {f"test {metric}": network, "best without": best, f"its {metric}": errors.get(best)}


def _paper(name: str, **columns: str) -> Cells:
    numbers_of = NUMBERS.get(name)
    return {f"paper: {column}": getattr(numbers_of, field, None) for column, field in columns.items()}


def _paper_collection(name: str) -> Cells:
    if (told := NUMBERS.get(name)) is None:
        return {}
    return {
        "paper: ms": 1e3 * told.seconds,
        "paper: ms collecting": 1e3 * told.seconds_collecting,
        "paper: overhead": told.seconds_collecting / told.seconds,
        "paper: MB": told.megabytes,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown, with numbers on the right."""
    if not rows:
        return ""
    heads = list(dict.fromkeys(name for row in rows for name in row))
    right = {head for head in heads if any(isinstance(row.get(head), int | float) for row in rows)}
    lines = [heads, ["--:" if head in right else "---" for head in heads]]
    lines += [[_text(row.get(head)) for head in heads] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return str(value).replace("|", "\\|").replace("\n", " ")
