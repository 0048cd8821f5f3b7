"""The report of `hpacml.report()`: for each region its calls, the times and bytes of their stages, and its guards."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpacml.errors import HpacmlError, plain
from hpacml.runtime.reports import counters, guarded
from hpacml.runtime.reports.guarded import Guarded

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

FORMAT = 1

EVENTS = {
    "gather": "To Tensor",
    "prepare": "Wrap output Memory",
    "guard": "Guard",
    "model": "Inference",
    "cast": "Input Cast",
    "forward": "Forward Pass",
    "cast_back": "Output Cast",
    "scatter": "From Tensor",
    "replay": "Graph Replay",
    "body": "Body",
    "check": "Check",
    "outputs": "Output To Tensor",
    "enqueue": "Enqueue",
}
"""The names of the events that stages of a region are: HPAC-ML's names, where it has such an event."""

_PARTS = tuple(EVENTS[part] for part in ("cast", "forward", "cast_back"))
"""The names of the events that are parts of `Inference`."""

WHOLE = {path: f"Region ({path})" for path in ("infer", "collect", "body")}
"""The names of the events that are whole calls, by the path through the region."""


@dataclass(frozen=True, slots=True)
class Event:
    """How often a stage ran, and the milliseconds that it took and the bytes that it copied in total."""

    count: int = 0
    total_ms: float = 0.0
    bytes: int = 0

    @property
    def mean_ms(self) -> float:
        """The mean milliseconds of a run, 0 without any."""
        return self.total_ms / self.count if self.count else 0.0

    def __add__(self, other: Event) -> Event:
        return Event(self.count + other.count, self.total_ms + other.total_ms, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class RegionReport:
    """The measured calls of one region.

    `calls` counts them by mode: "infer", "collect", or "body" where `if` excluded both. A call that raises does not
    count. `fallbacks` counts the calls of "infer" in which the original code had to stand in, and `engines` what
    computed the network: "compiled", or "Torch" with the reason, where the engine was chosen. Of the `events`,
    `Forward Pass` is the part of `Inference` that the network takes, `Input Cast` and `Output Cast` those that convert
    tensors to its dtypes and back; `Region (infer)` and its like are whole calls. `guards` is what guards, checks,
    bounds and projections have done, also in calls that were not measured, and None for a region without.
    """

    calls: dict[str, int]
    fallbacks: int
    events: dict[str, Event]
    engines: dict[str, int] = field(default_factory=lambda: dict[str, int]())
    guards: Guarded | None = None

    @property
    def replayed(self) -> int:
        """The calls of "infer" that replayed a CUDA graph, which has gather, model and scatter in one."""
        return self.events["Graph Replay"].count if "Graph Replay" in self.events else 0

    @property
    def gathered(self) -> int:
        """The bytes of tensors that were filled from memory. Maps of packed memory copy nothing."""
        return sum(self.events[name].bytes for name in ("To Tensor", "Output To Tensor") if name in self.events)

    @property
    def scattered(self) -> int:
        """The bytes of tensors that were written to memory. Maps of packed memory copy nothing."""
        return self.events["From Tensor"].bytes if "From Tensor" in self.events else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        from hpacml.runtime.reports import guard_report

        return {
            "calls": self.calls,
            "fallbacks": self.fallbacks,
            "replayed": self.replayed,
            "engines": self.engines,
            "bytes": {"gathered": self.gathered, "scattered": self.scattered},
            "events": {name: {**asdict(event), "mean_ms": event.mean_ms} for name, event in self.events.items()},
            **({} if self.guards is None else {"guards": guard_report.as_dict(self.guards)}),
        }

    @property
    def is_measured(self) -> bool:
        """Whether calls were measured, and not only guards counted."""
        return any(self.calls.values()) or bool(self.events)


class Report(Mapping[str, RegionReport]):
    """The measurements of each region, by its label. Printed, it is a table."""

    def __init__(self, regions: Mapping[str, RegionReport]):
        self._regions = dict(regions)

    def __getitem__(self, label: str) -> RegionReport:
        return self._regions[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._regions)

    def __len__(self) -> int:
        return len(self._regions)

    def as_dict(self) -> dict[str, Any]:
        """The report, and the process that measured it, as JSON values."""
        from hpacml.runtime.databases.runs import this_run

        run = asdict(this_run())
        kept = ("command", "host", "user", "process", "rank", "hpacml", "torch", "python")
        return {
            "format": FORMAT,
            **{name: run[name] for name in kept},
            "regions": {label: region.as_dict() for label, region in self.items()},
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file as JSON. Raises HpacmlError where that is not possible."""
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.to_json())
        except OSError as error:
            raise HpacmlError(
                f"cannot write the report to '{os.fspath(path)}' ({error.strerror}): name another file"
            ) from error

    def to_json(self) -> str:
        """The text that `save` writes."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        from hpacml.runtime.reports import guard_report

        measured = {label: region for label, region in self.items() if region.is_measured}
        guards = {label: region.guards for label, region in self.items() if region.guards is not None}
        tables = [*([_table(measured)] if measured else []), *([guard_report.table(guards)] if guards else [])]
        return Group(*tables) if tables else NOTHING

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=120, color_system=None).print(self)
        return text.getvalue().rstrip("\n")

    __repr__ = __str__


NOTHING = "no calls were measured: turn that on with hpacml.timing(True), or HPACML_REPORT=FILE"


def _table(regions: Mapping[str, RegionReport]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("region", "event")
    for column in ("count", "total ms", "mean µs", "%", "MB copied"):
        table.add_column(column, justify="right")
    for label, region in regions.items():
        fallbacks = f"{region.fallbacks} fallback{'s' * (region.fallbacks > 1)}" if region.fallbacks else ""
        engines = (f"{count} {engine}" for engine, count in region.engines.items())
        about = iter([plain(label, line=True), *filter(None, [fallbacks]), *engines])
        whole = sum(event.total_ms for name, event in region.events.items() if name in WHOLE.values())
        for name, event in region.events.items():
            table.add_row(
                Text(next(about, "")),
                f"  {name}" if name in _PARTS else name,
                str(event.count),
                f"{event.total_ms:.3f}",
                f"{event.mean_ms * 1e3:.2f}",
                f"{100 * event.total_ms / whole:.1f}" if whole else "",
                f"{event.bytes / 1e6:.3f}" if event.bytes else "",
            )
        table.add_section()
    return table


def report(reset: bool = False) -> Report:
    """The report of what `hpacml.timing(True)` or HPACML_REPORT have measured so far, in all threads of this process.

    What guards, checks, bounds and projections of regions have done is in it, whether calls are measured or not.
    Print it for a table; `report["heat"].calls["infer"]` and `report["heat"].events["To Tensor"].mean_ms` are numbers,
    and `.save(FILE)` writes JSON. With `reset` the next report begins here.
    """
    counts, parts = counters.read(reset)
    engines, guards, failed = counters.engines(reset), guarded.read(reset), counters.fallbacks(reset)
    regions: dict[str, RegionReport] = {}
    for label in sorted({each.label for each in counts} | guards.keys()):
        of_label = [each for each in counts if each.label == label]
        found = _region(of_label, parts.get(label, {}), engines.get(label, {}))
        fallbacks = min(found.fallbacks, failed.get(label, 0))  # no point may have passed, without a failure
        regions[label] = replace(found, guards=guards.get(label), fallbacks=fallbacks)
    return Report(regions)


def _region(counts: list[counters.Counts], parts: Mapping[str, counters.Sums], engines: dict[str, int]) -> RegionReport:
    calls = dict.fromkeys(WHOLE, 0)
    events = dict.fromkeys((*EVENTS.values(), *WHOLE.values()), Event())
    for part, (runs, nanoseconds, bytes) in parts.items():
        events[EVENTS[part]] = Event(runs, nanoseconds / 1e6, bytes)
    for each in counts:
        calls[each.path_taken] += each.calls
        for stage, nanoseconds, bytes in zip(each.stages, each.nanoseconds, each.bytes, strict=True):
            events[EVENTS[stage]] += Event(each.calls, nanoseconds / 1e6, bytes)
        events[WHOLE[each.path_taken]] += Event(each.calls, sum(each.nanoseconds) / 1e6, sum(each.bytes))
    fallbacks = sum(each.calls for each in counts if each.path_taken == "infer" and each.stages[-1] == "body")
    return RegionReport(calls, fallbacks, {name: each for name, each in events.items() if each.count}, engines)
