"""Threads that run compiled code side by side, which needs no lock of Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

_pools: dict[int, ThreadPoolExecutor] = {}
"""The threads of this process, by their number."""

os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


def run(parts: Sequence[Callable[[], object]]) -> None:
    """Run all parts, the first in this thread, and raise what one of them raises."""
    others = len(parts) - 1
    if (pool := _pools.get(others)) is None:
        pool = _pools.setdefault(others, ThreadPoolExecutor(others, "hpacml-network"))
    futures = [pool.submit(part) for part in parts[1:]]
    try:
        parts[0]()
    finally:
        for future in futures:  # which use memory of the caller
            future.exception()
    for future in futures:
        future.result()
