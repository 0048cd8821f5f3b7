"""Gathers on one thread: the fused one of hpacml, the other ways to get the same tensor, and a copy of equal bytes."""

import numpy as np
import torch

import hpacml
from hpacml.runtime.memref import array_view

from . import medians

STENCIL = "stencil: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])"
COLUMNS = "columns: [i, 0:5] = ([i], [i], [i], [i], [i])"
BLOCK = "block: [i, 0:m] = ([i*m : i*m+m])"

OURS = "hpacml, into given memory"
CAT = "torch.cat of views, out="
COPY = "copy_ of equal bytes"


def measure():
    """The rows of the table: what is gathered, and the seconds of each way."""
    torch.set_num_threads(1)
    yield from (stencil(size) for size in (514, 2050, 4098))
    yield from (columns(count) for count in (1024, 1 << 20))
    yield blocks(1 << 16, 16)


def stencil(size):
    t = torch.rand(size, size)
    n, inner = size - 2, t.stride()
    # The views that HPAC-ML makes: one for each slice of the functor, with its features last.
    offsets = ((0, 1, 1), (2 * size, 1, 1), (size, 0, 3))
    views = [t.as_strided((n, n, width), (*inner, 1), row + column) for row, column, width in offsets]
    sides = [t.as_strided((n, n), inner, offset) for offset in (1, 2 * size + 1, size, size + 1, size + 2)]
    bridge = hpacml.functor(STENCIL), "t[1:N-1, 1:M-1]", {"t": t, "N": size, "M": size}
    return compare(f"5-point stencil, {size} x {size}, float32", bridge, views, sides)


def columns(count):
    arrays = [torch.rand(count, dtype=torch.float64) for _ in range(5)]
    names = dict(zip("abcde", arrays, strict=True))
    target = ", ".join(f"{name}[0:n]" for name in names)
    bridge = hpacml.functor(COLUMNS), target, {**names, "n": count}
    return compare(f"5 arrays of {count}, float64", bridge, [a[:, None] for a in arrays], arrays)


def blocks(count, width):
    a = torch.rand(count * width)
    bridge = hpacml.functor(BLOCK), "a[0:n]", {"a": a, "n": count, "m": width}
    parts = list(a.view(count, width).T)
    # The one view that HPAC-ML would concatenate is the whole tensor already.
    return compare(f"{count} blocks of {width}, float32", bridge, [a.view(count, width)], parts)


def compare(what, bridge, views, features):
    functor, targets, names = bridge
    numpy_features = [feature.numpy() for feature in features]
    expected = torch.stack(features, -1)
    assert torch.equal(functor.gather(targets, **names), expected)
    assert torch.equal(torch.cat(views, -1), expected)
    out, cat_out, stack_out, source, copy = (torch.empty_like(expected) for _ in range(5))
    source.fill_(1.0)
    numpy_out = np.empty_like(expected.numpy())
    bound = functor._bind(targets, "to", names)
    view = array_view(out, "tensor")
    seconds = medians(
        {
            OURS: lambda: bound.run(view),
            "hpacml, .gather(): binds, allocates": lambda: functor.gather(targets, **names),
            CAT: lambda: torch.cat(views, -1, out=cat_out),
            "torch.cat of views, allocates": lambda: torch.cat(views, -1),
            "torch.stack, out=": lambda: torch.stack(features, -1, out=stack_out),
            "torch.stack, allocates": lambda: torch.stack(features, -1),
            "np.stack, out=": lambda: np.stack(numpy_features, -1, out=numpy_out),
            "np.stack, allocates": lambda: np.stack(numpy_features, -1),
            COPY: lambda: copy.copy_(source),
        }
    )
    assert torch.equal(out, expected)
    return {"what": what, "bytes": expected.nbytes, "seconds": seconds}
