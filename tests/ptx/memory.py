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

    def users(self, unit: int) -> Array:
        """The thread of each of `units`."""
        return self.threads if self.size == unit else np.repeat(self.threads, self.size // unit)

    @property
    def place(self) -> str:
        return f"line {self.line} ({self.opcode})"


Owner = Callable[[Array], Array]


def check_races(accesses: Iterable[Access], owner: Owner, describe: Callable[[int], str]) -> None:
    """Raise `RaceError` if two owners (threads, or blocks) touch a byte, one of them writing.

    A byte remembers its last writer: every other that touches it, be it a writer, sees one that it is not.
    """
    for group in _groups(accesses):
        writes = [access for access in group if access.kind == WRITE]
        if not writes:
            continue
        low, unit, count = _extent(group)
        last = np.full(count, -1, np.int64)
        for access in writes:
            last[access.units(low, unit)] = owner(access.users(unit))
        for access in group:
            found = last[access.units(low, unit)]
            wrong = (found != -1) & (found != owner(access.users(unit)))
            if wrong.any():
                raise _race(access, wrong, writes, (low, unit), owner, describe)


def check_cached(accesses: Iterable[Access], describe: Callable[[int], str]) -> None:
    """Raise `RaceError` if a byte that is read as constant is written in the same launch, by whomever and whenever."""
    for group in _groups(accesses):
        reads = [access for access in group if access.kind == CACHED]
        writes = [access for access in group if access.kind in (WRITE, ATOMIC)]
        if not reads or not writes:
            continue
        low, unit, count = _extent(group)
        written = np.zeros(count, np.bool_)
        for access in writes:
            written[access.units(low, unit)] = True
        for access in reads:
            wrong = written[access.units(low, unit)]
            if wrong.any():
                raise _race(access, wrong, writes, (low, unit), None, describe)


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


def _race(
    access: Access,
    wrong: Array,
    writes: Iterable[Access],
    pieces: tuple[int, int],
    owner: Owner | None,
    describe: Callable[[int], str],
) -> RaceError:
    """What is wrong with the first of the pieces of an access: who else writes it, an owner of its own or anybody."""
    at, (low, unit) = int(np.flatnonzero(wrong)[0]), pieces
    where, mine = access.units(low, unit)[at], access.users(unit)[at]
    space = "shared memory" if access.region is None else "global memory"
    message = f"{space} at {low + int(where) * unit:#x}: {describe(int(mine))} {access.kind} it in {access.place}"
    for other in writes:
        same = other.units(low, unit) == where
        if owner is not None:
            same &= owner(other.users(unit)) != owner(mine)
        if same.any():
            theirs = other.users(unit)[int(np.flatnonzero(same)[0])]
            message += f", {describe(int(theirs))} {other.kind} it in {other.place}"
            break
    return RaceError(message)


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
