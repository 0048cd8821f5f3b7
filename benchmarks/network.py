"""`python -m benchmarks.network`: a region whose network is compiled, against Torch's engine and against Torch by hand.

The region is a 5-point stencil of float32 with a network 5-64-32-1, on a million points and on few; options, of which
each is a point with five features of float64; and the fields of MiniWeather and the frames of ParticleFilter, which are
images, with networks of the paper.
"""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from rich.console import Console
from rich.table import Table
from torch import nn

import hpacml
from hpacml import approx

from . import medians, show

FLOOR = Path(__file__).parents[2] / "shared" / "tile_network.c"
"""The same by hand in C for AVX-512, where there is such a file."""

BLOCK = 4096

Grid = Float32[np.ndarray, "N M"]
Table5 = Float64[np.ndarray, "N 5"]
Vector = Float64[np.ndarray, "N"]
Fields = Float32[np.ndarray, "4 H W"]
Frames = UInt8[np.ndarray, "N H W"]
Places = Float32[np.ndarray, "N 2"]


@hpacml.kernel
def stencil(t: Grid, new: Grid, net: Any):
    N, M = t.shape  # noqa: RUF059 (the directives use them)
    approx("tensor functor(five: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]))")
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    with approx("ml(infer) in(five(t[1:N-1, 1:M-1])) out(one(new[1:N-1, 1:M-1])) model(net) label('stencil')"):
        new[1:-1, 1:-1] = t[1:-1, 1:-1]


@hpacml.kernel
def options(x: Table5, price: Vector, net: Any):
    N = len(x)  # noqa: F841
    approx("tensor functor(five: [i, 0:5] = ([i, 0:5])) tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(five(x[0:N, 0:5])) out(one(price[0:N])) model(net) label('options')"):
        price[:] = x[:, 0]


@hpacml.kernel
def weather(state: Fields, after: Fields, net: Any):
    _, H, W = state.shape  # noqa: RUF059 (the directives use them)
    approx("tensor functor(fields: [0:4, i, j] = ([0:4, i, j]))")
    with approx(
        "ml(infer) in(fields(state[0:4, 0:H, 0:W])) out(fields(after[0:4, 0:H, 0:W])) model(net) label('weather')"
    ):
        after[:] = state


@hpacml.kernel
def track(video: Frames, place: Places, net: Any):
    N, H, W = video.shape  # noqa: RUF059 (the directives use them)
    approx("tensor functor(frames: [i, j, k, 0:1] = ([i, j, k])) tensor functor(places: [i, 0:2] = ([i, 0:2]))")
    with approx("ml(infer) in(frames(video[0:N, 0:H, 0:W])) out(places(place[0:N, 0:2])) model(net) label('track')"):
        place[:] = 0


def network(dtype):
    torch.manual_seed(0)
    layers = nn.Linear(5, 64), nn.LeakyReLU(0.01), nn.Linear(64, 32), nn.LeakyReLU(0.01), nn.Linear(32, 1)
    return nn.Sequential(*layers).to(dtype).eval().requires_grad_(False)


def with_engine(engine, call):
    def run():
        os.environ["HPACML_ENGINE"] = engine
        call()

    return run


def slices(t):
    return t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]


def stacked(t, new, net):
    new[1:-1, 1:-1] = net(torch.stack(slices(t), -1))[..., 0]


def blocked(t, new, net):
    """What one writes to keep activations in the cache: rows for some thousand points at a time."""
    rows = max(1, BLOCK // t.shape[1])
    for first in range(1, t.shape[0] - 1, rows):
        last = min(first + rows, t.shape[0] - 1)
        part = t[first - 1 : last + 1]
        new[first:last, 1:-1] = net(torch.stack(slices(part), -1))[..., 0]


def stencils(n):
    """Seconds of each on n x n points."""
    net = network(torch.float32)
    t = np.random.default_rng(1).random((n + 2, n + 2), np.float32)
    new, there = np.zeros_like(t), torch.from_numpy(t)
    by_hand = torch.zeros(n + 2, n + 2)
    calls = {
        "compiled": with_engine("compiled", lambda: stencil(t, new, net)),
        "hpacml with Torch": with_engine("torch", lambda: stencil(t, new, net)),
        "by hand, blocked": lambda: blocked(there, by_hand, net),
        "by hand, stack": lambda: stacked(there, by_hand, net),
    }
    seconds = medians(calls, budget=8)
    calls["compiled"]()
    stacked(there, by_hand, net)
    np.testing.assert_allclose(new[1:-1, 1:-1], by_hand[1:-1, 1:-1], rtol=0, atol=1e-6)
    return seconds


def tables(n):
    """Seconds of each for n options."""
    net = network(torch.float64)
    x, price = np.random.default_rng(1).random((n, 5)), np.zeros(n)
    there = torch.from_numpy(x)
    return medians(
        {
            "compiled": with_engine("compiled", lambda: options(x, price, net)),
            "hpacml with Torch": with_engine("torch", lambda: options(x, price, net)),
            "the module alone": lambda: net(there),
        },
        budget=4,
    )


def images():
    """Seconds of each for a time step of 100 x 50 cells, and for the 24 frames of a video."""
    torch.manual_seed(0)
    convolutions = [
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.LeakyReLU(),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.LeakyReLU(),
    ]
    step = nn.Sequential(*convolutions).eval().requires_grad_(False)
    state = np.random.default_rng(1).random((4, 50, 100), np.float32)
    after, fields = np.zeros_like(state), torch.from_numpy(state)
    position = nn.Sequential(
        *(nn.Flatten(), nn.Unflatten(1, (1, 128, 128)), hpacml.Normalize(0.0, 255.0)),
        *(nn.Conv2d(1, 1, 6, 4, 1), nn.BatchNorm2d(1), nn.PReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.ReLU()),
        *(nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 2), hpacml.Normalize(0.0, 128.0, inverse=True)),
    )
    position.eval().requires_grad_(False)
    video = np.random.default_rng(1).integers(0, 256, (24, 128, 128), np.uint8)
    place, frames = np.zeros((24, 2), np.float32), torch.from_numpy(video)
    return {
        "MiniWeather, 100 x 50": medians(
            {
                "compiled": with_engine("compiled", lambda: weather(state, after, step)),
                "hpacml with Torch": with_engine("torch", lambda: weather(state, after, step)),
                "the module alone": lambda: step(fields),
            }
        ),
        "ParticleFilter, 24 frames": medians(
            {
                "compiled": with_engine("compiled", lambda: track(video, place, position)),
                "hpacml with Torch": with_engine("torch", lambda: track(video, place, position)),
                "the module alone": lambda: position(frames.float()),
            }
        ),
    }


def floor():
    """What the floor in C says of itself, None without a compiler or the file."""
    if not FLOOR.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/tile"
        command = ["cc", "-O3", "-march=native", "-DB=128", FLOOR, "-o", program]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        return subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()


def main():
    console = Console()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        table = Table(f"{threads} thread{'s' * (threads > 1)}", "")
        for column in ("time", "/ compiled"):
            table.add_column(column, justify="right")
        rows = {f"stencil, {n} x {n}": stencils(n) for n in (1024, 100, 8, 1)}
        rows |= {f"options, {n}": tables(n) for n in (10_000, 1)}
        rows |= images()
        for what, seconds in rows.items():
            for name, value in seconds.items():
                label = what if name == "compiled" else ""
                table.add_row(label, name, show(value), f"{value / seconds['compiled']:.2f}")
            table.add_section()
        console.print(table)
    if found := floor():
        console.print(f"in C: {found}", highlight=False)


if __name__ == "__main__":
    main()
