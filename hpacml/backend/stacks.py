"""Runs compilers, and their imports: in a thread that has a large stack, whatever thread asks, and few collections."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

from hpacml.backend.garbage import rare_collections
from hpacml.locks import Order, lock

Result = TypeVar("Result")

SIZE = 64 << 20
"""The bytes of address space of the stack. Only what is used takes memory."""

_lock = lock(Order.COUNTING)
_inside = threading.local()


def on_large_stack(work: Callable[[], Result]) -> Result:
    """Return what `work` returns, or raise what it raises. It runs in a thread of its own, in the context of this one.

    Python's recursion limit counts the frames of that thread alone.
    """
    if getattr(_inside, "it", False):
        return work()
    results: list[Result] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        _inside.it = True
        try:
            with rare_collections():
                results.append(context.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="hpacml-compile", daemon=False)
    if not _start(thread):
        return work()
    thread.join()
    if not errors:
        return results[0]
    try:
        raise errors[0]
    finally:
        errors.clear()  # its traceback holds this frame


def _start(thread: threading.Thread) -> bool:
    """Start a thread with a stack of `SIZE`; False if there is no room, or the program ends."""
    with _lock:
        size = threading.stack_size(SIZE)
        try:
            thread.start()
        except RuntimeError:
            return False
        finally:
            threading.stack_size(size)
    return True
