"""The application: heat on a plate, one explicit step in time, with the directives of the paper's Figure 2."""

import numpy as np
from jaxtyping import Float32

import hpacml
from hpacml import approx

Field = Float32[np.ndarray, "N M"]


@hpacml.kernel
def heat(t: Field, tnew: Field, use_model: bool, exact: bool):
    N, M = t.shape
    approx("tensor functor(ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(ofnctr: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: ifnctr(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: ofnctr(tnew[1:N-1, 1:M-1]))")
    with approx("""ml(predicated: use_model) in(t) out(tnew) model("heat.pt2") database("heat.h5") label("heat")
                   if(not exact)"""):
        for i in hpacml.prange(1, N - 1):
            for j in range(1, M - 1):
                tnew[i, j] = t[i, j] + 0.1 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1] - 4.0 * t[i, j])


def simulate(t, steps, use_model=False, exact_every=0):
    """The fields after 0 to `steps` steps from `t`, float32[steps + 1, N, M]; the edge keeps its temperature.

    Steps are recorded, or left to the model with `use_model`; but the first and then every `exact_every`-th one
    is computed and not recorded. So all are with 1, and none with 0.
    """
    fields = np.repeat(t[None], steps + 1, axis=0)
    for step in range(steps):
        exact = exact_every > 0 and step % exact_every == 0
        heat(fields[step], fields[step + 1], use_model, exact)
    return fields


def random_plate(size, seed):
    """A plate with six warm or cold spots, float32[size, size]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    plate = np.zeros((size, size), np.float32)
    for _ in range(6):
        (cy, cx), width, peak = rng.random(2), rng.uniform(0.03, 0.15), rng.uniform(-1.0, 1.0)
        plate += peak * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2.0 * width**2))
    return plate
