"""Has Python look for garbage rarely while compilers, and imports of them, make many objects that stay."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager

from hpacml.locks import Order, lock

OBJECTS = 100_000
"""After how many new objects Python then looks through the new ones."""

_lock = lock(Order.COUNTING)


class _Rare:
    """How many ask for rare collections, and the thresholds of before."""

    def __init__(self) -> None:
        self._askers = 0
        self._before = self._now = gc.get_threshold()

    def begin(self) -> None:
        if self._askers == 0:
            self._before = self._now = gc.get_threshold()
            if 0 < self._before[0] < OBJECTS:  # 0: never
                self._now = OBJECTS, *self._before[1:]
                gc.set_threshold(*self._now)
        self._askers += 1

    def end(self) -> None:
        self._askers -= 1
        if self._askers == 0:
            self.restore()

    def restore(self) -> None:
        if gc.get_threshold() == self._now:  # else the program has chosen others meanwhile
            gc.set_threshold(*self._before)
        self._now = self._before


_rare = _Rare()


@contextmanager
def rare_collections() -> Generator[None]:
    """Collections are rare until the end of the last of all that ask for this at a time, in any thread."""
    rare = _rare
    with _lock:
        rare.begin()
    try:
        yield
    finally:
        with _lock:
            rare.end()


def _in_child() -> None:
    """The threads that ask for it are not in a child."""
    global _rare
    _rare.restore()
    _rare = _Rare()


os.register_at_fork(after_in_child=_in_child)
