"""Reports that were saved as JSON, read again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from hpacml.errors import HpacmlError, plain, summary
from hpacml.runtime.reports import guard_report
from hpacml.runtime.reports.report import EVENTS, FORMAT, WHOLE, Event, RegionReport, Report


def load(path: str | os.PathLike[str]) -> tuple[Report, str]:
    """The report in a file, and the command of the process that measured it. Raises HpacmlError for other files."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise HpacmlError(
            f"cannot read the report '{os.fspath(path)}' ({error.strerror}): name another file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _no_report(path, summary(error)) from error
    try:
        if found["format"] != FORMAT:
            raise _no_report(path, f"it is of format {found['format']!r}, and this hpacml reads {FORMAT}")
        regions = {str(label): _region(region) for label, region in found["regions"].items()}
        return Report(regions), str(found["command"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _no_report(path, summary(error)) from error


def _region(record: Mapping[str, Any]) -> RegionReport:
    names = {*EVENTS.values(), *WHOLE.values()}
    events = {
        name: Event(int(event["count"]), float(event["total_ms"]), int(event["bytes"]))
        for name, event in record["events"].items()
        if name in names
    }
    return RegionReport(
        {path: int(record["calls"][path]) for path in WHOLE},
        int(record["fallbacks"]),
        events,
        {plain(str(engine), line=True): int(count) for engine, count in record["engines"].items()},
        guard_report.parse(record["guards"]) if "guards" in record else None,
    )


def _no_report(path: str | os.PathLike[str], reason: str) -> HpacmlError:
    return HpacmlError(
        f"'{os.fspath(path)}' is no report ({reason}): name a file that HPACML_REPORT or hpacml.report().save() made"
    )
