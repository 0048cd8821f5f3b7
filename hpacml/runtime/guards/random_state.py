"""The random numbers of a program while original code runs that is only compared with a model."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from typing import Any


class _Kept(threading.local):
    def __init__(self) -> None:
        self.restore: list[Callable[[], None]] = []


_kept = _Kept()


def keep(restores: int) -> None:
    """Keep the states of the global generators of Python, NumPy and Torch, or restore those that were kept last.

    Generators that a program has made itself are not known.
    """
    if restores:
        for restore in _kept.restore:
            restore()
    _kept.restore = [] if restores else list(_states())


def _states() -> list[Callable[[], None]]:
    state = random.getstate()
    found: list[Callable[[], None]] = [lambda: random.setstate(state)]
    if (numpy := sys.modules.get("numpy.random")) is not None:
        of_numpy: Any = numpy.get_state()
        found.append(lambda: numpy.set_state(of_numpy))
    if (torch := sys.modules.get("torch")) is not None:
        of_torch: Any = torch.get_rng_state()
        found.append(lambda: torch.set_rng_state(of_torch))
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            of_devices: Any = torch.cuda.get_rng_state_all()
            found.append(lambda: torch.cuda.set_rng_state_all(of_devices))
    return found
