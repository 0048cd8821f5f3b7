"""The nested search: architectures outside, the hyper-parameters of each inside."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Protocol

from hpacml.errors import ConfigError, summary
from hpacml.searching.domain import Domain, Point
from hpacml.searching.frontier import Inner, Outer, idle
from hpacml.searching.jobs import Evaluate, attempt, is_full
from hpacml.searching.journal import Journal, SearchError
from hpacml.searching.plan import Plan
from hpacml.searching.proposals import Proposal, Proposer, Tried

_HOPELESS = 3
"""Trials after which an architecture is given up if all of them have failed."""

_LOST = 5
"""Workers in a row that ended within a trial, after which no more are asked."""

Measure = Callable[[str], dict[str, Any]]


class Workers(Protocol):
    """What runs functions of modules elsewhere."""

    def submit(self, task: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...


class Nested:
    """A search whose state is its journal: made anew of it, it goes on as if it had not stopped.

    Rounds of architectures are proposed; their networks are trained at the same time, as many as there are workers;
    then nothing runs but the measurement of one network after the other. `data` tells the rows of one database from
    those of another; `architecture` and `hyperparameters` are values to begin with. Raises ConfigError if the journal
    is that of another search.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        folder: Path,
        parallel: int,
        data: str,
        architecture: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
    ) -> None:
        self.plan, self.folder, self.parallel = plan, folder, parallel
        self.trials: list[Outer] = []
        self._journal = journal
        self._domain = Domain(plan.architecture, plan.constraints)
        self._settings = Domain(plan.hyperparameters)
        objectives = {"error": plan.objectives.error.threshold, "time": plan.objectives.time.threshold}
        self._outer = Proposer(self._domain, objectives, plan.seed, max(5, 2 * len(self._domain.free)), architecture)
        self._inner = Proposer(
            self._settings,
            {"error": None},
            plan.seed,
            min(5, 1 + plan.trials.inner // 2),
            hyperparameters,
            beside=True,
        )
        self._lost = 0
        self._before = 0.0
        self._began = time.monotonic()
        if not journal.records:
            self._note("plan", plan=plan.identity(), data=data)
        self._replay(data)

    def _replay(self, data: str) -> None:
        first, *others = self._journal.records
        if first["plan"] != self.plan.identity():
            raise ConfigError(
                f"'{self.folder}' has a search of other settings: use another folder (out), or the settings that it "
                "began with"
            )
        if first["data"] != data:
            raise ConfigError(
                f"'{self.folder}' has a search with other data than the database has now, and errors of both do not "
                "compare: use another folder (out), or the data that it began with"
            )
        for record in others:
            self._add(record)
        self._before = self._journal.records[-1]["elapsed"]

    def _add(self, record: dict[str, Any]) -> None:
        match record["kind"]:
            case "round":
                for each in record["trials"]:
                    self.trials.append(Outer(len(self.trials), each["architecture"], each["source"]))
            case "trained":
                inner = self.trials[int(record["trial"])].inner
                inner.append(Inner(len(inner), record["hyperparameters"], record["source"], record["result"]))
            case _:
                self.trials[int(record["trial"])].timed = record["result"]

    def _note(self, kind: str, **record: Any) -> None:
        """Write a record, and then do what it says."""
        self._journal.append(kind=kind, elapsed=self.elapsed, **record)
        if kind != "plan":
            self._add(self._journal.records[-1])

    @property
    def elapsed(self) -> float:
        """The seconds that this search has taken, all its runs together."""
        return self._before + time.monotonic() - self._began

    def values(self, trial: Outer) -> dict[str, Any]:
        """All parameters of an architecture."""
        return self._domain.values(trial.architecture)

    @property
    def _ended(self) -> str | None:
        """Why there is no other round, if there is none."""
        patience, count = self.plan.trials.patience, len(self.trials)
        if self._is_late:
            return f"the time limit of {self.plan.time_limit:g} s is reached"
        if count >= self.plan.trials.outer:
            return f"all {count} trials are done"
        if patience is not None and (without := idle(self.trials)) >= patience:
            return f"the last {without} trials have not changed the front"
        return None

    @property
    def _is_late(self) -> bool:
        return self.plan.time_limit is not None and self.elapsed >= self.plan.time_limit

    def run(self, workers: Workers, evaluate: Evaluate, measure: Measure, show: Callable[[], None]) -> str:
        """Search until there is a reason to end, and give it. Raises SearchError where it cannot go on."""
        begun = [trial for trial in self.trials if trial.timed is None]
        while True:
            self._train(begun, workers, evaluate, show)
            for trial in begun:
                if trial.inner:  # else there was no time for it
                    self._measure(trial, workers, measure)
                    show()
            if (reason := self._ended) is not None:
                return reason
            if not (begun := self._next_round()):
                return f"all {len(self.trials)} architectures of the space are tried"

    def _next_round(self) -> list[Outer]:
        count = min(self.parallel, self.plan.trials.outer - len(self.trials))
        proposals = self._outer.propose([Tried(each.architecture, each.objectives) for each in self.trials], count)
        if proposals:
            self._note("round", trials=[{"architecture": each.point, "source": each.source} for each in proposals])
        return self.trials[len(self.trials) - len(proposals) :]

    def _train(self, trials: list[Outer], workers: Workers, evaluate: Evaluate, show: Callable[[], None]) -> None:
        """Train networks of all these architectures; those of one come one after the other."""
        running: dict[Future[Any], tuple[Outer, Proposal]] = {}
        waiting = list(trials)
        while True:
            for trial in waiting:
                if (proposal := self._next_inner(trial)) is not None:
                    place = self.folder / "trials" / f"{trial.number:04}" / f"{len(trial.inner):03}"
                    future = workers.submit(
                        attempt, evaluate, self.values(trial), self._settings.values(proposal.point), str(place)
                    )
                    running[future] = trial, proposal
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            waiting.clear()
            for future in [each for each in running if each in done]:
                trial, proposal = running.pop(future)
                self._note(
                    "trained",
                    trial=trial.number,
                    hyperparameters=proposal.point,
                    source=proposal.source,
                    result=self._result(future),
                )
                waiting.append(trial)
            show()

    def _next_inner(self, trial: Outer) -> Proposal | None:
        """What is trained next of an architecture; nothing when it had its trials, or when there is no time left."""
        tried = [
            Tried(each.hyperparameters, None if each.error is None else {"error": each.error}) for each in trial.inner
        ]
        hopeless = len(tried) >= _HOPELESS and all(each.objectives is None for each in tried)
        if len(tried) >= self.plan.trials.inner or hopeless or self._is_late:
            return None
        return next(iter(self._inner.propose(tried, before=self._best_before())), None)

    def _best_before(self) -> list[Point]:
        """The hyper-parameters that gained most for an architecture of an earlier round, beside those it began with."""
        found: list[tuple[float, Point]] = [
            (each.best.error / first, dict(each.best.hyperparameters))
            for each in self.trials
            if each.timed is not None and each.best is not None and each.best.error and (first := each.inner[0].error)
        ]
        gain, point = min(found, key=lambda each: each[0], default=(1.0, Point()))
        return [point] if gain < 1 else []

    def _result(self, future: Future[Any]) -> dict[str, Any]:
        """What a worker found, or that it failed. Raises SearchError where the fault is not the trial's."""
        error = future.exception()
        if error is None:
            self._lost = 0
            return future.result()
        if is_full(error):
            raise SearchError(f"the disk is full: {error}. Nothing is lost: make room, and start the search again")
        self._lost += 1
        if self._lost >= _LOST:
            raise SearchError(f"{self._lost} workers in a row have ended within a trial, the last by {summary(error)}")
        return {"failed": f"its worker has failed: {summary(error)}"}

    def _measure(self, trial: Outer, workers: Workers, measure: Measure) -> None:
        """Measure the best network of an architecture, while nothing else runs."""
        best = trial.best
        if best is None:
            result = {"failed": trial.inner[-1].failed}
        else:
            result = self._result(workers.submit(measure, best.result["model"]))
        self._note("measured", trial=trial.number, result=result)
