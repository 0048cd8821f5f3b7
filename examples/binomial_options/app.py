"""The application: call options priced on a binomial lattice (Cox, Ross and Rubinstein), with directives."""

import math

import numpy as np
from jaxtyping import Float64

import hpacml
from hpacml import approx

from .. import glibc

STEPS = 1024
RATE, VOLATILITY = float(np.float32(0.06)), float(np.float32(0.10))

Options = Float64[np.ndarray, "n"]


@hpacml.kernel
def lattice(
    S: Options,
    X: Options,
    vDt: Options,
    puByDf: Options,
    pdByDf: Options,
    prices: Options,
    steps: int,
    use_model: bool,
    record: bool,
    model: str | None,
    database: str | None,
):
    n = len(S)
    approx("tensor functor(option: [i, 0:5] = ([i], [i], [i], [i], [i]))")
    approx("tensor functor(price: [i, 0:1] = ([i]))")
    with approx("""ml(predicated: use_model) if(use_model or record) label("binomial")
                   in(option(S[0:n], X[0:n], vDt[0:n], puByDf[0:n], pdByDf[0:n])) out(price(prices[0:n]))
                   model(model) database(database)"""):
        for i in hpacml.prange(n):
            up, down = puByDf[i], pdByDf[i]
            value = np.empty(steps + 1)
            for j in range(steps + 1):
                value[j] = max(S[i] * math.exp(vDt[i] * (2 * j - steps)) - X[i], 0.0)
            for level in range(steps, 0, -1):
                for j in range(level):
                    value[j] = up * value[j + 1] + down * value[j]
            prices[i] = value[0]


def price(S, X, T, R, V, steps=STEPS, model=None, database=None):
    """Prices of European calls, float64[n].

    S, X, T are spot, strike and years to expiry, float64[n]; R and V rate and volatility, float64[n] or numbers.
    The file `model` gives the prices, or else a lattice of `steps` steps, whose results go to the file `database`.
    """
    return price_prepared(S, X, *prepare(T, R, V, steps), steps, model, database)


def accurate(S, X, T, R, V, steps=STEPS):
    """Prices by the lattice, which nobody records: `price` without files."""
    return price(S, X, T, R, V, steps)


def prepare(T, R, V, steps):
    """vDt, puByDf and pdByDf, float64[n]: the log of a move up, and the discounted chances of moves up and down."""
    dt = T / steps
    vDt, growth = V * np.sqrt(dt), np.exp(R * dt)
    up, down = np.exp(vDt), np.exp(-vDt)
    pu = (growth - down) / (up - down)
    return vDt, pu / growth, (1.0 - pu) / growth


def price_prepared(S, X, vDt, puByDf, pdByDf, steps, model=None, database=None):
    """`price` without the preparation: the region alone."""
    prices = np.empty_like(S)
    lattice(S, X, vDt, puByDf, pdByDf, prices, steps, model is not None, database is not None, model, database)
    return prices


def random_options(count, first=0, seed=123):
    """S, X, T, R, V of the options number `first` to `first + count` which the CUDA program in HeCBench draws."""
    t = glibc.rand(3 * (first + count), seed)[3 * first :].reshape(count, 3) / 2147483647
    S, X, T = ((1.0 - t) * (5.0, 1.0, 0.25) + t * (30.0, 100.0, 10.0)).T.copy()
    return S, X, T, RATE, VOLATILITY
