"""The application: call options priced on a binomial lattice (Cox, Ross and Rubinstein), with directives."""

import math

import numpy as np
from jaxtyping import Float64

import hpacml
from hpacml import approx

from .. import glibc
from ..devices import empty_like

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
    multiplier: int = 1,
):
    """Prices of options. The model takes `multiplier` options at once."""
    n, m = len(S), multiplier
    ni = n // m  # noqa: F841 (the directives use it)
    approx("""tensor functor(option: [i, 0:5*m] = ([i*m : i*m+m], [i*m : i*m+m], [i*m : i*m+m],
                                                   [i*m : i*m+m], [i*m : i*m+m]))""")
    approx("tensor functor(price: [i, 0:m] = ([i*m : i*m+m]))")
    with approx("""ml(predicated: use_model) if(use_model or record) label("binomial")
                   in(option(S[0:ni], X[0:ni], vDt[0:ni], puByDf[0:ni], pdByDf[0:ni])) out(price(prices[0:ni]))
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


def price(S, X, T, R, V, steps=STEPS, model=None, database=None, multiplier=1):
    """Prices of European calls, float64[n].

    S, X, T are spot, strike and years to expiry, float64[n]; R and V rate and volatility, float64[n] or numbers.
    The file `model` gives the prices, `multiplier` at once, or else a lattice of `steps` steps, whose results go to
    the file `database`. Raises ValueError if n is no multiple of `multiplier`.
    """
    return price_prepared(S, X, *prepare(T, R, V, steps), steps, model, database, multiplier)


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


def price_prepared(S, X, vDt, puByDf, pdByDf, steps, model=None, database=None, multiplier=1):
    """`price` without the preparation: the region alone, which runs where its arrays are."""
    if multiplier < 1 or len(S) % multiplier:
        raise ValueError(
            f"{len(S)} options are no multiple of multiplier={multiplier}, those that a model takes at once"
        )
    prices, use_model, record = empty_like(S, len(S)), model is not None, database is not None
    lattice(S, X, vDt, puByDf, pdByDf, prices, steps, use_model, record, model, database, multiplier)
    return prices


def random_options(count, first=0, seed=123):
    """S, X, T, R, V of the options number `first` to `first + count` which the CUDA program in HeCBench draws.

    Raises ValueError for a negative number.
    """
    t = glibc.rows(3, count, first, seed) / 2147483647
    S, X, T = ((1.0 - t) * (5.0, 1.0, 0.25) + t * (30.0, 100.0, 10.0)).T.copy()
    return S, X, T, RATE, VOLATILITY
