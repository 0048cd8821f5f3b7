"""Locks that a fork takes first, so that its child has none that is held by a thread which it lacks.

So what they guard is whole in the child, too, which could neither go on with what another thread was doing, such as
compiling by MLIR and LLVM, nor wait for it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
import time
from enum import IntEnum
from typing import Any

PATIENCE = 60.0
"""Seconds that a fork waits. A lock that is not free by then is a new one in the child."""


class Order(IntEnum):
    """Which locks a thread can have that takes another one: those of smaller numbers."""

    COMPILING = 0
    LOADING = 1
    MLIR = 2
    LLVM = 3
    DEVICE = 4
    COUNTING = 5


_LOADED = ("hpacml", "torch", "xdsl", "mlir", "llvmlite", "h5py", "hdf5plugin", "safetensors", "numpy", "lark")
"""The packages that hpacml loads when it first needs them, and itself."""

_RELEASED = {"concurrent.futures.thread": "_global_shutdown_lock", "h5py._objects": "phil"}
"""Modules that have Python release a lock after each fork, also after one before which they had it not taken yet."""

_locks: list[tuple[Order, Any]] = []
_taken: dict[int, list[Any]] = {}
"""The locks that threads have taken to fork, by their identifiers."""


def lock(order: Order) -> threading.RLock:
    """Make a lock that lasts as long as the process."""
    made: Any = threading.RLock()
    _locks.append((order, made))
    _locks.sort(key=lambda each: each[0])
    return made


def _before_fork() -> None:
    taken = _taken.setdefault(threading.get_ident(), [])
    own: set[str] = set()
    absent = [name for name in _RELEASED if name not in sys.modules]
    end = time.monotonic() + PATIENCE
    while True:
        for _, each in tuple(_locks):
            if each.acquire(timeout=max(0.0, end - time.monotonic())):
                taken.append(each)
        if not (names := _importing() - own) or time.monotonic() > end:
            break
        _release(taken)  # which an import may need
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        own |= names & _importing()  # those of this very thread
    for name in absent:
        if (released := getattr(sys.modules.get(name), _RELEASED[name], None)) is not None:
            released.acquire()


def _importing() -> set[str]:
    """The modules of hpacml and what it loads that threads import now: a child would wait for them for ever."""
    return {
        name
        for name, module in tuple(sys.modules.items())
        if name.partition(".")[0] in _LOADED and getattr(getattr(module, "__spec__", None), "_initializing", False)
    }


def _release(taken: list[Any]) -> None:
    while taken:
        taken.pop().release()


def _after_fork() -> None:
    _release(_taken.pop(threading.get_ident(), []))


def _in_child() -> None:
    _after_fork()
    _taken.clear()
    for each in (*(each for _, each in _locks), *_locks_of_properties()):
        if each.acquire(blocking=False):
            each.release()
        else:
            each._at_fork_reinit()


def _locks_of_properties() -> list[Any]:
    """The locks of cached properties, which they have before Python 3.12: one for all objects of a class."""
    if sys.version_info >= (3, 12):
        return []
    modules = [module for name, module in tuple(sys.modules.items()) if name.partition(".")[0] == "hpacml"]
    classes = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    members: list[Any] = [each for cls in classes for each in vars(cls).values()]
    return [vars(each)["lock"] for each in members if isinstance(each, functools.cached_property)]


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
