"""The cost of calls: `python -m benchmarks.calls [OLD_TREE [CASE ...]]` compares this tree with another one.

A process of each tree takes a batch of calls in turn with the other's, so that both meet the same noise, and the ratio
of two batches is one of times that are a millisecond apart. Several pairs of processes tell chance in one of them, such
as where its memory lies, from the code.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

import hpacml
from hpacml import approx

try:
    import numba
except ImportError:
    numba = None

TREE = Path(__file__).parents[1]
PAIRS = 5
ROUNDS = 100
SECONDS = 0.001
"""How long a batch of calls takes."""

Array = Float64[np.ndarray, "n"]
ROW = """
    tensor functor(row: [i, 0:5] = ([5*i:5*i+5]))
    tensor functor(one: [i, 0:1] = ([i]))
"""
COLUMNS = "a[0:64], b[0:64], c[0:64], d[0:64], e[0:64]"


@hpacml.kernel
def empty(x: Array):
    pass


if numba is not None:
    numba_empty = numba.njit(empty.py_func)


@hpacml.kernel
def total(x: Array):
    found = 0.0
    for i in range(len(x)):
        found += x[i]
    return found


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
    y[0] = y[0] + x[0]


@hpacml.region("tensor functor(id: [i] = ([i]))\n ml(infer) in(id(x[0:n])) out(id(y[0:n])) model(net) if(use)")
def original(x, y, n, use, net):
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
    tensors = [torch.ones(64, dtype=torch.float64) for _ in range(2)]
    many, ones, source, target = np.ones(5000), np.zeros(1000), np.ones(100000), np.zeros(100000)
    row32, one32 = row.astype(np.float32), one.astype(np.float32)
    five = hpacml.functor("five: [i, 0:5] = ([i], [i], [i], [i], [i])")
    columns = {name: np.ones(64) for name in "abcde"}
    rows = hpacml.functor("rows: [i, 0:3] = ([i, 0:3])")
    table, packed_rows = np.ones((20000, 3)), np.ones((20000, 3))
    order = np.random.default_rng(0).permutation(20000)

    def by_index(door, n, tensor):
        indices, tensor = order[:n].copy(), tensor[:n]
        if door == "gather":
            return lambda: rows.gather("table[idx[0:n], 0:3]", table=table, idx=indices, n=n, out=tensor)
        return lambda: rows.scatter(tensor, "table[idx[0:n], 0:3]", table=table, idx=indices, n=n)

    identity = nn.Identity()
    first, second, third = (str(folder / name) for name in ("region.h5", "kernel.h5", "predicated.h5"))
    return {
        "kernel, 1 array, empty": lambda: empty(x),
        **({} if numba is None else {"the same of numba": lambda: numba_empty(x)}),
        "kernel, 1 array, returns a number": lambda: total(x),
        "kernel, 2 arrays": lambda: add(x, y),
        "kernel, 2 Torch tensors": lambda: add(*tensors),
        "kernel, 2 arrays and a scalar": lambda: scale(x, y, 2.0),
        "kernel that predicates, body": lambda: predicated(x, y, False, identity, third),
        "kernel that predicates, model": lambda: predicated(x, y, True, identity, third),
        "packed map, nn.Identity": lambda: packed(x, y, 64, identity),
        "1 row, nn.Sequential, f32": lambda: infer(row32, one32, 1, net),
        "1 row, nn.Sequential, f64": lambda: infer(row, one, 1, double),
        "1 row, nn.Sequential in training": lambda: infer(row, one, 1, training),
        "1 row, a user's nn.Module": lambda: infer(row, one, 1, own),
        "1 row, Torch tensors": lambda: infer(tensors[0][:5], tensors[1][:1], 1, double),
        "1000 rows, nn.Sequential": lambda: infer(many, ones, 1000, double),
        "1000 rows, a user's nn.Module": lambda: infer(many, ones, 1000, own),
        "100000 packed numbers, nn.Identity": lambda: packed(source, target, 100000, identity),
        "1 row, .safetensors": lambda: infer(row, one, 1, kept),
        "1 row, .pt2": lambda: infer(row, one, 1, exported),
        "gather of 5 columns": lambda: five.gather(COLUMNS, **columns),
        "the same by np.stack": lambda: np.stack(list(columns.values()), 1),
        **{
            f"{door} of {n} rows by index": by_index(door, n, packed_rows)
            for door in ("gather", "scatter")
            for n in (10, 100, 1000, 20000)
        },
        "region, its original code": lambda: original(x, y, 64, False, identity),
        "collected call of a region": lambda: collect(x, y, 64, first),
        "collected call of a kernel": lambda: collecting(x, y, second),
    }


def serve():
    """Answer each name of a case on standard input with the seconds of one call of it in a batch."""
    torch.set_num_threads(1)
    answers = sys.stdout
    sys.stdout = sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        calls = cases(Path(folder))
        print(json.dumps(list(calls)), file=answers, flush=True)
        counts = {}
        for line in sys.stdin:
            name = line.strip()
            if name not in counts:
                counts[name] = count(calls[name])
            print(batch(calls[name], counts[name]), file=answers, flush=True)
        hpacml.flush()


def count(call):
    for _ in range(3):
        call()
    return max(1, int(SECONDS / min(batch(call, 10) for _ in range(5))))


def batch(call, repeats):
    call()  # which has the processor's caches meet it again
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


class Worker:
    """A process that runs the cases with one tree."""

    def __init__(self, tree):
        environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--serve"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=environment, cwd="/", stdin=pipe, stdout=pipe, text=True)
        self.names = json.loads(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(60)

    def seconds(self, name):
        print(name, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def measure(trees, chosen):
    """Seconds of one call of each case: a list of rounds, which have one number for each tree."""
    found = {}
    for _ in range(PAIRS):
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(tree)) for tree in trees]
            names = [name for name in workers[-1].names if not chosen or any(each in name for each in chosen)]
            for number in range(ROUNDS + 1):
                for name in names:
                    turns = workers if number % 2 else workers[::-1]
                    times = {worker: worker.seconds(name) for worker in turns}
                    if number:  # the first one compiles
                        found.setdefault(name, []).append([times[worker] for worker in workers])
    return found


def main(arguments):
    if arguments == ["--serve"]:
        serve()
        return
    trees = [*(Path(tree).resolve() for tree in arguments[:1]), TREE]
    heads = ["old, µs", "new, µs", "ratio", "of rounds"] if len(trees) == 2 else ["µs"]
    print(f"{'':38}" + "".join(f"{head:>10}" for head in heads))
    for name, rounds in measure(trees, arguments[1:]).items():
        lows = [low(times) for times in zip(*rounds, strict=True)]
        row = "".join(f"{each * 1e6:10.2f}" for each in lows)
        if len(trees) == 2:
            row += f"{lows[1] / lows[0]:10.3f}{median(new / old for old, new in rounds):10.3f}"
        print(f"{name:38}{row}")


def low(times):
    """The time that a tenth of the batches take at most, which knows less of other programs than the median."""
    return sorted(times)[len(times) // 10]


if __name__ == "__main__":
    main(sys.argv[1:])
