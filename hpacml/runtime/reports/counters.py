"""The counters of measured calls: for each path through each region, memory to which compiled code adds."""

from __future__ import annotations

import ctypes
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hpacml.locks import Order, lock

Sums: TypeAlias = tuple[int, int, int]
"""Runs, nanoseconds and bytes."""


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
        from hpacml.abi.records import RecordSite

        record = RecordSite.parse(json.loads(site))
        self.label, self.path_taken, self.stages = record.label, record.path_taken, record.stages
        self.words = (ctypes.c_int64 * (1 + 2 * len(self.stages)))()
        self.start = tuple(self.words)
        """The counters when counting began: at the last reset, or when this process was forked."""


_lock = lock(Order.COUNTING)
_counters: dict[bytes, _Counters] = {}  # by the text of the site, so that all code for a region shares them
_parts: dict[str, dict[str, Sums]] = {}
"""Of each region, the parts of inferences that Python measures."""
_engines: dict[str, Counter[str]] = {}
_fallbacks: Counter[str] = Counter()
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


def count_part(label: str, part: str, nanoseconds: int, bytes: int = 0) -> None:
    """Add a run of a part of a region's inferences, such as of its network."""
    with _lock:
        parts = _parts.setdefault(label, {})
        runs, time, size = parts.get(part, (0, 0, 0))
        parts[part] = runs + 1, time + nanoseconds, size + bytes


def count_engine(label: str, engine: str) -> None:
    """Add a run of a region's network by an engine."""
    with _lock:
        _engines.setdefault(label, Counter())[engine] += 1


def count_fallback(label: str) -> None:
    """Add a call of a region whose model failed, so that its original code runs."""
    with _lock:
        _fallbacks[label] += 1


def fallbacks(reset: bool = False) -> dict[str, int]:
    """How often the model of each region has failed. With `reset` counting begins anew."""
    with _lock:
        found = dict(_fallbacks)
        if reset:
            _fallbacks.clear()
        return found


def engines(reset: bool = False) -> dict[str, dict[str, int]]:
    """How often each engine has computed the network of each region. With `reset` counting begins anew."""
    with _lock:
        found = {label: dict(counts) for label, counts in _engines.items()}
        if reset:
            _engines.clear()
        return found


def read(reset: bool = False) -> tuple[list[Counts], dict[str, dict[str, Sums]]]:
    """All counts, and the parts of each region's inferences. With `reset` counting begins anew."""
    for settle in before_read:
        settle()
    return _read(reset)


def _read(reset: bool) -> tuple[list[Counts], dict[str, dict[str, Sums]]]:
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
        parts = {label: dict(each) for label, each in _parts.items()}
        if reset:
            _parts.clear()
        return counts, parts


def _begin_in_child() -> None:
    """Begin anew in a child: its parent keeps the counts."""
    _read(reset=True)
    engines(reset=True)
    fallbacks(reset=True)


os.register_at_fork(after_in_child=_begin_in_child)
