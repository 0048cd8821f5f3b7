"""Where the time of a run goes, and what computed its regions, from the difference of two reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpacml.runtime.reports.report import EVENTS, WHOLE, Event, RegionReport, Report

STAGES = ("gather", "model", "casts", "scatter", "body", "graph", "runtime", "program")
"""What a run consists of, in `Breakdown.events`.

`model` is the forward pass, `graph` what a replayed CUDA graph does in one, `runtime` what else regions take, and
`program` all outside of them.
"""


@dataclass(frozen=True)
class Breakdown:
    """The milliseconds of each stage in the run of median time, their shares of it, and what computed its regions."""

    events: dict[str, float]
    shares: dict[str, float]
    engine_note: str
    inferred: int
    """The calls of regions in all runs that inferred, of which `fallbacks` were left to the original code."""
    collected: int
    bodies: int
    fallbacks: int
    engines: frozenset[str]
    """Of "torch", "compiled"."""


def difference(after: Report, before: Report) -> list[tuple[str, RegionReport]]:
    """What was measured between two reports, by the label of the region."""
    return [(label, _minus(region, before.get(label))) for label, region in after.items()]


def _minus(region: RegionReport, before: RegionReport | None) -> RegionReport:
    if before is None or any(count < before.calls[path] for path, count in region.calls.items()):
        return region  # the program has begun the report anew

    def less(event: Event, other: Event) -> Event:
        return Event(event.count - other.count, event.total_ms - other.total_ms, event.bytes - other.bytes)

    events = {name: less(event, before.events.get(name, Event())) for name, event in region.events.items()}
    return RegionReport(
        {path: count - before.calls[path] for path, count in region.calls.items()},
        region.fallbacks - before.fallbacks,
        {name: event for name, event in events.items() if event.count},
        {engine: more for engine, n in region.engines.items() if (more := n - before.engines.get(engine, 0))},
    )


def breakdown(runs: Sequence[tuple[list[tuple[str, RegionReport]], float]]) -> Breakdown:
    """That of runs: what each region measured, and the seconds of the run."""
    typical, seconds = sorted(runs, key=lambda run: run[1])[len(runs) // 2] if runs else ([], 0.0)
    milliseconds = 1000 * seconds
    regions = [each for measured, _ in runs for each in measured]
    events: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    for _, region in typical:
        for stage, time in _stages(region).items():
            events[stage] += time
    events["program"] = max(0.0, milliseconds - sum(events.values()))
    calls = {path: sum(region.calls[path] for _, region in regions) for path in WHOLE}
    by_label = {label: [region for name, region in regions if name == label] for label, _ in regions}
    found = {label: _engines(several) for label, several in by_label.items()}
    named = {label: texts for label, texts in found.items() if texts}
    notes = [f"{label}: {', '.join(t)}" if len(named) > 1 else ", ".join(t) for label, t in named.items()]
    return Breakdown(
        events,
        {stage: time / milliseconds if milliseconds else 0.0 for stage, time in events.items()},
        "; ".join(notes),
        calls["infer"],
        calls["collect"],
        calls["body"],
        sum(region.fallbacks for _, region in regions),
        frozenset(text.split(",")[0].lower() for texts in found.values() for text in texts),
    )


def _stages(region: RegionReport) -> dict[str, float]:
    def total(*parts: str) -> float:
        return sum(region.events[EVENTS[part]].total_ms for part in parts if EVENTS[part] in region.events)

    casts, whole = (
        total("cast", "cast_back"),
        sum(region.events[name].total_ms for name in WHOLE.values() if name in region.events),
    )
    found = {
        "gather": total("gather", "outputs"),
        "model": total("forward") or max(0.0, total("model") - casts),
        "casts": casts,
        "scatter": total("scatter"),
        "body": total("body"),
        "graph": total("replay"),
    }
    return {**found, "runtime": max(0.0, whole - sum(found.values()))}


def _engines(regions: Sequence[RegionReport]) -> list[str]:
    """What computed the networks of a region; what nothing is noted of was Torch."""
    counts: dict[str, int] = {}
    for region in regions:
        for engine, count in region.engines.items():
            counts[engine] = counts.get(engine, 0) + count
    by_model = sum(region.calls["infer"] - region.fallbacks for region in regions)
    if by_model > sum(counts.values()):
        counts["Torch"] = by_model
    return list(counts)
