"""What `guard(range)` adds to a region on one thread, against the same guard by hand: a mask, index arrays, two calls.

The region is a 5-point stencil of float32 with a network 5-64-32-1, and where a guard rejects points, a Jacobi step.
Nothing that guards an array does less than read it: a copy of the array is the floor.
"""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float32

import hpacml
from hpacml import approx

from .harness import ROUNDS, Aim, compare
from .network import network, slices, with_engine

OURS, PLAIN = "guard(range)", "without a guard"
TESTED, BY_HAND, BLOCKED = "by hand, all or nothing", "by hand", "by hand, blocked"
COPY = "copy of the array"

BLOCK = 4096
"""The points for which activations by hand stay in the cache."""

Grid = Float32[np.ndarray, "N M"]


@hpacml.kernel
def plain(t: Grid, new: Grid, net: Any):
    N, M = t.shape
    approx("tensor functor(five: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]))")
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    with approx("ml(infer) in(five(t[1:N-1, 1:M-1])) out(one(new[1:N-1, 1:M-1])) model(net) label('plain')"):
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = np.float32(0.25) * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1])


@hpacml.kernel
def guarded(t: Grid, new: Grid, net: Any):
    N, M = t.shape
    approx("tensor functor(five: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]))")
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    with approx(
        "ml(infer) in(five(t[1:N-1, 1:M-1])) out(one(new[1:N-1, 1:M-1])) model(net) guard(range) label('guarded')"
    ):
        for i in range(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = np.float32(0.25) * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1])


def by_hand(t, new, net, low, high):
    """A mask of the points within the ranges, their indices, the network for these, and the original for the others."""
    n, m = t.shape[0] - 2, t.shape[1] - 2
    x = torch.stack(slices(t), -1).reshape(n * m, 5)
    within = ((x >= low) & (x <= high)).all(-1)
    made = torch.empty(n * m)
    good, bad = within.nonzero().squeeze(1), (~within).nonzero().squeeze(1)
    made[good] = net(x[good])[:, 0]
    made[bad] = 0.25 * x[bad][:, [0, 1, 2, 4]].sum(-1)
    new[1:-1, 1:-1] = made.view(n, m)


def blocked(t, new, *model):
    """The same for rows of some thousand points at a time."""
    rows = max(1, BLOCK // t.shape[1])
    for first in range(1, t.shape[0] - 1, rows):
        last = min(first + rows, t.shape[0] - 1)
        by_hand(t[first - 1 : last + 1], new[first - 1 : last + 1], *model)


def tested(t, new, path):
    """The least that one writes: the region without a guard, if all points of the call are within the ranges."""
    if not all((view >= 0).all() and (view <= 1).all() for view in slices(t)):
        raise ValueError("a point is not")
    plain(t, new, path)


def stencils(n, path, net, engine="compiled", rejected=0.0, aims=(), quick=False):
    """Compare ways on n x n points, of which a part leaves the range of [0, 1]."""
    rng = np.random.default_rng(1)
    t = rng.random((n + 2, n + 2), np.float32)
    t[rng.random(t.shape) < rejected / 5] = 1.5  # five points have an element
    new, unguarded, hand, in_blocks = np.zeros((4, *t.shape), np.float32)
    there, ends = torch.from_numpy(t), (torch.zeros(5), torch.ones(5))
    copied = torch.empty_like(there)
    ways = {
        OURS: (with_engine(engine, partial(guarded, t, new, path)), new),
        PLAIN: (with_engine(engine, partial(plain, t, unguarded, path)), unguarded),
        BLOCKED: (partial(blocked, there, torch.from_numpy(in_blocks), net, *ends), in_blocks),
    }
    if not quick:
        ways[BY_HAND] = partial(by_hand, there, torch.from_numpy(hand), net, *ends), hand
    if not rejected:
        ways[TESTED] = with_engine(engine, partial(tested, t, unguarded, path)), unguarded
    expected = torch.zeros(n + 2, n + 2)
    by_hand(there, expected, net, *ends)
    for name, (call, result) in ways.items():
        call()
        if name is not PLAIN or not rejected:
            np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    calls = {name: call for name, (call, _) in ways.items()}
    calls[COPY] = partial(copied.copy_, there)
    what = f"guard(range), {n} x {n}, 5-64-32-1, {engine}, {rejected:.0%} of the points rejected"
    return compare(what, calls, ours=OURS, floor=COPY, count=12 if quick or engine == "torch" else ROUNDS, aims=aims)


def measure(quick=False):
    torch.set_num_threads(1)
    net = network(torch.float32)
    ends = torch.tensor([0.0, 1.0]).reshape(2, 1, 1).expand(2, 1, 5)
    with tempfile.TemporaryDirectory(prefix="hpacml-bench-") as folder, mock.patch.dict(os.environ):
        path = str(Path(folder) / "stencil.pt2")
        hpacml.save_model(net, path, example=(torch.rand(4, 4, 5),), domain=(ends,))
        cost = Aim("guard(range) on a million points, 5-64-32-1: with / without", OURS, to=PLAIN, most=1.05)
        gain = Aim("  with 10 % rejected: by hand in blocks / guard(range)", BLOCKED, to=OURS, least=1)
        yield stencils(1024, path, net, aims=(cost,), quick=quick)
        yield stencils(1024, path, net, rejected=0.1, aims=(gain,), quick=quick)
        yield stencils(8, path, net, quick=quick)
        if not quick:
            yield stencils(1024, path, net, engine="torch")
            yield stencils(100, path, net)
