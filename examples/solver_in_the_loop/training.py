"""The training: of single steps, or through several steps of the solver."""

import torch

import hpacml

from .burgers import Correction, simulate


def train(states, unroll, rows, iterations, seed=0):
    """Train a correction on true `states`, float[trajectories, steps + 1, n], through `unroll` steps of the solver.

    Each iteration takes `rows` stretches of so many steps, by chance, and the loss is the mean square error of all of
    their states. Returns the network.
    """
    net = Correction(seed)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    generator = torch.Generator().manual_seed(seed)
    trajectories, times, _ = states.shape
    for _ in range(iterations):
        which = torch.randint(trajectories, (rows,), generator=generator)
        start = torch.randint(times - unroll, (rows,), generator=generator)
        stretch = states[which[:, None], start[:, None] + torch.arange(unroll + 1)]
        with hpacml.differentiable():
            found = simulate(stretch[:, 0], unroll, net)
        loss = ((found - stretch[:, 1:]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return net


def errors(states, net=None):
    """The root mean square error of all cells of all trajectories after 1, 2, ... steps, float[steps]."""
    with torch.no_grad():
        found = simulate(states[:, 0].clone(), states.shape[1] - 1, net)
    return ((found - states[:, 1:]) ** 2).mean((0, 2)).sqrt()
