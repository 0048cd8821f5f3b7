"""What was measured of one application, as figures and tables need it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .lines import Lines
from .paper import NUMBERS, Paper

ENGINES = ("torch", "compiled")

STAGES = ("gather", "casts", "model", "scatter")
"""What a region does by a model, by the names that `hpacml.evaluate` has: casts are conversions of dtypes."""


@dataclass(frozen=True)
class Row:
    """One way to run an application: the accurate one, a model by an engine, or a baseline.

    `seconds` are the mean of its runs, `speedup` is that over the accurate one, `paired` the speed-up in the median
    trial, which differs where something else has disturbed single ones, and `error` the one of its quality by
    the metric of the application. Of a model, `stages` are seconds of each run, by the names in `STAGES`.
    """

    name: str
    kind: Literal["accurate", "model", "baseline"]
    seconds: float | None = None
    speedup: float | None = None
    error: float | None = None
    engine: str | None = None
    note: str | None = None
    """Why the engine is not the one that was asked for."""
    failed: str | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None
    paired: float | None = None

    @property
    def known(self) -> bool:
        """Whether it ran, and has a speed and an error that are numbers."""
        return self.failed is None and numbers(self.speedup, self.error)

    @property
    def shares(self) -> dict[str, float] | None:
        """The parts of the stages in the time of all of them."""
        if not numbers(whole := sum(self.stages.values())) or not whole:
            return None
        return {name: seconds / whole for name, seconds in self.stages.items()}


def numbers(*values: float | None) -> bool:
    """Whether all values are finite numbers."""
    return all(value is not None and math.isfinite(value) for value in values)


@dataclass(frozen=True)
class Measured:
    """One application: its ways to run, collection, original in C, lines, trainings, and pictures of its own."""

    name: str
    title: str
    quality: str
    metric: Literal["rmse", "mape"]
    networks: Sequence[str]
    rows: Sequence[Row]
    collection: Mapping[str, Any]
    original: Mapping[str, Any]
    lines: Lines
    device: Literal["cpu", "cuda"] = "cpu"
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Where it was measured."""
    trained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    """What the paper says of it, in words."""
    verdict: Sequence[str] = ()
    """What to think of each model, beside what needs none."""
    notes: Sequence[str] = ()
    """What was not as one would think while it was measured."""
    figures: Sequence[Path] = ()
    """Files of its own pictures, and of the numbers in them."""
    has_figures: bool = False

    @property
    def paper(self) -> Paper | None:
        """The paper's numbers."""
        return NUMBERS.get(self.name)

    @property
    def unit(self) -> str:
        """How the metric is written."""
        return "MAPE, %" if self.metric == "mape" else "RMSE"

    @property
    def pictures(self) -> list[Path]:
        """Those of its own figures that a page can show."""
        return [path for path in self.figures if path.suffix == ".png"]

    @property
    def models(self) -> list[Row]:
        """Rows of models that ran."""
        return [row for row in self.rows if row.kind == "model" and row.known]

    @property
    def baselines(self) -> list[Row]:
        """Rows of baselines that ran."""
        return [row for row in self.rows if row.kind == "baseline" and row.known]

    @property
    def accurate(self) -> Row | None:
        """The row of the original code."""
        return next((row for row in self.rows if row.kind == "accurate"), None)

    @property
    def has_other_truth(self) -> bool:
        """Whether the original code has an error, since something else is the truth."""
        return self.accurate is not None and self.accurate.known and self.accurate.error > 0


def front(rows: Iterable[Row]) -> list[Row]:
    """The rows that no other one is better than in speed and error, from the fastest on.

    Errors that differ by a thousandth are the same: engines differ in the last bits.
    """
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row.speedup, row.error)):
        if not found or row.error < 0.999 * found[-1].error:
            found.append(row)
    return found
