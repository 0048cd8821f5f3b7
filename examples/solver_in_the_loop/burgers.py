"""The solver: Burgers' equation with viscosity on a ring, `u_t + (u^2 / 2)_x = nu u_xx`, by finite volumes.

The fine grid gives the truth. A step of the coarse one takes as long as many fine steps, and smears fronts out, which
the network of the region `correct` mends by what else flows from cell to cell, so that nothing gets lost.
"""

import math

import torch

import hpacml

COARSE = 32
"""Cells of the coarse grid."""
FINER = 16
"""How many fine cells there are in a coarse one, and fine steps in a coarse step."""
LENGTH = 2 * math.pi
STEP = 0.05
"""The time of a coarse step."""
VISCOSITY = 0.01


@hpacml.region("""
    tensor functor(window: [b, i, 0:6] = ([b, i-3 : i+3]))
    tensor functor(face: [b, i, 0:1] = ([b, i]))
    ml(infer) in(window(ring[0:rows, 3:n+3])) out(face(flux[0:rows, 0:n])) model(net)
""")
def correct(ring, flux, rows, n, net):
    """What else flows into each cell from its left, float[rows, n]; `ring` has three more cells at each end."""


class Correction(torch.nn.Module):
    """What else flows through a face, from the cells around it; nothing before it is trained."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        last = torch.nn.Linear(16, 1)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh(), last
        )

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        return self.mlp(window)


def step(u, dt, dx):
    """A step of a first-order scheme (Rusanov's flux), float[rows, cells]."""
    right = torch.roll(u, -1, -1)
    speed = torch.maximum(u.abs(), right.abs())
    flux = (u * u + right * right) / 4 - speed * (right - u) / 2 - VISCOSITY * (right - u) / dx
    return u - dt / dx * (flux - torch.roll(flux, 1, -1))


def simulate(u, steps, net=None):
    """The states after 1 to `steps` coarse steps, float[rows, steps, n], corrected by the network, if there is one."""
    states = []
    rows, n = u.shape
    for _ in range(steps):
        u = step(u, STEP, LENGTH / n)
        if net is not None:
            flux = torch.zeros_like(u)
            correct(torch.cat([u[:, -3:], u, u[:, :3]], 1), flux, rows, n, net)
            u = u + flux - torch.roll(flux, -1, -1)
        states.append(u)
    return torch.stack(states, 1)


def truth(rows, steps, seed):
    """Averages over coarse cells of fine solutions from random states, float32[rows, steps + 1, COARSE]."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.arange(COARSE * FINER) + 0.5) * LENGTH / (COARSE * FINER)
    waves = torch.arange(1, 4)[:, None]
    size = torch.randn(rows, 3, 1, generator=generator) / waves
    size = size / size.abs().sum(1, keepdim=True)  # so that no state is beyond what a training has seen
    phase = LENGTH * torch.rand(rows, 3, 1, generator=generator)
    u = 0.5 + (size * torch.sin(waves * x + phase)).sum(1)
    states = [u]
    for _ in range(steps):
        for _ in range(FINER):
            u = step(u, STEP / FINER, LENGTH / (COARSE * FINER))
        states.append(u)
    return torch.stack(states, 1).unflatten(-1, (COARSE, FINER)).mean(-1)
