"""A region whose network is compiled, against Torch's engine and against Torch by hand.

The region is a 5-point stencil of float32 with a network 5-64-32-1, on a million points and on few; options, of which
each is a point with five features of float64; and the fields of MiniWeather and the frames of ParticleFilter, which are
images, with networks of the paper.
"""

import ctypes
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import nn

import hpacml
from hpacml import approx

from .harness import ROUNDS, Aim, compare

OURS, TORCH, PAIR = "hpacml, compiled", "hpacml, Torch's engine", "hpacml, compiled, 2 threads"
BLOCKED, STACKED, JOINED = "by hand, blocked", "by hand, stack", "views and cat, as HPAC-ML"
COMPILE, ALONE = "by hand, torch.compile", "the module alone"
FLOOR, MATRIX = "tiles in C", "a matrix product of as many operations"

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


def joined(t, new, net):
    """HPAC-ML's way: one view for each slice of the functor, concatenated."""
    n, inner = t.shape[0] - 2, t.stride()
    places = ((0, 1, 1), (2, 1, 1), (1, 0, 3))
    views = [t.as_strided((n, n, width), (*inner, 1), i * inner[0] + j) for i, j, width in places]
    new[1:-1, 1:-1] = net(torch.cat(views, -1))[..., 0]


def on_threads(threads, call):
    def run():
        torch.set_num_threads(threads)
        call()
        torch.set_num_threads(1)

    return run


def stencils(n, count=ROUNDS, extra=None):
    """Compare ways on n x n points, among them those that `extra` makes of the arrays."""
    net = network(torch.float32)
    t = np.random.default_rng(1).random((n + 2, n + 2), np.float32)
    new, by_hand = np.zeros((2, n + 2, n + 2), np.float32)
    tensors = torch.from_numpy(t), torch.from_numpy(by_hand), net
    ways = {
        OURS: (with_engine("compiled", lambda: stencil(t, new, net)), new),
        TORCH: (with_engine("torch", lambda: stencil(t, new, net)), new),
        BLOCKED: (partial(blocked, *tensors), by_hand),
        STACKED: (partial(stacked, *tensors), by_hand),
        JOINED: (partial(joined, *tensors), by_hand),
    }
    aims, skipped = (), {}
    if extra is not None:
        more, skipped = extra(ways, t, net)
        ways |= more
        aims = million_aims()
    expected = torch.zeros(n + 2, n + 2)
    stacked(tensors[0], expected, net)
    for call, result in ways.values():
        result[:] = 0
        call()
        np.testing.assert_allclose(result[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=0, atol=1e-6)
    calls = {name: call for name, (call, _) in ways.items()}
    what = f"5-point stencil, {n} x {n}, network 5-64-32-1, float32"
    return compare(what, calls, ours=OURS, count=count, aims=aims, skipped=skipped)


def million(quick):
    """A million points, also on two threads, under `torch.compile`, and beside what the machine can do."""

    def extra(ways, t, net):
        by_hand, in_c = np.zeros((2, *t.shape), np.float32)
        skipped, call = {}, ways[OURS][0]
        more = {PAIR: (on_threads(2, call), ways[OURS][1])}
        if quick:
            skipped[COMPILE] = "it takes most of a minute to compile: 'make bench' measures it"
        else:
            compiled = torch.compile(stacked)
            more[COMPILE] = partial(compiled, torch.from_numpy(t), torch.from_numpy(by_hand), net), by_hand
        try:
            more[FLOOR] = tiles(t, in_c, net), in_c
        except (OSError, subprocess.CalledProcessError) as error:
            skipped[FLOOR] = str(error)
        return more, skipped

    return stencils(1024, 12 if quick else ROUNDS, extra)


def million_aims():
    name = "a million points, 5-64-32-1"
    return (
        Aim(f"{name}: blocked by hand / hpacml", BLOCKED, to=OURS, least=4 if is_wide() else 1.8),
        Aim(f"{name}: torch.compile / hpacml", COMPILE, to=OURS, least=8),
        Aim(f"{name}: hpacml / tiles in C", OURS, to=FLOOR, most=1.3),
        Aim(f"{name}: one thread / two", OURS, to=PAIR, least=1.8, clock="wall"),
    )


def tiles(t, new, net):
    """The same in C, by hand."""
    if not is_wide():
        raise OSError("it is written for AVX-512")
    source = Path(__file__).parent / "c" / "stencil_network.c"
    with tempfile.TemporaryDirectory(prefix="hpacml-bench-") as folder:
        library = Path(folder) / "stencil_network.so"
        subprocess.run(["cc", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", library], check=True)
        function = ctypes.CDLL(str(library)).stencil_network
    weights = []
    for layer in net[0], net[2], net[4]:
        blocks = layer.weight.numpy().reshape(-1, min(8, layer.out_features), layer.in_features)
        weights += [np.ascontiguousarray(blocks.transpose(0, 2, 1)), layer.bias.numpy()]

    def address(array):
        return ctypes.c_void_p(array.ctypes.data)

    def run():
        function(address(t), address(new), ctypes.c_long(len(t) - 2), *map(address, weights))

    return run


def is_wide():
    """Whether the machine has AVX-512."""
    info = Path("/proc/cpuinfo")
    return info.exists() and " avx512f" in info.read_text()


def prices(n):
    """Compare ways for n options."""
    net = network(torch.float64)
    x, price = np.random.default_rng(1).random((n, 5)), np.zeros(n)
    there = torch.from_numpy(x)
    calls = {
        OURS: with_engine("compiled", lambda: options(x, price, net)),
        TORCH: with_engine("torch", lambda: options(x, price, net)),
        ALONE: lambda: net(there),
    }
    aims = []
    if n == 10_000:
        side = round((n * (5 * 64 + 64 * 32 + 32)) ** (1 / 3))
        a, b, c = torch.rand(3, side, side, dtype=torch.float64)
        calls[MATRIX] = lambda: torch.mm(a, b, out=c)
        aims = [
            Aim(f"{n} options, 5-64-32-1 float64: the module alone / hpacml", ALONE, to=OURS, least=2.5),
            Aim("  or of the FLOP/s of a matrix product", MATRIX, to=OURS, least=0.65),
        ]
    return compare(f"{n} options, network 5-64-32-1, float64", calls, ours=OURS, aims=aims)


def images():
    """Compare ways for a time step of 100 x 50 cells, and for the 24 frames of a video."""
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
    calls = {
        OURS: with_engine("compiled", lambda: weather(state, after, step)),
        TORCH: with_engine("torch", lambda: weather(state, after, step)),
        ALONE: lambda: step(fields),
    }
    aims = [Aim("MiniWeather 4-4-4 k3: the module alone / hpacml", ALONE, to=OURS, least=3)]
    yield compare("MiniWeather, 100 x 50, convolutions 4-4-4", calls, ours=OURS, aims=aims)

    position = nn.Sequential(
        *(nn.Flatten(), nn.Unflatten(1, (1, 128, 128)), hpacml.Normalize(0.0, 255.0)),
        *(nn.Conv2d(1, 1, 6, 4, 1), nn.BatchNorm2d(1), nn.PReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.ReLU()),
        *(nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 2), hpacml.Normalize(0.0, 128.0, inverse=True)),
    )
    position.eval().requires_grad_(False)
    video = np.random.default_rng(1).integers(0, 256, (24, 128, 128), np.uint8)
    place, frames = np.zeros((24, 2), np.float32), torch.from_numpy(video)
    calls = {
        OURS: with_engine("compiled", lambda: track(video, place, position)),
        TORCH: with_engine("torch", lambda: track(video, place, position)),
        ALONE: lambda: position(frames.float()),
    }
    yield compare("ParticleFilter, 24 frames of bytes", calls, ours=OURS)


def measure(quick=False):
    torch.set_num_threads(1)
    with mock.patch.dict(os.environ):
        yield million(quick)
        yield from map(prices, (10_000,) if quick else (10_000, 1))
        if not quick:
            yield from map(stencils, (100, 8, 1))
        yield from images()
