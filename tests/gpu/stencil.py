"""A heat equation as a region, for tests: its directives, its original code and what its model gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import hpacml

MAPS = """
    tensor functor(five: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))
    tensor functor(one: [i, j, 0:1] = ([i, j]))
"""
CLAUSES = "in(five(t[1:n-1, 1:m-1])) out(one(new[1:n-1, 1:m-1]))"
PREDICATED = f'ml(predicated: use_model) {CLAUSES} model(net) database("heat.h5") label("heat")'

Grid = np.ndarray[Any, Any]
Body = Callable[[Any, Any], None]


def region(body: Body, ml: str = PREDICATED, **options: Any) -> Any:
    """The region `heat(t, new, n, m, net, use_model=True)` with this original code."""

    @hpacml.region(MAPS + ml, **options)
    def heat(t: Any, new: Any, n: int, m: int, net: Any, use_model: bool = True) -> None:
        body(t, new)

    return heat


def refuse(t: Any, new: Any) -> None:
    raise AssertionError("the model runs")


def features(t: Grid) -> torch.Tensor:
    return torch.from_numpy(np.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], -1))


def inferred(t: Grid, new: Grid, net: torch.nn.Module) -> Grid:
    """What is in `new` after the model has run."""
    result = new.copy()
    with torch.inference_mode():
        result[1:-1, 1:-1] = net(features(t))[..., 0].numpy()
    return result


def averaged(t: Grid, new: Grid) -> None:
    new[1:-1, 1:-1] = features(t).numpy().mean(-1)


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).eval()


def grids(n: int = 9, m: int = 11) -> tuple[Grid, Grid]:
    random = np.random.default_rng(n * m)
    return random.random((n, m), np.float32), random.random((n, m), np.float32)
