"""What is reported of guards, checks, bounds and projections: as JSON values, and as a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hpacml.errors import plain
from hpacml.runtime.reports.guarded import Check, Checks, Guarded

if TYPE_CHECKING:
    from rich.table import Table

WHY = {
    "range": "out of the model's range",
    "distance": "far from what it was trained on",
    "where": "excluded by the program",
    "below": "the model is uncertain",
    "failure": "the model failed",
    "check": "beyond the tolerance in a check",
}
"""What the reasons mean for which the original code makes points."""


def as_dict(region: Guarded) -> dict[str, Any]:
    """The counts as JSON values, of which errors that are not finite are null."""
    return {
        "calls": region.calls,
        "points": {
            "model": region.points - region.rejected,
            "original": region.rejected,
            "reasons": {reason: region.reasons[reason] for reason in WHY if region.reasons[reason]},
        },
        "whole_calls": region.whole_calls,
        "open_calls": region.open_calls,
        "collected": region.collected,
        "clipped": dict(region.clipped),
        "projected": region.projected,
        "checks": _checks(region.checks),
    }


def _checks(checks: Checks) -> dict[str, Any]:
    return {
        "metric": checks.metric,
        "tolerance": checks.tolerance,
        "count": checks.count,
        "opened": checks.opened,
        "closed": checks.closed,
        "largest": _errors(checks.largest),
        "each": checks.each,
        "history": [
            {"call": check.call, "errors": _errors(check.errors), "open": check.is_open, "event": check.event}
            for check in checks.history
        ],
    }


def _errors(errors: Mapping[str, float]) -> dict[str, float | None]:
    return {output: error if math.isfinite(error) else None for output, error in errors.items()}


def parse(record: Mapping[str, Any]) -> Guarded:
    """The counts that `as_dict` has made JSON values of. Raises KeyError, TypeError or ValueError for others."""
    points, checks = record["points"], record["checks"]
    model, original = int(points["model"]), int(points["original"])
    history = [
        Check(int(each["call"]), _parsed(each["errors"]), bool(each["open"]), each["event"])
        for each in checks["history"]
    ]
    return Guarded(
        calls=int(record["calls"]),
        points=model + original,
        rejected=original,
        reasons=Counter({str(reason): int(count) for reason, count in points["reasons"].items()}),
        whole_calls=int(record["whole_calls"]),
        open_calls=int(record["open_calls"]),
        collected=int(record.get("collected", 0)),
        clipped=Counter({str(output): int(count) for output, count in record["clipped"].items()}),
        projected=int(record["projected"]),
        checks=Checks(
            metric=str(checks["metric"]),
            tolerance=float(checks["tolerance"]),
            count=int(checks["count"]),
            opened=int(checks["opened"]),
            closed=int(checks["closed"]),
            largest=_parsed(checks["largest"]),
            last=history[-1] if history else None,
            history=history,
            each=int(checks["each"]),
        ),
    )


def _parsed(errors: Mapping[str, Any]) -> dict[str, float]:
    return {str(output): math.inf if error is None else float(error) for output, error in errors.items()}


def table(regions: Mapping[str, Guarded]) -> Table:
    """A table of what is not 0."""
    from rich.table import Table
    from rich.text import Text

    made = Table("region", "guards", "")
    for column in ("count", "%"):
        made.add_column(column, justify="right")
    for label, region in regions.items():
        name = iter([plain(label, line=True)])
        for what, about, count, share in _rows(region):
            made.add_row(Text(next(name, "")), Text(what), Text(plain(about, line=True)), count, share)
        made.add_section()
    return made


def _rows(region: Guarded) -> Iterator[tuple[str, str, str, str]]:
    """What was counted, something about it, how often, and the share of points."""

    def points(what: str, about: str, count: int) -> tuple[str, str, str, str]:
        return what, about, str(count), f"{100 * count / region.points:.2f}" if region.points else ""

    if region.points:
        yield points("points by the model", "", region.points - region.rejected)
        yield points("points by the original", "", region.rejected)
    for reason, why in WHY.items():
        if region.reasons[reason]:
            yield points(f"  {reason}", why, region.reasons[reason])
    if region.collected:
        yield points("points collected", "", region.collected)
    counts = {
        ("calls by the original", "no point passed"): region.whole_calls,
        ("calls by the original", "the breaker was open"): region.open_calls,
        **{("clipped numbers", output): count for output, count in region.clipped.items()},
        ("projected calls", ""): region.projected,
    }
    yield from ((what, about, str(count), "") for (what, about), count in counts.items() if count)
    checks = region.checks
    if checks.count:
        allowed = f"{checks.metric} up to {checks.tolerance:.4g}"
        yield "checks", allowed, str(checks.count), ""
        yield from (("  largest error", name, f"{error:.4g}", "") for name, error in checks.largest.items())
        yield "  beyond tolerance", "", str(checks.opened), ""
        yield "  within it again", "", str(checks.closed), ""
