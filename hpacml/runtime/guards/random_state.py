"""The random numbers of a program while original code runs that is only compared with a model, or with itself."""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from hpacml.runtime import frame


class _State(NamedTuple):
    """How to restore the generators, and in how many calls around one another they were kept."""

    depth: int
    restores: list[Callable[[], None]]


class _Kept(threading.local):
    def __init__(self) -> None:
        self.states: deque[_State] = deque(maxlen=frame.DEEPEST)
        """The innermost last. Original code that has raised leaves its own behind."""


_kept = _Kept()


def keep(restores: int) -> None:
    """Keep the states of the global generators of Python, NumPy and Torch, or restore those that were kept last.

    Original code that runs in between may call regions that do so, too. Generators that a program has made itself are
    not known.
    """
    depth = frame.depth()
    if not restores:
        _kept.states.append(_State(depth, list(_states())))
        return
    while _kept.states:
        state = _kept.states.pop()
        if state.depth <= depth:
            for restore in state.restores:
                restore()
            return


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
