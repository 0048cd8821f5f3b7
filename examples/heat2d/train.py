"""The training: an ordinary Torch script from the file heat.h5 to the file heat.pt2."""

import torch
from torch import nn

import hpacml


class Surrogate(nn.Module):
    """A point and its four neighbours to the point one step later: float[..., 5] to float[..., 1]."""

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", scale)
        self.net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x):
        centre = x[..., 3:4]
        return centre + self.scale * self.net((x - centre) / self.scale)


def train(epochs=5, batch=1024, rate=1e-2):
    """Fit a network to all recorded points, and write it."""
    torch.manual_seed(0)
    with hpacml.open_database("heat.h5") as database:
        maps = database["heat"].maps
        x, y = database["heat"].dataset(rows="points")[:]
    model = Surrogate((x - x[:, 3:4]).std())
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    batches = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            error = (model(x[rows]) - y[rows]) / model.scale
            optimizer.zero_grad()
            error.square().mean().backward()
            optimizer.step()
            schedule.step()
    hpacml.save_model(model, "heat.pt2", example=x[:4].reshape(2, 2, 5), maps=maps)
