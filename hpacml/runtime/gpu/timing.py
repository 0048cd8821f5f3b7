"""Times on devices: events, whose times are known once the device has come there, and counted then."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpacml.runtime.reports import counters

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Event

KEPT = 1024
"""Calls that are counted later; of more, those that are past are counted when another one comes."""


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
_lock = threading.Lock()


def record(site: bytes, events: Sequence[Event], bytes: Sequence[int]) -> None:
    """Count a call, once its events are past."""
    with _lock:
        _records.append(_Record(site, events, bytes))
        while len(_records) > KEPT and _records[0].events[-1].query():
            _records.popleft().count()


def _settle() -> None:
    """Count all calls; this waits for the devices."""
    with _lock:
        while _records:
            each = _records.popleft()
            each.events[-1].synchronize()
            each.count()


def _begin_in_child() -> None:
    """A child has neither the devices of the parent, to ask for times, nor its threads, which may hold the lock."""
    global _lock
    _lock = threading.Lock()
    _records.clear()


counters.before_read.append(_settle)
os.register_at_fork(after_in_child=_begin_in_child)
