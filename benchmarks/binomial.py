"""The compiled lattice of examples/binomial_options against the same loops under numba, on one thread."""

import math
from functools import partial

import numpy as np
import torch

from examples.binomial_options import app

from .harness import ROUNDS, compare

OPTIONS, STEPS = 1024, 1024


def loops(S, X, vDt, puByDf, pdByDf, prices, steps):
    for i in range(len(S)):
        up, down = puByDf[i], pdByDf[i]
        value = np.empty(steps + 1)
        for j in range(steps + 1):
            value[j] = max(S[i] * math.exp(vDt[i] * (2 * j - steps)) - X[i], 0.0)
        for level in range(steps, 0, -1):
            for j in range(level):
                value[j] = up * value[j + 1] + down * value[j]
        prices[i] = value[0]


def measure(quick=False):
    torch.set_num_threads(1)
    S, X, T, R, V = app.random_options(OPTIONS)
    prepared = app.prepare(T, R, V, STEPS)
    calls = {"hpacml": lambda: app.price_prepared(S, X, *prepared, STEPS)}
    skipped = {}
    for name, fastmath in ("numba", False), ("numba, fastmath=True", True):
        try:
            import numba
        except ImportError:
            skipped[name] = "numba is not installed ('make bench' does it)"
            continue
        calls[name] = partial(priced, numba.njit(fastmath=fastmath)(loops), S, X, *prepared)
        np.testing.assert_allclose(calls[name](), calls["hpacml"](), rtol=0, atol=1e-9)
    what = f"{OPTIONS} options, lattice of {STEPS} steps"
    yield compare(what, calls, ours="hpacml", skipped=skipped, count=10 if quick else ROUNDS)


def priced(compiled, S, *arguments):
    prices = np.empty_like(S)
    compiled(S, *arguments, prices, STEPS)
    return prices
