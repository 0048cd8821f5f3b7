"""The training: an ordinary Torch script between the database and the model file."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

import hpacml


class Surrogate(nn.Module):
    """Features float[n, 5] to prices float[n, 1], by a network that works on the ranges of its data `x`, `y`."""

    def __init__(self, x, y):
        super().__init__()
        self.register_buffer("low", x.amin(0))
        self.register_buffer("range", x.amax(0) - x.amin(0))
        self.register_buffer("top", y.amax())
        self.net = nn.Sequential(nn.Linear(5, 64), nn.LeakyReLU(), nn.Linear(64, 32), nn.LeakyReLU(), nn.Linear(32, 1))

    def forward(self, x):
        y = self.top * self.net((x - self.low) / self.range)
        # No price is negative. In training a clamp would stop the gradients of all that are.
        return y if self.training else y.clamp(min=0.0)


def load(database):
    """The inputs and outputs of all recorded options, float32[n, 5] and float32[n, 1], and their maps."""
    with hpacml.open_database(database) as data:
        region = data["binomial"]
        return *region.dataset(rows="points", dtype=torch.float32)[:], region.maps


def train(database, path, epochs, batch=256, rate=1e-2):
    """Fit a network to the database and write it to `path`. Yields the RMSE in each epoch."""
    torch.manual_seed(0)
    x, y, maps = load(database)
    model = Surrogate(x, y)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-4, fused=True)
    batches = -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=batches)
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            loss = mse_loss(model(x[rows]) / model.top, y[rows] / model.top)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        yield (total / len(x)) ** 0.5 * model.top.item()
    hpacml.save_model(model, path, example=x[:2], maps=maps)
