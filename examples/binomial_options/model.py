"""Networks from options to prices: the paper's, and those that `--size small` trains."""

import hpacml
from hpacml.networks.hyperparameters import Family, Hyperparameter

from ..published import Perceptron, read

PAPER = Family(
    "of the paper for Binomial Options",
    (
        Hyperparameter("hidden1_features", "integer", 64, "the size of the first hidden layer, of an option", 1, 65536),
        Hyperparameter("hidden2_features", "integer", 0, "that of the second one; 0: absent", 0, 65536),
        Hyperparameter("multiplier", "integer", 1, "the options of a row", 1, 65536),
        Hyperparameter("dropout", "number", 0.0, "the part of the results that training drops", 0, 0.9),
    ),
)

ALIASES = {
    alias: f"hidden{k}_features" for k in (1, 2) for alias in (f"hidden{k}", f"hidden_{k}", f"hidden_{k}_features")
}


def build(config):
    """The network that the paper's program makes of a configuration, in evaluation form, with buffers that scale.

    It is from [n, 5 m] to [n, m]: m options, as [S x m, X x m, vDt x m, puByDf x m, pdByDf x m], to their prices. Its
    state is loaded by `load_state_dict`. Raises ModelError for a name that is not in `PAPER` or `ALIASES`.
    """
    return Perceptron(read(PAPER, config, ALIASES), 5).sealed()


def network(config, inputs, outputs):
    """What `hpacml.train` trains of a configuration: `hpacml.networks.mlp`, without what scales the data and a clamp.

    Sizes of hidden layers are those of one option, times the options in a row of the data.
    """
    given, m = read(PAPER, config, ALIASES), outputs[0][-1]
    if "multiplier" in config and m != given["multiplier"]:
        raise PAPER.error(f"has multiplier = {given['multiplier']}, and the data has rows of {m} options")
    hidden = {f"hidden{k}": m * given[f"hidden{k}_features"] for k in (1, 2)}
    return hpacml.networks.mlp({**hidden, "dropout": given["dropout"]}, inputs, outputs)


NETWORKS = {
    "5-8-1": {"hidden1_features": 8},
    "5-16-8-1": {"hidden1_features": 16, "hidden2_features": 8},
    "5-32-16-1": {"hidden1_features": 32, "hidden2_features": 16},
    "5-64-32-1": {"hidden1_features": 64, "hidden2_features": 32},
    "5-128-64-1": {"hidden1_features": 128, "hidden2_features": 64},
}
"""What `--size small` trains, from the fastest to the most accurate."""
