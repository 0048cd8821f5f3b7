"""Times of calls that take turns, so that what else the machine does meets all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch

T = TypeVar("T")

LEAST = 3
"""So many rounds are measured, however long they take."""


class Turn(NamedTuple):
    """The seconds of a call: those of the clock, and those of all threads of the process on cores."""

    wall: float
    cpu: float


class Spread(NamedTuple):
    """The median of some numbers, and the quartiles around it."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(numbers: Sequence[float]) -> Spread:
        """That of one number or more."""
        low, median, high = np.percentile(numbers, [25, 50, 75]).tolist()
        return Spread(low, median, high)


def timed(call: Callable[[], T]) -> tuple[T, Turn]:
    """What a call gives, and its time. GPUs that are in use have finished before it, and at its end."""
    synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    given = call()
    synchronize()
    wall = time.perf_counter() - wall
    return given, Turn(wall, time.process_time() - cpu)


def rounds(items: Sequence[T], count: int, seconds: float | None = None, least: int = LEAST) -> Iterator[list[T]]:
    """Yield the items for each round, in the order in which they take turns.

    Each round begins with another item, and every second one goes backwards: what a call leaves in the caches meets
    all others. No round begins after so many `seconds`, but at least `least` of them do.
    """
    end = None if seconds is None else time.perf_counter() + seconds
    for number in range(count):
        if end is not None and number >= least and time.perf_counter() >= end:
            return
        first = number % len(items)
        yield [*items[first:], *items[:first]][:: -1 if number % 2 else 1]


def synchronize() -> None:
    """Wait for the GPU, if Torch uses one."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
