"""What a call of a region costs beyond its model: five arrays in, one out, a small network in float64."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

import hpacml
from hpacml import approx

from . import medians

Array = Float64[np.ndarray, "n"]
DIRECTIVES = """
    tensor functor(five: [i, 0:5] = ([i], [i], [i], [i], [i]))
    tensor functor(one: [i, 0:1] = ([i]))
    ml(infer) in(five(a[0:n], b[0:n], c[0:n], d[0:n], e[0:n])) out(one(y[0:n])) model(net)
"""


@hpacml.region(DIRECTIVES)
def region(a, b, c, d, e, y, n, net):
    raise AssertionError("the model runs")


@hpacml.kernel
def kernel(a: Array, b: Array, c: Array, d: Array, e: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(five: [i, 0:5] = ([i], [i], [i], [i], [i]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(five(a[0:n], b[0:n], c[0:n], d[0:n], e[0:n])) out(one(y[0:n])) model(net)"):
        for i in range(n):
            y[i] = a[i]


def measure():
    """Seconds of each way, for each number of rows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)).double().eval()
    return [compare(rows, net) for rows in (1, 64, 1024)]


def compare(rows, net):
    arrays = list(np.random.default_rng(0).random((5, rows)))
    x = torch.from_numpy(np.stack(arrays, 1))
    y, by_region, by_kernel = np.zeros((3, rows))

    def by_hand():
        with torch.inference_mode():
            y[:] = net(torch.from_numpy(np.stack(arrays, 1)))[:, 0].numpy()

    def alone():
        with torch.inference_mode():
            net(x)

    seconds = medians(
        {
            "the model alone": alone,
            "np.stack, model, store by hand": by_hand,
            "@hpacml.region": lambda: region(*arrays, by_region, rows, net),
            "@hpacml.kernel": lambda: kernel(*arrays, by_kernel, net),
        }
    )
    np.testing.assert_allclose(by_region, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_kernel, y, rtol=1e-12, atol=1e-12)
    return {"rows": rows, "seconds": seconds}
