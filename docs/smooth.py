"""The kernel that docs/architecture.md follows through the compiler."""

import numpy as np
from jaxtyping import Float32

import hpacml
from hpacml import approx


@hpacml.kernel
def smooth(t: Float32[np.ndarray, "N"], tnew: Float32[np.ndarray, "N"], use_model: bool):
    N = t.shape[0]
    approx("tensor functor(sides: [i, 0:2] = ([i - 1], [i + 1]))")
    approx("tensor functor(point: [i, 0:1] = ([i]))")
    with approx("ml(predicated: use_model) in(sides(t[1:N-1])) out(point(tnew[1:N-1])) model('smooth.pt2')"):
        for i in hpacml.prange(1, N - 1):
            tnew[i] = 0.5 * (t[i - 1] + t[i + 1])
