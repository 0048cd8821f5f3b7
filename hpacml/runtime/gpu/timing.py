"""Times on devices: events have times once they are past, and are counted then."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpacml.locks import Order, lock
from hpacml.runtime.reports import counters

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Event

KEPT = 1024
"""The most calls that wait to be counted; beyond it, each new call counts those whose events are past."""


@dataclass(frozen=True, slots=True)
class _Record:
    """The events of a call between the stages of a site, and the bytes that each copied."""

    site: bytes
    events: Sequence[Event]
    bytes: Sequence[int]

    def count(self) -> None:
        pairs = zip(self.events, self.events[1:], strict=False)
        counters.add(self.site, [round(1e6 * start.elapsed_time(end)) for start, end in pairs], self.bytes)


_records: deque[_Record] = deque()
_lock = lock(Order.DEVICE)


def record(site: bytes, events: Sequence[Event], bytes: Sequence[int]) -> None:
    """Count a call once its events are past."""
    with _lock:
        _records.append(_Record(site, events, bytes))
        while len(_records) > KEPT and _records[0].events[-1].query():
            _records.popleft().count()


def _settle() -> None:
    """Wait for the devices, and count all calls."""
    with _lock:
        while _records:
            each = _records.popleft()
            each.events[-1].synchronize()
            each.count()


def _begin_in_child() -> None:
    """Begin anew in a child: it cannot ask its parent's devices."""
    _records.clear()


counters.before_read.append(_settle)
os.register_at_fork(after_in_child=_begin_in_child)
