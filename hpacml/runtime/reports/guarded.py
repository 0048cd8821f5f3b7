"""What the guards, checks, bounds and projections of regions have done, which is counted wherever a region has some."""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hpacml.locks import Order, lock

REASONS = {1: "range", 2: "distance", 4: "where", 8: "below"}
"""The clauses of `guard` that reject a point, by their bits in a mask. A mask is 0 where the model may be used."""

MOST_CHECKS = 1000
"""The checks of a region that are kept one by one. Of more, the worst of each 2, 4, 8 ... is kept."""

Event = Literal["opened", "closed"]
Unused = Literal["failure", "check"]
"""Why points that pass have been made by the original code after all."""

_log = logging.getLogger("hpacml")


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison of a model with the original code in one call.

    `call` counts the inferences of the region from 0; `errors` are by output. `is_open`: whether the original code runs
    from here on; `event`: what the check has changed about that, if anything.
    """

    call: int
    errors: Mapping[str, float]
    is_open: bool = False
    event: Event | None = None

    @property
    def worst(self) -> float:
        """The largest error of an output."""
        return max(self.errors.values(), default=0.0)


@dataclass(slots=True)
class Checks:
    """The checks of a region: what is said of all of them, and a `history` in which each stands for up to `each`."""

    metric: str = ""
    tolerance: float = 0.0
    """What the errors are, and how large they may be."""
    count: int = 0
    opened: int = 0
    closed: int = 0
    largest: dict[str, float] = field(default_factory=lambda: dict[str, float]())
    """The largest error of each output."""
    last: Check | None = None
    history: list[Check] = field(default_factory=lambda: list[Check]())
    each: int = 1
    _in_last: int = 0

    def add(self, check: Check) -> None:
        """Count a check, and keep it or a worse one."""
        self.count += 1
        self.opened += check.event == "opened"
        self.closed += check.event == "closed"
        for output, error in check.errors.items():
            self.largest[output] = max(error, self.largest.get(output, 0.0))
        self.last = check
        if self.history and self._in_last < self.each:
            self.history[-1] = _telling(self.history[-1], check)
            self._in_last += 1
        else:
            self.history.append(check)
            self._in_last = 1
        if len(self.history) > MOST_CHECKS:
            self._thin_out()

    def _thin_out(self) -> None:
        first, second = self.history[::2], self.history[1::2]
        self._in_last += self.each if len(first) == len(second) else 0
        alone = first[len(second) :]
        self.history = [_telling(*pair) for pair in zip(first, second, strict=False)] + alone
        self.each *= 2


def _telling(one: Check, other: Check) -> Check:
    """The check of two that tells more: the one that has changed something, else the worse one."""
    return max(one, other, key=lambda check: (check.event is not None, check.worst))


@dataclass(slots=True)
class Guarded:
    """What the guards of a region have done.

    Of `points`, those of all `calls` with guards, the original code has made `rejected`, for the `reasons`, of which a
    point may have several: clauses, "failure" of the model, and a "check" that was beyond the tolerance. In
    `whole_calls` no point passed, and in `open_calls` the circuit breaker was open. `collected` counts the rejected
    points that went to the database. `clipped` counts the numbers of
    each output that were outside of their bounds, `projected` the calls.
    """

    calls: int = 0
    points: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=lambda: Counter[str]())
    whole_calls: int = 0
    open_calls: int = 0
    collected: int = 0
    clipped: Counter[str] = field(default_factory=lambda: Counter[str]())
    projected: int = 0
    checks: Checks = field(default_factory=Checks)


class _Passed(threading.local):
    """How many points have passed in the last call of each region."""

    def __init__(self) -> None:
        self.points: dict[str, int] = {}


_passed = _Passed()
_lock = lock(Order.COUNTING)
_regions: dict[str, Guarded] = {}
_said: set[tuple[str, ...]] = set()
"""What the log has had its line of, by the label and the kind."""


def note_points(label: str, total: int, rejected: Mapping[int, int]) -> None:
    """Count a call of a region with `total` points, of which so many were `rejected` for each set of reason bits."""
    with _lock:
        region = _region(label)
        region.calls += 1
        region.points += total
        count = sum(rejected.values())
        _passed.points[label] = total - count
        if not rejected:
            return
        region.rejected += count
        region.whole_calls += count == total
        for bits, number in rejected.items():
            for bit, reason in REASONS.items():
                if bits & bit:
                    region.reasons[reason] += number
        new = [reason for bit, reason in REASONS.items() if any(bits & bit for bits in rejected)]
        new = [reason for reason in new if _is_first(label, reason)]
    if new:
        _log.warning(
            "guard(%s) of the region '%s' leaves points to the original code: %d of %d in this call; "
            "hpacml.report() counts them from now on",
            ", ".join(new),
            label,
            count,
            total,
        )


def note_unused(label: str, reason: Unused) -> None:
    """Count the points that passed in this thread's last call of a region for the original code, which makes them."""
    with _lock:
        count = _passed.points.pop(label, 0)
        if count:
            region = _region(label)
            region.rejected += count
            region.reasons[reason] += count


def note_open_call(label: str) -> None:
    """Count a call of a region that the original code computes since the circuit breaker is open."""
    with _lock:
        _region(label).open_calls += 1


def note_collected(label: str, count: int) -> None:
    """Count rejected points of a region that go to its database."""
    with _lock:
        _region(label).collected += count


def note_clipped(label: str, output: str, count: int) -> None:
    """Count numbers of an output of a region that were outside of their bounds; 0 is nothing to count."""
    if not count:
        return
    with _lock:
        _region(label).clipped[output] += count
        first = _is_first(label, "clip", output)
    if first:
        _log.warning(
            "clip(...) of the region '%s' has set %d number%s of the output '%s' to a bound; "
            "hpacml.report() counts them from now on",
            label,
            count,
            "s" * (count > 1),
            output,
        )


def note_projected(label: str) -> None:
    """Count a call of a region whose outputs a function of the program has projected."""
    with _lock:
        _region(label).projected += 1
        first = _is_first(label, "project")
    if first:
        _log.info(
            "project(...) of the region '%s' changes what its model makes; hpacml.report() counts the calls", label
        )


def note_check(label: str, check: Check, metric: str, tolerance: float) -> None:
    """Keep a check of a region, whose errors by the metric may be as large as the tolerance."""
    with _lock:
        checks = _region(label).checks
        checks.metric, checks.tolerance = metric, tolerance
        checks.add(check)


def is_first(label: str, *kind: str) -> bool:
    """Whether this is the first time that something of this kind is to be said about a region in this process."""
    with _lock:
        return _is_first(label, *kind)


def _is_first(label: str, *kind: str) -> bool:
    key = label, *kind
    new = key not in _said
    _said.add(key)
    return new


def _region(label: str) -> Guarded:
    found = _regions.get(label)
    if found is None:
        found = _regions[label] = Guarded()
    return found


def read(reset: bool = False) -> dict[str, Guarded]:
    """What was counted, by the label of the region. With `reset` counting begins anew."""
    with _lock:
        if reset:
            found = dict(_regions)
            _regions.clear()
            return found
        return copy.deepcopy(_regions)


def _begin_in_child() -> None:
    """Begin anew in a child: its parent keeps the counts."""
    read(reset=True)


os.register_at_fork(after_in_child=_begin_in_child)
