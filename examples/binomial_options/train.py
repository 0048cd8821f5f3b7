"""The training: an ordinary Torch script from the recorded data to a model file."""

import h5py
import torch
from torch import nn
from torch.nn import functional as F

import hpacml


class Surrogate(nn.Module):
    """A small network between the ranges of inputs and outputs that were seen: float[n, 5] to float[n, 1]."""

    def __init__(self, x, y, hidden=(64, 32)):
        super().__init__()
        self.register_buffer("low", x.amin(0))
        self.register_buffer("span", x.amax(0) - x.amin(0))
        self.register_buffer("top", y.amax())
        widths = (x.shape[1], *hidden)
        layers = [(nn.Linear(a, b), nn.LeakyReLU()) for a, b in zip(widths, hidden, strict=False)]
        self.net = nn.Sequential(*(part for layer in layers for part in layer), nn.Linear(widths[-1], y.shape[1]))

    def forward(self, x):
        y = self.net((x - self.low) / self.span) * self.top
        # No price is below 0, but a clamp in the training would stop the gradients.
        return y if self.training else y.clamp(min=0.0)


def load(database):
    """Inputs and outputs of all recorded options, float32[n, 5] and float32[n, 1]."""
    with h5py.File(database) as file:
        data = (file["binomial"][name][:] for name in ("input", "output"))
        return tuple(torch.from_numpy(array).flatten(0, 1).float() for array in data)


def train(database, path, epochs=300, batch=512, rate=2e-2, seed=0):
    """Fit a network to the database and write it to `path`; yields the epoch and the training RMSE so far."""
    torch.manual_seed(seed)
    x, y = load(database)
    model = Surrogate(x, y)
    steps = -(-len(x) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=steps)
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            loss = F.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            (loss / model.top**2).backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        yield epoch, (total / len(x)) ** 0.5
    hpacml.save_model(model.eval(), path, example=x[:2])
