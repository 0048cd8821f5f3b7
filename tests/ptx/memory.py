"""The memory that kernels may touch; who touches what when; and how many sectors of it come and go."""

from __future__ import annotations

import ctypes
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from tests.ptx.errors import RaceError
from tests.ptx.floats import Array

READ, CACHED, WRITE, ATOMIC = "reads", "reads as constant", "writes", "changes atomically"

SECTOR = 32
"""Bytes of memory that come and go together."""

_FIRST = 4096
"""The first page of a process is never mapped."""


@cache
def process_memory(dtype: Any) -> Array:
    """All memory of this process, from `_FIRST` on, as an array. Nothing is touched but what is indexed."""
    count = ((1 << 47) - 2 * _FIRST) // np.dtype(dtype).itemsize
    anything = (ctypes.c_char * (1 << 47)).from_address(_FIRST)
    return np.ndarray((count,), dtype, buffer=anything)


def place_of(address: Array) -> Array:
    """Where an address is in `process_memory`, in bytes."""
    return address - np.uint64(_FIRST)


class Memory:
    """Regions of this process's memory that stand for the memory of a device."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: dict[int, int] = {}

    def add(self, address: int, nbytes: int) -> None:
        """Raises `ValueError` where there is a region already."""
        at = bisect_right(self.starts, address)
        before = at > 0 and self.ends[self.starts[at - 1]] > address
        after = at < len(self.starts) and self.starts[at] < address + nbytes
        if before or after or address in self.ends or address < _FIRST:
            raise ValueError(f"a region at {address:#x} of {nbytes} bytes is in the way of another")
        insort(self.starts, address)
        self.ends[address] = address + nbytes

    def remove(self, address: int) -> None:
        del self.ends[address]
        self.starts.remove(address)

    def regions_of(self, addresses: Array, size: int) -> int | Array:
        """The region in which each access is, as its start; one number if it is the same, 0 where there is none."""
        low, high = int(addresses.min()), int(addresses.max())
        at = bisect_right(self.starts, low) - 1
        if at >= 0 and high + size <= self.ends[self.starts[at]]:
            return self.starts[at]
        if not self.starts:
            return 0
        starts = np.array(self.starts, np.uint64)
        ends = np.array([self.ends[start] for start in self.starts], np.uint64)
        at_each = np.searchsorted(starts, addresses, "right").astype(np.int64) - 1
        room = ends[at_each] - np.minimum(addresses, ends[at_each])
        return np.where((at_each >= 0) & (room >= size), starts[at_each], np.uint64(0))


@dataclass(slots=True)
class Access:
    """An instruction's accesses, by many threads of the grid; `region` is None in shared memory."""

    opcode: str
    line: int
    kind: str
    region: int | None
    addresses: Array
    threads: Array
    size: int

    def units(self, low: int, unit: int) -> Array:
        """The pieces of `unit` bytes, from `low` on, that are touched: as many for each thread."""
        first = (self.addresses - self.addresses.dtype.type(low)).astype(np.int64) // unit
        if self.size == unit:
            return first
        return (first[:, None] + np.arange(self.size // unit)).reshape(-1)


Owner = Callable[[Array], Array]


def check_races(accesses: Iterable[Access], owner: Owner, describe: Callable[[int], str]) -> None:
    """Raise `RaceError` if two owners (threads, or blocks) touch a byte, one of them writing.

    A byte remembers its last writer: every other that touches it, be it a writer, sees one that it is not.
    """
    for group in _groups(accesses):
        if all(access.kind != WRITE for access in group):
            continue
        low, unit, count = _extent(group)
        last = np.full(count, -1, np.int64)
        owners = [np.repeat(owner(access.threads), access.size // unit) for access in group]
        units = [access.units(low, unit) for access in group]
        for access, who, where in zip(group, owners, units, strict=True):
            if access.kind == WRITE:
                last[where] = who
        for access, who, where in zip(group, owners, units, strict=True):
            other = (last[where] != -1) & (last[where] != who)
            if other.any():
                at = int(np.flatnonzero(other)[0])
                _raise(access, at, group, units, owners, low, unit, describe)


def check_cached(accesses: Sequence[Access], describe: Callable[[int], str]) -> None:
    """Raise `RaceError` if a byte that is read as constant is written in the same launch, by whomever and whenever."""
    if all(access.kind != CACHED for access in accesses):
        return
    for group in _groups(accesses):
        kinds = {access.kind for access in group}
        if CACHED not in kinds or not kinds & {WRITE, ATOMIC}:
            continue
        low, unit, count = _extent(group)
        written = np.zeros(count, np.bool_)
        units = [access.units(low, unit) for access in group]
        for access, where in zip(group, units, strict=True):
            if access.kind in (WRITE, ATOMIC):
                written[where] = True
        for access, where in zip(group, units, strict=True):
            if access.kind == CACHED and written[where].any():
                at = int(np.flatnonzero(written[where])[0])
                _raise(access, at, [a for a in group if a.kind in (WRITE, ATOMIC)], None, None, low, unit, describe)


def _groups(accesses: Iterable[Access]) -> Iterable[list[Access]]:
    groups: dict[int | None, list[Access]] = {}
    for access in accesses:
        groups.setdefault(access.region, []).append(access)
    return groups.values()


def _extent(group: Sequence[Access]) -> tuple[int, int, int]:
    """The first byte that is touched, the size of the least access, and how many pieces of it there are."""
    unit = min(access.size for access in group)
    low = min(int(access.addresses.min()) for access in group)
    high = max(int(access.addresses.max()) + access.size for access in group)
    return low, unit, (high - low) // unit


def _raise(
    access: Access,
    at: int,
    group: Sequence[Access],
    units: Sequence[Array] | None,
    owners: Sequence[Array] | None,
    low: int,
    unit: int,
    describe: Callable[[int], str],
) -> None:
    where = access.units(low, unit)[at]
    mine = int(access.threads[at // (access.size // unit)])
    for k, other in enumerate(group):
        if units is not None and other.kind != WRITE:
            continue
        same = other.units(low, unit) == where
        if owners is not None and units is not None:
            own = owners[next(n for n, a in enumerate(group) if a is access)][at]
            same &= owners[k] != own
        if same.any():
            theirs = int(other.threads[int(np.flatnonzero(same)[0]) // (other.size // unit)])
            space = "shared memory" if access.region is None else "global memory"
            raise RaceError(
                f"{space} at {low + int(where) * unit:#x}: {describe(mine)} {access.kind} it in line {access.line} "
                f"({access.opcode}), {describe(theirs)} {other.kind} it in line {other.line} ({other.opcode})"
            )


@dataclass
class Sectors:
    """Bytes that threads ask for, and bytes of the sectors that these are in, for each instruction of each warp."""

    asked: int = 0
    moved: int = 0

    @property
    def efficiency(self) -> float:
        return self.asked / self.moved if self.moved else 1.0


@dataclass
class Traffic:
    """What a launch did: of global memory, and how often threads ran instructions, by opcode."""

    loads: Sectors = field(default_factory=Sectors)
    stores: Sectors = field(default_factory=Sectors)
    instructions: Counter[str] = field(default_factory=Counter)

    def count(self, access: Access, warps: Array) -> None:
        if access.kind == ATOMIC:
            return
        traffic = self.stores if access.kind == WRITE else self.loads
        traffic.asked += len(access.addresses) * access.size
        # An access is aligned, and so in one sector. Neighbours in a warp mostly share one: the rest are sorted.
        sectors = access.addresses // np.uint64(SECTOR)
        new = np.ones(len(sectors), np.bool_)
        new[1:] = (sectors[1:] != sectors[:-1]) | (warps[1:] != warps[:-1])
        keys = (warps[new].astype(np.uint64) << np.uint64(44)) ^ sectors[new]
        traffic.moved += SECTOR * len(np.unique(keys))
