"""Which calls of a region are collected: the counting behind `hpacml_sample`.

Calls are counted for a label, a database and a clause, by all call sites that have these, in all threads, and from 0 in
each process. The random numbers come from the seed and from what tells this process from its siblings, the same in each
run of a program: its rank, its name under multiprocessing, and which of its ancestors' forks it comes of. So siblings
that have the same data do not pick the same calls.
"""

from __future__ import annotations

import os
import sys
import threading
from random import Random

from hpacml import environment
from hpacml.abi.records import SampleSite
from hpacml.clauses import Sampling
from hpacml.runtime import frame
from hpacml.runtime.databases.ranks import rank
from hpacml.runtime.sites import find


class Samples:
    """The calls of one call site."""

    def __init__(self, site: SampleSite) -> None:
        self._site = site
        self._counts: dict[str | None, Count] = {}

    def take(self) -> bool:
        """Count a call, and tell whether it is one to collect."""
        given = find(self._site.database, environment.HPAC_DB_FILE)
        # Without a path, the collection says so.
        path = frame.paths().real(given) if frame.is_path(given) else None
        if (count := self._counts.get(path)) is None:
            key = self._site.label, path, self._site.sample
            count = self._counts[path] = _counts.setdefault(key, Count(self._site.sample))
        return count.take()


class Count:
    """The number of calls so far that count together."""

    def __init__(self, sampling: Sampling) -> None:
        self._every = sampling.every or 1
        self._fraction = sampling.fraction
        self._seed = sampling.seed or 0
        self._most = sampling.most
        self.restart()

    def restart(self) -> None:
        """Begin at 0, in this process."""
        self._lock = threading.RLock()  # a finalizer may collect here
        self._calls = 0
        self._taken = 0
        self._random = None if self._fraction is None else Random(f"{self._seed} {_process()}").random

    def take(self) -> bool:
        """Count a call, and tell whether it is one to collect."""
        with self._lock:
            number = self._calls
            self._calls += 1
            if self._taken == self._most or number % self._every:
                return False
            if self._random is not None and self._random() >= (self._fraction or 1):
                return False
            self._taken += 1
            return True


_counts: dict[tuple[str, str | None, Sampling], Count] = {}
_forks = [0]
"""How often each of this process's ancestors had forked when it was made, and how often this one has."""


def _process() -> str:
    processes = sys.modules.get("multiprocessing.process")
    child = processes is not None and processes.parent_process() is not None
    own = rank()
    return f"{own and own.name} {processes.current_process().name if processes and child else None} {_forks[:-1]}"


def _before_fork() -> None:
    _forks[-1] += 1


def _in_child() -> None:
    _forks.append(0)
    for count in _counts.values():
        count.restart()


os.register_at_fork(before=_before_fork, after_in_child=_in_child)
