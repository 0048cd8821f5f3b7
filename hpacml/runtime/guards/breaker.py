"""The circuit breaker of a region: which inferences are checked, and whether the original code runs from there on."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from hpacml.clauses import Verification
from hpacml.locks import Order, lock
from hpacml.runtime.reports.guarded import Event

FAR = 5
"""One check with an error of more than so many times the tolerance opens a breaker; a smaller one, two in a row."""

CLOSING = 3
"""So many checks in a row within the tolerance close a breaker; fewer where its window is smaller."""


class Verdict(NamedTuple):
    """What a check of inference number `call` has come to.

    `error` is the largest of an output, of the name `output`, and `mean` that output's of the window. `event`: what the
    check has changed; `is_beyond`: whether the model counts as beyond its tolerance from here on.
    """

    call: int
    output: str
    error: float
    mean: float
    event: Event | None
    is_beyond: bool


class Breaker:
    """The state of the checks of a region. Threads share it; a forked process counts its calls from 0."""

    def __init__(self, settings: Verification) -> None:
        self._settings = settings
        self._calls = 0
        self._due: dict[int, int] = {}
        """The numbers of the inferences that threads are checking, by the threads' identifiers."""
        self._window: deque[Mapping[str, float]] = deque(maxlen=settings.window)
        self._within = 0
        """How many checks in a row were within the tolerance, and how many beyond."""
        self._beyond = 0
        self._tripped = False

    @property
    def is_open(self) -> bool:
        """Whether the original code is to run."""
        return self._tripped and self._settings.then == "accurate"

    @property
    def closing(self) -> int:
        """How many checks in a row within the tolerance close it."""
        return min(CLOSING, self._settings.window)

    def is_due(self) -> bool:
        """Count an inference, and tell whether it is to be checked: the first one, and each `every`-th from there."""
        with _lock:
            number = self._calls
            self._calls += 1
            if number % self._settings.every:
                return False
            self._due[threading.get_ident()] = number
            return True

    def judge(self, errors: Mapping[str, float]) -> Verdict:
        """Take the errors of a check, one or more, by output."""
        with _lock:
            call = self._due.pop(threading.get_ident(), self._calls)
            output = max(errors, key=errors.__getitem__)
            is_within = errors[output] <= self._settings.tolerance
            self._within = self._within + 1 if is_within else 0
            self._beyond = 0 if is_within else self._beyond + 1
            self._window.append(errors)
            mean = self._mean(output)
            return Verdict(call, output, errors[output], mean, self._change(errors), self._tripped)

    def _change(self, errors: Mapping[str, float]) -> Event | None:
        """Trip, or recover, where it is time to."""
        if not self._tripped and self._is_too_much(max(errors.values())):
            self._tripped = self._settings.then != "raise"
            if not self._tripped:  # who goes on after the error begins anew
                self._window.clear()
                self._beyond = 0
            return "opened"
        if self._tripped and self._within >= self.closing:
            self._tripped = False
            while len(self._window) > self.closing:
                self._window.popleft()
            return "closed"
        return None

    def _is_too_much(self, worst: float) -> bool:
        tolerance = self._settings.tolerance
        if worst > FAR * tolerance or self._beyond > 1:
            return True
        return any(self._mean(output) > tolerance for output in {name for each in self._window for name in each})

    def _mean(self, output: str) -> float:
        errors = [each[output] for each in self._window if output in each]
        return sum(errors) / len(errors)

    def restart(self) -> None:
        """Count inferences from 0, in a new process. What the model has come to holds there, too."""
        self._calls = 0
        self._due.clear()


_lock = lock(Order.COUNTING)
_breakers: dict[tuple[str, tuple[str, ...], Verification], Breaker] = {}


def breaker(label: str, maps: tuple[str, ...], settings: Verification) -> Breaker:
    """The breaker of all call sites with this label, these maps and settings: code for each layout of arrays is one."""
    key = label, maps, settings
    with _lock:
        found = _breakers.get(key)
        if found is None:
            found = _breakers[key] = Breaker(settings)
        return found


def _in_child() -> None:
    for each in _breakers.values():
        each.restart()


os.register_at_fork(after_in_child=_in_child)
