"""A program with one region, whose quality of interest is known, and networks for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import hpacml

N = 500


@hpacml.region("""
    tensor functor(point: [i, 0:1] = ([i]))
    ml(infer) in(point(x[0:n])) out(point(y[0:n])) model(net) if(use)
""")
def square(x, y, n, net, use):
    y[:] = x * x


@hpacml.region(
    """
    tensor functor(point: [i, 0:1] = ([i]))
    ml(infer) in(point(x[0:n])) out(point(y[0:n])) model(net) if(use)
""",
    on_error="accurate",
)
def patient(x, y, n, net, use):
    y[:] = x * x


class Sine(nn.Module):
    """No layers that the compiled engine knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)


class Program:
    """Squares the numbers of a grid, and gives the array in which it always does."""

    def __init__(self, region=square):
        self.region = region
        self.x = np.linspace(0.1, 1, N)
        self.y = np.zeros(N)
        self.given = []

    def __call__(self, model):
        self.given.append(model)
        self.region(self.x, self.y, N, model, model is not None)
        return self.y

    @property
    def right(self):
        return self.x**2

    def predicted(self, net):
        with torch.no_grad():
            return net(torch.as_tensor(self.x)[:, None])[:, 0].numpy()
