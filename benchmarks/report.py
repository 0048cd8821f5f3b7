"""What a measured call of a region costs beyond one that is not: `hpacml.timing` off and on, in compiled loops."""

from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx

from .harness import compare

CALLS = 100
Array = Float64[np.ndarray, "n"]


@hpacml.kernel
def bodies(x: Array, y: Array, calls: int, model: bool, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    for k in range(calls):
        with approx("ml(infer) in(one(x[0:4])) out(one(y[0:4])) model(net) if(model) label('benchmark')"):
            y[0] = x[0] + y[0]


def measure(quick=False):
    """A comparison of a call with timing off and on, for the original code alone and for a model."""
    torch.set_num_threads(1)
    x, y = np.zeros((2, 4))
    result = torch.zeros(4, 1, dtype=torch.float64)

    def call(model, timing):
        hpacml.timing(timing)
        bodies(x, y, CALLS, model, lambda x: result)

    for what, model in (("body alone", False), ("inference, a model that does nothing", True)):
        calls = {name: partial(call, model, timing) for name, timing in (("timing off", False), ("timing on", True))}
        yield compare(f"a call of a region, {what}", calls, ours="timing off", per=CALLS)
    hpacml.timing(False)
