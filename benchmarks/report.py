"""What a measured call of a region costs beyond one that is not: `hpacml.timing` off and on, in compiled loops."""

from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx

from . import medians

CALLS = 100
Array = Float64[np.ndarray, "n"]


@hpacml.kernel
def bodies(x: Array, y: Array, calls: int, model: bool, net: Any):
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    for k in range(calls):
        with approx("ml(infer) in(one(x[0:4])) out(one(y[0:4])) model(net) if(model) label('benchmark')"):
            y[0] = x[0] + y[0]


def measure():
    """Seconds of a call, for the original code alone and for a model, with timing off and on."""
    torch.set_num_threads(1)
    x, y = np.zeros((2, 4))
    result = torch.zeros(4, 1, dtype=torch.float64)

    def call(model, timing):
        hpacml.timing(timing)
        bodies(x, y, CALLS, model, lambda x: result)

    ways = {
        (what, timing): lambda model=model, timing=timing: call(model, timing)
        for what, model in (("body alone", False), ("inference, a model that does nothing", True))
        for timing in (False, True)
    }
    rounds = [medians(ways, budget=1) for _ in range(5)]
    hpacml.timing(False)
    seconds = {way: median(each[way] for each in rounds) / CALLS for way in ways}
    return {what: {"off": seconds[what, False], "on": seconds[what, True]} for what, _ in ways}
