"""A picture of the checks of models: their errors over the inferences, and when the original code took over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpacml.errors import HpacmlError, plain
from hpacml.runtime.reports.guarded import Check, Checks
from hpacml.runtime.reports.report import Report
from hpacml.tools.outputs import new_file
from hpacml.tools.plot import pyplot


def plot_checks(report: Report, out: Path) -> int:
    """Draw the checks of all regions that have some to a new PNG file, and return how many regions these are.

    Raises HpacmlError if there are none, or without matplotlib.
    """
    checked = {label: region.guards.checks for label, region in report.items() if region.guards is not None}
    checked = {label: checks for label, checks in checked.items() if checks.history}
    if not checked:
        raise HpacmlError("the report has no checks to draw: give a region verify(every: 100, tolerance: 0.01)")
    plotting = pyplot()
    figure, axes = plotting.subplots(len(checked), 1, figsize=(8, 3 * len(checked)), squeeze=False)
    for axis, (label, checks) in zip(axes.flat, checked.items(), strict=True):
        _draw(axis, checks)
        axis.set_title(plain(label, line=True), parse_math=False)
    figure.tight_layout()
    with new_file(out) as part:
        figure.savefig(part, format="png", dpi=100)
    plotting.close(figure)
    return len(checked)


def _draw(axis: Any, checks: Checks) -> None:
    """Draw the errors of each output, those that are infinite above all others."""
    calls = [check.call for check in checks.history]
    errors = [error for check in checks.history for error in check.errors.values()]
    positive = [error for error in (*errors, checks.tolerance) if 0 < error < math.inf]
    top = 10 * max(positive, default=1.0)
    for output in checks.largest:
        drawn = [check.errors.get(output, math.nan) for check in checks.history]
        shown = [top if math.isinf(error) else error for error in drawn]
        (line,) = axis.plot(calls, shown, marker=".", label=f"'{plain(output, line=True)}'")
        outside = [(call, top) for call, error in zip(calls, drawn, strict=True) if math.isinf(error)]
        if outside:
            axis.plot(*zip(*outside, strict=True), "x", color=line.get_color(), label="not finite")
    axis.axhline(checks.tolerance, color="black", linestyle="--", linewidth=1, label="tolerance")
    for number, (start, stop) in enumerate(open_spans(checks.history)):
        axis.axvspan(start, stop, color="tab:red", alpha=0.15, label="original code" if number == 0 else None)
    for check in checks.history:
        if check.event is not None:
            axis.axvline(check.call, color="tab:red" if check.event == "opened" else "tab:green", linewidth=1)
    axis.set_yscale("symlog", linthresh=min(positive, default=1.0))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("inference")
    axis.set_ylabel(checks.metric)
    for text in axis.legend(fontsize="small").get_texts():
        text.set_parse_math(False)


def open_spans(history: Sequence[Check]) -> list[tuple[int, int]]:
    """The inferences from which, and up to which, the original code ran, as far as the checks tell."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for check in history:
        if check.is_open and start is None:
            start = check.call
        elif not check.is_open and start is not None:
            spans.append((start, check.call))
            start = None
    if start is not None:
        spans.append((start, history[-1].call))
    return spans
