"""What a search shows while it runs: the Pareto front, live on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hpacml.errors import plain
from hpacml.searching.frontier import Outer, front
from hpacml.searching.nested import Nested

_MOST_ROWS = 20


class Board:
    """Shows a search on a console: a table that changes if that is a terminal, else a line for each trial."""

    def __init__(self, search: Nested, console: Console) -> None:
        self._search, self._console = search, console
        self._live: Live | None = None
        self._told = sum(trial.timed is not None for trial in search.trials)

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        """Show it meanwhile."""
        if not self._console.is_terminal:
            yield
            return
        # It is drawn when something has changed, never while a region is measured.
        with Live(self._drawn(), console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def update(self) -> None:
        """Show what is new."""
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)
            return
        finished = [trial for trial in self._search.trials if trial.timed is not None]
        for trial in finished[self._told :]:
            self._console.print(Text(plain(self._line(trial), line=True)), soft_wrap=True)
        self._told = len(finished)

    def last(self) -> None:
        """Print the front."""
        self._console.print(self._drawn())

    def _line(self, trial: Outer) -> str:
        found = trial.objectives
        what = f"failed: {trial.failed}" if found is None else f"error {found['error']:.4g}, {found['time']:.4g} ms"
        return f"trial {trial.number}: {settings(self._search.values(trial))}: {what}"

    def _drawn(self) -> Group:
        trials = self._search.trials
        finished = [trial for trial in trials if trial.timed is not None]
        trained = [each for trial in trials for each in trial.inner]
        best = front(trials)
        minutes, seconds = divmod(int(self._search.elapsed), 60)
        title = (
            f"{len(finished)} of {self._search.plan.trials.outer} architectures, {len(trained)} networks, "
            f"{sum(each.failed is not None for each in trained)} failed, {len(best)} on the front, "
            f"{minutes}:{seconds:02} minutes"
        )
        table = Table("trial", "architecture", "hyper-parameters", "error", "region, ms", "speed-up")
        for trial in best[:_MOST_ROWS]:
            table.add_row(*(Text(plain(cell, line=True)) for cell in self._row(trial)))
        if len(best) > _MOST_ROWS:
            table.caption = f"and {len(best) - _MOST_ROWS} more"
        return Group(Text(title, "bold"), table)

    def _row(self, trial: Outer) -> tuple[str, ...]:
        assert trial.timed is not None
        assert trial.best is not None
        ratio = trial.timed["speedup"]
        return (
            str(trial.number),
            settings(self._search.values(trial)),
            settings(trial.best.hyperparameters),
            f"{trial.best.error:.4g}",
            f"{trial.timed['time']:.4g}",
            "" if ratio is None else f"{ratio:.3g}",
        )


def settings(values: Mapping[str, Any]) -> str:
    """Names and values, such as `hidden1 64, hidden2 32`."""
    return ", ".join(
        f"{name} {f'{value:.3g}' if isinstance(value, float) else value}" for name, value in values.items()
    )
