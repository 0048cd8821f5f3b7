"""Gathers on one thread: those of hpacml, the other ways to get the same tensor, and a copy of equal bytes."""

from functools import partial

import numpy as np
import torch

import hpacml

from .harness import Aim, compare

STENCIL = "stencil: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])"
COLUMNS = "columns: [i, 0:5] = ([i], [i], [i], [i], [i])"
BLOCK = "block: [i, 0:m] = ([i*m : i*m+m])"
ATOM = "atom: [i, 0:3] = ([i, 0:3])"

OURS = "hpacml"
COPY = "copy of equal bytes"


def measure(quick=False):
    """A comparison of each gather: into memory that is given, and into new memory unless it is to be `quick`."""
    torch.set_num_threads(1)
    for size in (514, 2050, 4098):
        yield from stencil(size, quick)
    for count in (1024, 1 << 20):
        yield from columns(count, quick)
    yield from blocks(1 << 16, 16, quick)
    yield from indirect(1_000_000, quick)


def stencil(size, quick=False):
    t = torch.rand(size, size)
    n, inner = size - 2, t.stride()
    # The views that HPAC-ML makes: one for each slice of the functor, with its features last.
    offsets = ((0, 1, 1), (2 * size, 1, 1), (size, 0, 3))
    views = [t.as_strided((n, n, width), (*inner, 1), row + column) for row, column, width in offsets]
    sides = [t.as_strided((n, n), inner, offset) for offset in (1, 2 * size + 1, size, size + 1, size + 2)]
    ours = bridge(STENCIL, "t[1:N-1, 1:M-1]", t=t, N=size, M=size)
    return gathers(f"5-point stencil, {size} x {size}, float32", {OURS: ours, **joins(views, sides)}, quick)


def columns(count, quick=False):
    arrays = [torch.rand(count, dtype=torch.float64) for _ in range(5)]
    names = dict(zip("abcde", arrays, strict=True))
    ours = bridge(COLUMNS, ", ".join(f"{name}[0:n]" for name in names), n=count, **names)
    return gathers(f"5 arrays of {count}, float64", {OURS: ours, **joins([a[:, None] for a in arrays], arrays)}, quick)


def blocks(count, width, quick=False):
    a = torch.rand(count * width)
    ours = bridge(BLOCK, "a[0:n]", a=a, n=count, m=width)
    # The one view that HPAC-ML would concatenate is the whole tensor already.
    others = joins([a.view(count, width)], list(a.view(count, width).T))
    return gathers(f"{count} blocks of {width}, float32", {OURS: ours, **others}, quick)


def indirect(count, quick=False):
    pos, idx = torch.rand(count, 3), torch.randint(count, (count,))
    target, names = "pos[idx[0:N], 0:3]", {"pos": pos, "idx": idx, "N": count}
    ways = {
        OURS: bridge(ATOM, target, **names),
        "hpacml, unchecked=True": bridge(ATOM, target, unchecked=True, **names),
        "torch.index_select": lambda out=None: torch.index_select(pos, 0, idx, out=out),
        "np.take": numpy(np.take, pos.numpy(), idx.numpy(), 0),
    }
    return gathers(f"{count} random rows of 3, float32, by int64 indices", ways, quick, dense=False)


def bridge(declaration, targets, **names):
    functor = hpacml.functor(declaration)
    return lambda out=None: functor.gather(targets, out=out, **names)


def joins(views, features):
    """The ways to join views of several features each, or of one."""
    return {
        "torch.cat of views": lambda out=None: torch.cat(views, -1, out=out),
        "torch.stack": lambda out=None: torch.stack(features, -1, out=out),
        "np.stack": numpy(np.stack, [feature.numpy() for feature in features], -1),
    }


def numpy(function, *args):
    """A function of NumPy as a way between tensors."""

    def way(out=None):
        result = function(*args, out=None if out is None else out.numpy())
        return torch.from_numpy(result) if out is None else out

    return way


def gathers(what, ways, quick, dense=True):
    """Compare ways, functions of `out=`. Rows by index have no aim: a copy reads its memory in order."""
    source = ways[OURS]().clone()  # whose memory is of the same kind as that of the others: pages of one size
    if quick and source.nbytes > 1e8:  # for which NumPy and stacks take most of the time
        ways = {name: way for name, way in ways.items() if "stack" not in name}
    ways = {**ways, COPY: lambda out=None: source.clone() if out is None else out.copy_(source)}
    for way in ways.values():
        assert torch.equal(way(), source)
        assert torch.equal(way(torch.empty_like(source)), source)
    what = f"{what}: {source.nbytes / 1e6:.2f} MB"
    given = {name: partial(way, torch.empty_like(source)) for name, way in ways.items()}
    within = {"to": COPY, "most": 1.05} if source.nbytes >= 1e6 else {"beyond": COPY, "most": 2e-6}
    aims = [Aim(f"gather: {what}, beside a copy", OURS, **within)] if dense else []
    yield compare(f"{what} into given memory", given, ours=OURS, floor=COPY, aims=aims)
    if not quick:
        yield compare(f"{what}, allocating", ways, ours=OURS, floor=COPY)
