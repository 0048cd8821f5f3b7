"""The cost of calls: `python -m benchmarks.calls [TREE ...]` compares trees, whose processes take turns."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

import hpacml
from hpacml import approx

TREE = Path(__file__).parents[1]
TURNS = 6
BATCHES = 60
SECONDS = 0.001
"""How long a batch of calls takes."""

Array = Float64[np.ndarray, "n"]
ROW = """
    tensor functor(row: [i, 0:5] = ([5*i:5*i+5]))
    tensor functor(one: [i, 0:1] = ([i]))
"""
COLUMNS = "a[0:64], b[0:64], c[0:64], d[0:64], e[0:64]"


@hpacml.kernel
def add(x: Array, y: Array):
    for i in range(len(x)):
        y[i] = y[i] + x[i]


@hpacml.kernel
def scale(x: Array, y: Array, factor: float):
    for i in range(len(x)):
        y[i] = factor * x[i]


@hpacml.region(ROW + "ml(infer) in(row(x[0:n])) out(one(y[0:n])) model(net)")
def infer(x, y, n, net):
    raise AssertionError("the model runs")


@hpacml.region("tensor functor(id: [i] = ([i]))\n ml(infer) in(id(x[0:n])) out(id(y[0:n])) model(net)")
def packed(x, y, n, net):
    raise AssertionError("the model runs")


@hpacml.kernel
def predicated(x: Array, y: Array, use: bool, net: Any, path: Any):
    n = len(x)
    approx("tensor functor(id: [i] = ([i]))")
    with approx("ml(predicated:use) in(id(x[0:n])) out(id(y[0:n])) model(net) database(path)"):
        for i in range(n):
            y[i] = x[i]


@hpacml.region("tensor functor(id: [i] = ([i]))\n ml(collect) in(id(x[0:n])) out(id(y[0:n])) database(path)")
def collect(x, y, n, path):
    y[0] = x[0]


@hpacml.kernel
def collecting(x: Array, y: Array, path: Any):
    n = len(x)
    approx("tensor functor(id: [i] = ([i]))")
    with approx("ml(collect) in(id(x[0:n])) out(id(y[0:n])) database(path)"):
        for i in range(n):
            y[i] = x[i]


class Own(nn.Module):
    """A user's module around the layers of another one."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def cases(folder):
    """List the calls by their names; files go to `folder`."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 1)).eval()
    double = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 1)).double().eval()
    own, training = Own(double).eval(), nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 1)).double()
    kept, exported = str(folder / "net.safetensors"), str(folder / "net.pt2")
    for file in kept, exported:
        hpacml.save_model(double, file, example=torch.zeros(3, 5, dtype=torch.float64))
    x, y, row, one = np.ones(64), np.zeros(64), np.ones(5), np.zeros(1)
    row32, one32 = row.astype(np.float32), one.astype(np.float32)
    five = hpacml.functor("five: [i, 0:5] = ([i], [i], [i], [i], [i])")
    columns = {name: np.ones(64) for name in "abcde"}
    identity = nn.Identity()
    first, second, third = (str(folder / name) for name in ("region.h5", "kernel.h5", "predicated.h5"))
    return {
        "kernel, 2 arrays": lambda: add(x, y),
        "kernel, 2 arrays and a scalar": lambda: scale(x, y, 2.0),
        "kernel that predicates, body": lambda: predicated(x, y, False, identity, third),
        "kernel that predicates, model": lambda: predicated(x, y, True, identity, third),
        "packed map, nn.Identity": lambda: packed(x, y, 64, identity),
        "1 row, nn.Sequential, f32": lambda: infer(row32, one32, 1, net),
        "1 row, nn.Sequential, f64": lambda: infer(row, one, 1, double),
        "1 row, nn.Sequential in training": lambda: infer(row, one, 1, training),
        "1 row, a user's nn.Module": lambda: infer(row, one, 1, own),
        "1 row, .safetensors": lambda: infer(row, one, 1, kept),
        "1 row, .pt2": lambda: infer(row, one, 1, exported),
        "gather of 5 columns": lambda: five.gather(COLUMNS, **columns),
        "collected call of a region": lambda: collect(x, y, 64, first),
        "collected call of a kernel": lambda: collecting(x, y, second),
    }


def batches():
    """Seconds of one call of each case, in each of several batches; those of all cases take turns."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        calls = cases(Path(folder))
        counts = {name: count(call) for name, call in calls.items()}
        times = {name: [] for name in calls}
        for _ in range(BATCHES):
            for name, call in calls.items():
                times[name].append(batch(call, counts[name]))
        hpacml.flush()
        return times


def count(call):
    call()
    return max(1, int(SECONDS / batch(call, 20)))


def batch(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(trees):
    """Seconds of each case in each batch, by tree: processes of all trees take turns, so that all meet one noise."""
    found = {tree: {} for tree in trees}
    for _ in range(TURNS):
        for tree in trees:
            environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--batches"]
            told = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True).stdout
            for name, times in json.loads(told.splitlines()[-1]).items():
                found[tree].setdefault(name, []).extend(times)
    return found


def main(arguments):
    if arguments == ["--batches"]:
        print(json.dumps(batches()))
        return
    trees = [*(Path(each).resolve() for each in arguments), TREE]
    found = measure(trees)
    print(f"{'minimum and median, µs':34}" + "".join(f"{tree.name:>18}" for tree in trees))
    for name in found[TREE]:
        lows = [min(found[tree][name]) * 1e6 for tree in trees]
        middles = [median(found[tree][name]) * 1e6 for tree in trees]
        row = "".join(f"{low:9.2f}{middle:9.2f}" for low, middle in zip(lows, middles, strict=True))
        print(f"{name:34}{row}{lows[-1] / lows[0] - 1:+9.1%}{middles[-1] / middles[0] - 1:+9.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
