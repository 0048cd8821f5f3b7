"""Times of calls that take turns, what they say of each other, and whether that is what was aimed at."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hpacml.evaluation import clocks

ROUNDS = 30
CLOCKS = ("wall", "cpu")
TURN = 0.001
"""A call is repeated for about so many seconds at each turn."""
LONG = 0.02
"""A call of more seconds than this finds nothing of its last turn in the caches: it has no untimed one before."""


@dataclass(frozen=True)
class Turn:
    """The seconds of one call: those of the clock, and those of all threads on cores."""

    wall: float
    cpu: float


def rounds(calls: Mapping[str, Callable], count=ROUNDS) -> dict[str, list[Turn]]:
    """One turn of each named call in each of `count` rounds.

    An untimed call before each turn brings the memory back.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    turns = {name: [] for name in calls}
    collects = gc.isenabled()
    gc.disable()
    try:
        for order in clocks.rounds(list(calls), count):
            for name in order:
                turns[name].append(_turn(calls[name], repeats[name]))
    finally:
        if collects:
            gc.enable()
    return turns


def _repeats(call):
    call()  # which compiles
    seconds, repeats = _timed(call, 1).wall, 1
    if seconds > LONG:
        return 0
    while seconds * repeats < TURN / 2:
        repeats *= 2
        seconds = _timed(call, repeats).wall
    return repeats


def _turn(call, repeats):
    if repeats:
        call()
    return _timed(call, repeats or 1)


def _timed(call, repeats):
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        call()
    wall = time.perf_counter() - wall
    return Turn(wall / repeats, (time.process_time() - cpu) / repeats)


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the quartiles around it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, numbers):
        return cls(*np.percentile(numbers, [25, 50, 75]).tolist())


@dataclass(frozen=True)
class Summary:
    """What the turns of one call say: its seconds, and round by round against those of others, by the same clock."""

    wall: Spread
    cpu: Spread
    ratios: dict[str, dict[str, Spread]]
    """By the clock and the other call."""
    beyond: dict[str, dict[str, Spread]]
    """Seconds more than another call took in the same round."""


def summary(turns: Mapping[str, Sequence[Turn]], references=()) -> dict[str, Summary]:
    """The summary of each call against the `references`, which are among them."""
    seconds = {
        name: {clock: np.array([getattr(turn, clock) for turn in each]) for clock in CLOCKS}
        for name, each in turns.items()
    }

    def against(name, relation):
        return {
            clock: {other: Spread.of(relation(seconds[name][clock], seconds[other][clock])) for other in references}
            for clock in CLOCKS
        }

    return {
        name: Summary(*map(Spread.of, each.values()), against(name, np.divide), against(name, np.subtract))
        for name, each in seconds.items()
    }


@dataclass(frozen=True)
class Aim:
    """What a comparison shall show of a way: its ratio `to` another, its seconds `beyond` another, or its seconds."""

    what: str
    way: str
    to: str | None = None
    beyond: str | None = None
    most: float | None = None
    least: float | None = None
    clock: str = "cpu"
    """Time on cores, which other programs hardly change; `wall` for what more threads shall shorten."""

    @property
    def others(self):
        return [other for other in (self.to, self.beyond) if other is not None]

    def measured(self, ways: Mapping[str, Summary]) -> Spread:
        way = ways[self.way]
        if self.to is not None:
            return way.ratios[self.clock][self.to]
        return getattr(way, self.clock) if self.beyond is None else way.beyond[self.clock][self.beyond]

    def reached(self, ways: Mapping[str, Summary]) -> bool:
        value = self.measured(ways).median
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


@dataclass(frozen=True)
class Comparison:
    """Ways to do one thing, measured together: `ours` and the `floor`, if there is one, are what others are told by."""

    what: str
    ways: dict[str, Summary]
    ours: str
    floor: str | None = None
    threads: int = 1
    aims: tuple[Aim, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    """Ways that could not be measured, and why."""


def compare(what, calls, *, ours, floor=None, count=ROUNDS, per=1, threads=1, aims=(), skipped=None) -> Comparison:
    """Measure `calls`, each of which does the thing `per` times."""
    turns = rounds(calls, count)
    each = {name: [Turn(turn.wall / per, turn.cpu / per) for turn in taken] for name, taken in turns.items()}
    aimed = [other for aim in aims for other in aim.others if other in calls]
    references = dict.fromkeys(other for other in (ours, floor, *aimed) if other is not None)
    return Comparison(what, summary(each, references), ours, floor, threads, tuple(aims), dict(skipped or {}))
