"""Networks from the rates and dates of bonds to their accrued interest: the HPAC-ML paper's, and those trained here."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from hpacml import networks
from hpacml.networks.hyperparameters import Family, Hyperparameter

from ..published import Published, read

FEATURES = 9
"""The rate, and month, day, year and serial number of both dates."""

NETWORKS = {
    "5": {"hidden": [5]},
    "16": {"hidden": [16]},
    "64": {"hidden": [64]},
    "64-32": {"hidden": [64, 32]},
    "256-128": {"hidden": [256, 128]},
}
"""What `--size small` trains, from the fastest on, as configurations of `hpacml.networks.mlp`."""

PAPER = Family(
    "of the paper for bonds",
    (
        Hyperparameter("multiplier", "integer", 1, "the bonds of a row", 1, 1 << 16),
        Hyperparameter("hidden1_features", "integer", 64, "the size of the first hidden layer, of a bond", 1, 1 << 16),
        Hyperparameter("hidden2_features", "integer", 0, "that of the second one; 0: absent", 0, 1 << 16),
        Hyperparameter("dropout", "number", 0.0, "the part of the results that training drops", 0, 0.9),
    ),
)

ALIASES = {"hidden1": "hidden1_features", "hidden2": "hidden2_features"}


class Bonds(Published):
    """From [rows, features] to [rows, m], the accrued interest of m bonds; numbers are scaled by least and greatest."""

    def __init__(self, layers, features, m):
        zeros, ones = torch.zeros, torch.ones
        super().__init__(
            {"ipt_min": zeros(features), "ipt_max": ones(features), "opt_min": zeros(m), "opt_max": ones(m)}
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        scaled = self.layers((x - self.ipt_min) / (self.ipt_max - self.ipt_min)).clamp(min=0)
        return scaled * (self.opt_max - self.opt_min) + self.opt_min


def build(config: Mapping[str, object], features: int = FEATURES) -> Bonds:
    """The network that the paper's program makes of a configuration, in evaluation form, with buffers that scale.

    `features` are those of a bond. Raises ModelError for a name that is not in `PAPER` or `ALIASES`.
    """
    given = read(PAPER, config, ALIASES)
    m = given["multiplier"]
    inputs, first, second = m * features, m * given["hidden1_features"], m * given["hidden2_features"]
    layers = [nn.Linear(inputs, first), nn.LeakyReLU()]
    if second:
        layers += [nn.Linear(first, second), nn.Dropout(given["dropout"]), nn.LeakyReLU()]
    return Bonds([*layers, nn.Linear(second or first, m)], inputs, m).sealed()


def network(config: Mapping[str, object], inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]]):
    """The factory of `hpacml.train`: linear layers, as `hpacml.networks.mlp` has them."""
    return networks.mlp(config, inputs, outputs)
