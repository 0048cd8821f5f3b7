"""A kernel with a parallel loop, for programs of the tests of threads."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from jaxtyping import Float64

import hpacml

Array = Float64[np.ndarray, "n"]


@hpacml.kernel
def orbits(start: Array, end: Array, steps: int):
    for i in hpacml.prange(len(start)):
        x = start[i]
        for _ in range(steps):
            x = 3.7 * x * (1.0 - x)
        end[i] = x


def run(seed: int = 0) -> None:
    """Compare the kernel with Python."""
    start = np.random.default_rng(seed).random(400)
    ours, theirs = np.zeros_like(start), np.zeros_like(start)
    orbits(start, ours, 700)
    orbits.py_func(start, theirs, 700)
    np.testing.assert_array_equal(ours, theirs)


def threads_of_a_run(*_: Any) -> int:
    """How many threads this process has more after a run than before it."""
    before = len(os.listdir("/proc/self/task"))
    run()
    return len(os.listdir("/proc/self/task")) - before
