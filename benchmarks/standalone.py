"""Libraries that stand alone, called by addresses, against the engine in this process, on one thread.

The region is a 5-point stencil of float32 with a network 5-64-32-1, on a million points and on a few.
"""

import ctypes
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float32

import hpacml
from hpacml import approx
from hpacml.embedding import processors

from .harness import ROUNDS, Aim, compare
from .network import is_wide, network

ENGINE, NATIVE, LIBRARY = "the engine in this process", "standalone, native", "standalone, {}"

Grid = Float32[np.ndarray, "N M"]


@hpacml.kernel
def stencil(t: Grid, new: Grid):
    N, M = t.shape  # noqa: RUF059 (the directives use them)
    approx("tensor functor(five: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]))")
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    with approx("ml(infer) in(five(t[1:N-1, 1:M-1])) out(one(new[1:N-1, 1:M-1])) label('stencil')"):
        new[1:-1, 1:-1] = t[1:-1, 1:-1]


def caller(path, t, new):
    """A call of the library's function, as a program in C does it."""
    function = ctypes.CDLL(str(path)).stencil
    sizes = (ctypes.c_int64 * 2)(*t.shape)
    memory = [(ctypes.c_float * each.size).from_buffer(each) for each in (t, new)]  # which lives as long as the call

    def call():
        if (status := function(memory[0], sizes, None, memory[1], sizes, None)) != 0:
            raise RuntimeError(f"the library returned {status}")

    return call


@contextmanager
def libraries():
    """Libraries for this processor and for others that it runs, by their names."""
    with tempfile.TemporaryDirectory(prefix="hpacml-bench-") as folder:
        model = Path(folder, "network.safetensors")
        hpacml.save_model(network(torch.float32), model, example=torch.zeros(3, 5))
        with mock.patch.dict(os.environ, SURROGATE_MODEL=str(model), HPACML_ENGINE="compiled"):
            kinds = ["native", *(["x86-64-v3"] if "x86-64-v3" in processors.names() else [])]
            kinds += ["x86-64-v4"] if is_wide() else []
            paths = {kind: Path(folder, f"{kind}.so") for kind in kinds}
            for kind, path in paths.items():
                hpacml.build(stencil, path, cpu=kind, standalone=model)
            yield {LIBRARY.format(kind): path for kind, path in paths.items()}


def stencils(n, paths, count):
    """Compare ways on n x n points."""
    t = np.random.default_rng(1).random((n + 2, n + 2), np.float32)
    expected = np.zeros_like(t)
    stencil(t, expected)
    calls = {ENGINE: lambda: stencil(t, expected)}
    for name, path in paths.items():
        new = np.zeros_like(t)
        calls[name] = caller(path, t, new)
        calls[name]()
        np.testing.assert_allclose(new, expected, rtol=0, atol=1e-6)
    name = f"{n * n} points, 5-64-32-1: standalone / the engine"
    aims = [Aim(name, NATIVE, to=ENGINE, most=1.05)] if n > 1000 else []
    return compare(
        f"5-point stencil, {n} x {n}, network 5-64-32-1, float32", calls, ours=NATIVE, count=count, aims=aims
    )


def measure(quick=False):
    if shutil.which("cc") is None:
        return
    torch.set_num_threads(1)
    with libraries() as paths:
        for n in (1024,) if quick else (1024, 100, 8):
            yield stencils(n, paths, 12 if quick else ROUNDS)
