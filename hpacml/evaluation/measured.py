"""What was measured of a program, its models and baselines: a row for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpacml.evaluation.clocks import Spread
from hpacml.evaluation.contestants import Kind
from hpacml.training.scores import Metric, Result


@dataclass(frozen=True)
class Row:
    """One of those that took turns.

    `wall` and `cpu` are the seconds of all counted trials. `speedup` is the mean time of the accurate program by the
    mean of this one, as the HPAC-ML paper has it, and `paired` the median and quartiles of the ratios in each trial.
    `errors` are None for the accurate program where it is the truth. `events` are mean milliseconds in a run, by the
    names of `hpacml.evaluation.breakdown.STAGES`, and `shares` of the run. `engine_note` is what computed the models of
    its regions, and `failed` the error by which it failed, which leaves all else empty.
    """

    name: str
    kind: Kind
    engine: str = ""
    wall: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    speedup: float | None = None
    paired: Spread | None = None
    errors: Result | None = None
    not_finite: int = 0
    events: Mapping[str, float] | None = None
    shares: Mapping[str, float] | None = None
    engine_note: str = ""
    failed: str | None = None

    @property
    def title(self) -> str:
        """Its name, and the engine."""
        return f"{self.name} ({self.engine})" if self.engine else self.name

    @property
    def mean(self) -> float | None:
        """The mean seconds of the clock."""
        return sum(self.wall) / len(self.wall) if self.wall else None

    @property
    def wall_spread(self) -> Spread | None:
        """The median and quartiles of the seconds of the clock."""
        return Spread.of(self.wall) if self.wall else None

    @property
    def cpu_spread(self) -> Spread | None:
        """The median and quartiles of the seconds on cores."""
        return Spread.of(self.cpu) if self.cpu else None

    def error(self, metric: Metric) -> float | None:
        """One of the errors."""
        return None if self.errors is None else self.errors[metric]


@dataclass(frozen=True)
class Measured:
    """The rows, in the order in which they were given, the accurate program first, and what there is to say of them.

    `truth` is "accurate" where rows are scored against the accurate result, else "given"; `run` says on what machine,
    and with which versions, it was measured.
    """

    rows: tuple[Row, ...]
    metric: Metric
    truth: str
    trials: int
    dropped: int
    threads: int
    notes: tuple[str, ...]
    run: Mapping[str, Any]

    def __getitem__(self, name: str | tuple[str, str]) -> Row:
        """The row of this name, or of a name and an engine."""
        wanted = name if isinstance(name, tuple) else (name, None)
        found = [row for row in self.rows if row.name == wanted[0] and wanted[1] in (None, row.engine)]
        if not found:
            raise KeyError(name)
        return found[0]

    @property
    def accurate(self) -> Row:
        """The row of the accurate program."""
        return self.rows[0]
