"""The counters of measured calls: for each path through each region, memory to which compiled code adds."""

from __future__ import annotations

import ctypes
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hpacml.abi.records import RecordSite
from hpacml.locks import Order, lock


@dataclass(frozen=True, slots=True)
class Counts:
    """The calls that took one path through a region, and the sums of each of its stages."""

    label: str
    path_taken: str
    stages: tuple[str, ...]
    calls: int
    nanoseconds: tuple[int, ...]
    bytes: tuple[int, ...]


class _Counters:
    """The memory for one site: calls, then nanoseconds and bytes of each stage. It is never freed."""

    def __init__(self, site: bytes):
        record = RecordSite.parse(json.loads(site))
        self.label, self.path_taken, self.stages = record.label, record.path_taken, record.stages
        self.words = (ctypes.c_int64 * (1 + 2 * len(self.stages)))()
        self.start = tuple(self.words)
        """The counters when counting began: at the last reset, or when this process was forked."""


_lock = lock(Order.COUNTING)
_counters: dict[bytes, _Counters] = {}  # by the text of the site, so that all code for a region shares them
_forward: dict[str, list[int]] = {}
_engines: dict[str, Counter[str]] = {}
before_read: list[Callable[[], None]] = []
"""Called before counters are read, to count calls that are still pending."""


def open_counters(site: bytes) -> int:
    """The address of the counters for the site of this text."""
    with _lock:
        if site not in _counters:
            _counters[site] = _Counters(site)
        return ctypes.addressof(_counters[site].words)


def add(site: bytes, nanoseconds: Sequence[int], bytes: Sequence[int]) -> None:
    """Add a call of a site on a device, for which compiled code does not count itself."""
    open_counters(site)
    with _lock:
        words = _counters[site].words
        words[0] += 1
        for position, (time, copied) in enumerate(zip(nanoseconds, bytes, strict=True)):
            words[1 + 2 * position] += time
            words[2 + 2 * position] += copied


def count_forward(label: str, nanoseconds: int) -> None:
    """Add a run of a region's network."""
    with _lock:
        try:
            sums = _forward[label]
        except KeyError:
            sums = _forward[label] = [0, 0]
        sums[0] += 1
        sums[1] += nanoseconds


def count_engine(label: str, engine: str) -> None:
    """Add a run of a region's network by an engine."""
    with _lock:
        _engines.setdefault(label, Counter())[engine] += 1


def engines(reset: bool = False) -> dict[str, dict[str, int]]:
    """How often each engine has computed the network of each region. With `reset` counting begins anew."""
    with _lock:
        found = {label: dict(counts) for label, counts in _engines.items()}
        if reset:
            _engines.clear()
        return found


def read(reset: bool = False) -> tuple[list[Counts], dict[str, tuple[int, int]]]:
    """All counts, and the runs of each region's network with their nanoseconds. With `reset` counting begins anew."""
    for settle in before_read:
        settle()
    return _read(reset)


def _read(reset: bool) -> tuple[list[Counts], dict[str, tuple[int, int]]]:
    with _lock:
        counts: list[Counts] = []
        for each in _counters.values():
            now = tuple(each.words)
            calls, *sums = (after - before for after, before in zip(now, each.start, strict=True))
            if calls:
                counts.append(
                    Counts(each.label, each.path_taken, each.stages, calls, tuple(sums[::2]), tuple(sums[1::2]))
                )
            if reset:
                each.start = now
        forward = {label: (count, nanoseconds) for label, (count, nanoseconds) in _forward.items()}
        if reset:
            _forward.clear()
        return counts, forward


def _begin_in_child() -> None:
    """Begin anew in a child: its parent keeps the counts."""
    _read(reset=True)
    engines(reset=True)


os.register_at_fork(after_in_child=_begin_in_child)
