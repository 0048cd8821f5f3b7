"""The compiled lattice of examples/binomial_options against the same loops under numba, on one thread."""

import math

import numpy as np
import torch

from examples.binomial_options import app

from . import medians

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


def measure():
    """Seconds of both, or of hpacml's alone where numba is not installed."""
    torch.set_num_threads(1)
    S, X, T, R, V = app.random_options(OPTIONS)
    prepared = app.prepare(T, R, V, STEPS)
    calls = {"hpacml": lambda: app.price_prepared(S, X, *prepared, STEPS)}
    try:
        import numba
    except ImportError:
        numba = None
    if numba:
        compiled = numba.njit(fastmath=False)(loops)

        def run():
            prices = np.empty_like(S)
            compiled(S, X, *prepared, prices, STEPS)
            return prices

        calls["numba"] = run
        np.testing.assert_allclose(run(), calls["hpacml"](), rtol=0, atol=1e-9)
    return {"options": OPTIONS, "steps": STEPS, "seconds": medians(calls, budget=5)}
