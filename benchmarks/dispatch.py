"""What a call of a region costs beyond its model: five arrays in, one out, a small network in float64."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

import hpacml
from hpacml import approx

from .harness import Aim, compare

Array = Float64[np.ndarray, "n"]
FUNCTORS = """
    tensor functor(five: [i, 0:5] = ([i], [i], [i], [i], [i]))
    tensor functor(one: [i, 0:1] = ([i]))
"""
ML = "ml(infer) in(five(a[0:n], b[0:n], c[0:n], d[0:n], e[0:n])) out(one(y[0:n])) model(net)"

ALONE, STACKED, JOINED = "the model alone", "np.stack, model, store by hand", "views and cat, as HPAC-ML"
KERNEL, TORCH = "@hpacml.kernel", "@hpacml.kernel, Torch's engine"
NUMBA = "numba.njit"


@hpacml.region(FUNCTORS + ML)
def region(a, b, c, d, e, y, n, net):
    raise AssertionError("the model runs")


@hpacml.region(FUNCTORS + ML + " engine(torch)")
def region_by_torch(a, b, c, d, e, y, n, net):
    raise AssertionError("the model runs")


@hpacml.kernel
def kernel(a: Array, b: Array, c: Array, d: Array, e: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(five: [i, 0:5] = ([i], [i], [i], [i], [i]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(five(a[0:n], b[0:n], c[0:n], d[0:n], e[0:n])) out(one(y[0:n])) model(net)"):
        for i in range(n):
            y[i] = a[i]


@hpacml.kernel
def kernel_by_torch(a: Array, b: Array, c: Array, d: Array, e: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(five: [i, 0:5] = ([i], [i], [i], [i], [i]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(five(a[0:n], b[0:n], c[0:n], d[0:n], e[0:n])) out(one(y[0:n])) model(net) engine(torch)"):
        for i in range(n):
            y[i] = a[i]


@hpacml.kernel
def empty(x: Array):
    pass


def measure(quick=False):
    """A comparison for each number of rows, of gathers of some rows, and of calls of nothing."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)).double().eval()
    for rows in (1, 64, 1024):
        yield inference(rows, net)
    yield gather(64)
    yield nothing()


def inference(rows, net):
    arrays = list(np.random.default_rng(0).random((5, rows)))
    views = [torch.from_numpy(each)[:, None] for each in arrays]
    x = torch.from_numpy(np.stack(arrays, 1))
    y, expected = np.zeros((2, rows))

    def stacked():
        with torch.inference_mode():
            y[:] = net(torch.from_numpy(np.stack(arrays, 1)))[:, 0].numpy()

    def joined():
        with torch.inference_mode():
            y[:] = net(torch.cat(views, -1))[:, 0].numpy()

    def alone():
        with torch.inference_mode():
            net(x)

    calls = {
        KERNEL: lambda: kernel(*arrays, y, net),
        "@hpacml.region": lambda: region(*arrays, y, rows, net),
        TORCH: lambda: kernel_by_torch(*arrays, y, net),
        "@hpacml.region, Torch's engine": lambda: region_by_torch(*arrays, y, rows, net),
        STACKED: stacked,
        JOINED: joined,
        ALONE: alone,
    }
    expected[:] = net(x)[:, 0].detach().numpy()
    for name, call in calls.items():
        y[:] = 0
        call()
        if name != ALONE:
            np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    aims = [Aim(f"a kernel's region, Torch's engine, rows: {rows}: / by hand", TORCH, to=STACKED, most=1.05)]
    if rows == 1:
        aims.append(Aim("a kernel's region, compiled network, 1 row", KERNEL, most=2e-6))
    what = f"a call of a region in infer mode, network 5-64-32-1, float64, rows: {rows}"
    return compare(what, calls, ours=KERNEL, floor=ALONE, aims=aims)


def gather(rows):
    five = hpacml.functor("five: [i, 0:5] = ([i], [i], [i], [i], [i])")
    columns = dict(zip("abcde", np.random.default_rng(0).random((5, rows)), strict=True))
    arrays, targets = list(columns.values()), ", ".join(f"{name}[0:n]" for name in columns)
    calls = {
        "hpacml.functor": lambda: five.gather(targets, n=rows, **columns),
        "np.stack": lambda: np.stack(arrays, 1),
        "torch.cat of views": lambda: torch.cat([torch.from_numpy(each)[:, None] for each in arrays], -1),
    }
    for call in calls.values():
        np.testing.assert_array_equal(call(), np.stack(arrays, 1))
    aims = [Aim(f"a functor's gather of {rows} rows / np.stack", "hpacml.functor", to="np.stack", most=2)]
    return compare(f"gather of 5 columns, rows: {rows}", calls, ours="hpacml.functor", aims=aims)


def nothing():
    """A kernel that does nothing with one array."""
    x, skipped = np.zeros(64), {}
    calls = {KERNEL: lambda: empty(x)}
    try:
        import numba
    except ImportError:
        skipped[NUMBA] = "numba is not installed ('make bench' does it)"
    else:
        compiled = numba.njit(empty.py_func)
        calls[NUMBA] = lambda: compiled(x)
    calls["a Python function"] = lambda: empty.py_func(x)
    aims = [Aim("an empty kernel of one array / numba", KERNEL, to=NUMBA, most=1.5)]
    return compare("an empty kernel of one array", calls, ours=KERNEL, aims=aims, skipped=skipped)
