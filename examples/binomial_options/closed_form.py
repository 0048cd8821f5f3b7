"""What needs no network: the formula of Black and Scholes, to which the lattice converges, and no volatility at all."""

import numpy as np


def price(S, X, spread):
    """Prices of European calls, float64[n], of strikes that are discounted; `spread` is the volatility till expiry."""
    high = np.log(S / X) / spread + 0.5 * spread
    return S * normal_cdf(high) - X * normal_cdf(high - spread)


def normal_cdf(x):
    """The chance that a normal number is below x, within 7.5e-8: a polynomial of Abramowitz and Stegun, 26.2.17."""
    k = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    tail = 0.0
    for coefficient in (1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153):
        tail = k * (coefficient + tail)
    tail *= np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    return np.where(x > 0.0, 1.0 - tail, tail)


FORMULA, WITHOUT_VOLATILITY = "Black-Scholes", "max(S - X exp(-RT), 0)"


def by_inputs(steps):
    """Predictors of the price of what the region's inputs are, float64[n, 5], with `steps` of the lattice."""

    def known(inputs):
        S, X, vDt, pu, pd = inputs.T  # the sum of the discounted chances is the discount of a step
        return S, X * (pu + pd) ** steps, vDt * np.sqrt(steps)

    def without_volatility(inputs):
        S, X, _ = known(inputs)
        return np.maximum(S - X, 0.0)

    return {FORMULA: lambda inputs: price(*known(inputs)), WITHOUT_VOLATILITY: without_volatility}


def of_options(S, X, T, R, V):
    """What gives the prices of options in place of the whole program."""
    return {
        FORMULA: lambda: price(S, X * np.exp(-R * T), V * np.sqrt(T)),
        WITHOUT_VOLATILITY: lambda: np.maximum(S - X * np.exp(-R * T), 0.0),
    }
