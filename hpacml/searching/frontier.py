"""The trials of a search, and those that no other one is better than."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Inner:
    """A network that was trained with some hyper-parameters, or whose training failed."""

    number: int
    hyperparameters: Mapping[str, Any]
    source: str
    result: Mapping[str, Any]

    @property
    def failed(self) -> str | None:
        """The error by which it failed."""
        return self.result["failed"]

    @property
    def error(self) -> float | None:
        """Its validation error."""
        return None if self.failed is not None else self.result["error"]


@dataclass
class Outer:
    """An architecture, with its networks, the best of which is measured in the region."""

    number: int
    architecture: Mapping[str, Any]
    source: str
    inner: list[Inner] = field(default_factory=lambda: list[Inner]())
    timed: Mapping[str, Any] | None = None
    """What was measured, or `failed`; None before."""

    @property
    def best(self) -> Inner | None:
        """The network with the smallest validation error."""
        return min((each for each in self.inner if each.failed is None), key=lambda e: e.result["error"], default=None)

    @property
    def failed(self) -> str | None:
        """The error by which it failed."""
        return None if self.timed is None else self.timed["failed"]

    @property
    def objectives(self) -> dict[str, float] | None:
        """Its error and time, if it is finished and has not failed."""
        best = self.best
        if self.timed is None or self.failed is not None or best is None:
            return None
        return {"error": best.result["error"], "time": self.timed["time"]}


def front(trials: Iterable[Outer]) -> list[Outer]:
    """The trials that no other one is better than, from the fastest on; of those that are equal, the first."""
    finished = [(trial.objectives, trial) for trial in trials if trial.objectives is not None]
    ordered = sorted(finished, key=lambda pair: (pair[0]["time"], pair[0]["error"], pair[1].number))
    found: list[Outer] = []
    least = float("inf")
    for objectives, trial in ordered:
        if objectives["error"] < least:
            least = objectives["error"]
            found.append(trial)
    return found


def idle(trials: Sequence[Outer]) -> int:
    """How many of the last finished trials were not on the front when they came."""
    finished = [trial for trial in trials if trial.timed is not None]
    count = 0
    for k, trial in enumerate(finished):
        count = 0 if trial in front(finished[: k + 1]) else count + 1
    return count
