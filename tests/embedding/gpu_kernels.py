"""Kernels that are built for GPUs."""

import numpy as np
from jaxtyping import Float32, Float64, Int64

import hpacml
from hpacml import approx

Field = Float64[np.ndarray, "N M"]
Plate = Float32[np.ndarray, "N M"]
Row = Float64[np.ndarray, "N"]


@hpacml.kernel
def scale(x: Field, y: Field, w: float) -> int:
    """Needs memory of its own, for a row."""
    N, M = x.shape
    for i in hpacml.prange(N):
        for j in range(M):
            y[i, j] = w * x[i, j]
    row = y[0].copy()
    y[N - 1] = row + 1.0
    return N


@hpacml.kernel
def heat(t: Plate, new: Plate, use_model: bool, stream: float, model: str | None, database: str | None):
    N, M = t.shape
    approx("tensor functor(five: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: five(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: one(new[1:N-1, 1:M-1]))")
    with approx("ml(predicated: use_model) in(t) out(new) model(model) database(database) label('heat')"):
        for i in hpacml.prange(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = t[i, j] + 0.1 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1] - 4.0 * t[i, j])


@hpacml.kernel
def pick(x: Row, at: Int64[np.ndarray, "K"], y: Float64[np.ndarray, "K"], model: str):
    K = at.shape[0]
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    approx("tensor map(to: one(x[at[0:K]]))")
    approx("tensor map(from: one(y[0:K]))")
    with approx("ml(infer) in(x) out(y) model(model) label('pick')"):
        for i in hpacml.prange(K):
            y[i] = x[at[i]]


@hpacml.kernel
def refuse(x: Row, n: int):
    if n < 0:
        raise ValueError(f"n is {n}, and x has {x.shape[0]} elements")
    for i in hpacml.prange(n):
        x[i] = n


KERNELS = [scale, heat, pick, refuse]
