"""Networks from poses to energies: the paper's, and those that `--size small` trains."""

import torch
from torch import nn

import hpacml
from hpacml.networks.hyperparameters import Family, Hyperparameter

from ..published import Published, read

PAPER = Family(
    "of the paper for miniBUDE",
    (
        Hyperparameter("num_hidden_layers", "integer", 4, "the linear layers", 2, 64),
        Hyperparameter("hidden1_features", "integer", 256, "the size of the first hidden layer", 1, 65536),
        Hyperparameter("feature_multiplier", "number", 0.5, "the size of a layer by that of the last", 0, 1),
        Hyperparameter("multiplier", "integer", 1, "the poses of a row", 1, 65536),
        Hyperparameter("dropout", "number", 0.0, "the part of the results that training drops", 0, 0.9),
    ),
)

ALIASES = {
    "layers": "num_hidden_layers",
    "hidden1": "hidden1_features",
    "hidden_1": "hidden1_features",
    "hidden_1_features": "hidden1_features",
}


class MiniBUDE(Published):
    """From float32[n, 6 m] to float32[n, m]: m poses, as [tilt x m, roll x m, ..., tz x m], to their energies."""

    def __init__(self, layers, m):
        zeros, ones = torch.zeros, torch.ones
        super().__init__({"ipt_mean": zeros(6 * m), "ipt_std": ones(6 * m), "opt_mean": zeros(m), "opt_std": ones(m)})
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        scaled = (x.to(self.ipt_mean.dtype) - self.ipt_mean) / self.ipt_std
        return self.layers(scaled) * self.opt_std + self.opt_mean


def build(config):
    """The network that the paper's program makes of a configuration, in evaluation form, with buffers that scale.

    Its state is loaded by `load_state_dict`. Raises ModelError for a name that is not in `PAPER` or `ALIASES`.
    """
    given = read(PAPER, config, ALIASES)
    m, features = given["multiplier"], given["hidden1_features"]

    def behind():
        return nn.PReLU(), nn.Dropout(given["dropout"])

    layers = [nn.Linear(6 * m, features), *behind()]
    for _ in range(given["num_hidden_layers"] - 2):
        if (size := int(features * given["feature_multiplier"])) >= m:
            layers += [nn.Linear(features, size), nn.BatchNorm1d(size), *behind()]
            features = size
    return MiniBUDE([*layers, nn.Linear(features, m)], m).sealed()


def network(config, inputs, outputs):
    """What `hpacml.train` trains of a configuration: `hpacml.networks.tapered`, without what scales the data."""
    given = read(PAPER, config, ALIASES)
    if "multiplier" in config and outputs[0] != (given["multiplier"],):
        raise PAPER.error(f"has multiplier = {given['multiplier']}, and the data has rows of {outputs[0][-1]} poses")
    names = {"layers": "num_hidden_layers", "hidden1": "hidden1_features"}
    chosen = {name: given[names.get(name, name)] for name in ("layers", "hidden1", "feature_multiplier", "dropout")}
    return hpacml.networks.tapered(chosen, inputs, outputs)


NETWORKS = {
    "6-64-32-1": {"num_hidden_layers": 3, "hidden1_features": 64, "feature_multiplier": 0.5},
    "6-128-64-32-1": {"num_hidden_layers": 4, "hidden1_features": 128, "feature_multiplier": 0.5},
    "6-256-128-64-1": {"num_hidden_layers": 4, "hidden1_features": 256, "feature_multiplier": 0.5},
    "6-512-256-128-1": {"num_hidden_layers": 4, "hidden1_features": 512, "feature_multiplier": 0.5},
}
"""What `--size small` trains, from the fastest to the most accurate."""
