"""A compute-bound loop over `hpacml.prange` on one thread and on two."""

import numpy as np
import torch
from jaxtyping import Float64

import hpacml

from .harness import Aim, compare
from .network import on_threads

Array = Float64[np.ndarray, "n"]
ONE, TWO = "hpacml, 1 thread", "hpacml, 2 threads"


@hpacml.kernel
def orbits(start: Array, end: Array, steps: int):
    for i in hpacml.prange(len(start)):
        x = start[i]
        for step in range(steps):
            x = 3.7 * x * (1.0 - x)
        end[i] = x


def measure(quick=False):
    torch.set_num_threads(1)
    start = np.random.default_rng(0).random(1 << 16)
    one, two = np.zeros_like(start), np.zeros_like(start)
    calls = {
        ONE: on_threads(1, lambda: orbits(start, one, 500)),
        TWO: on_threads(2, lambda: orbits(start, two, 500)),
    }
    for call in calls.values():
        call()
    np.testing.assert_array_equal(one, two)
    aim = Aim("prange, compute-bound: one thread / two", ONE, to=TWO, least=1.8, clock="wall")
    yield compare("65536 orbits of 500 steps, prange", calls, ours=ONE, aims=[aim])
