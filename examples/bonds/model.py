"""Networks from the rates and dates of bonds to their accrued interest: the HPAC-ML paper's, and those trained here."""

from collections.abc import Mapping, Sequence

from hpacml import networks
from hpacml.networks.hyperparameters import Family, Hyperparameter

from ..published import Perceptron, read

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


def build(config: Mapping[str, object], features: int = FEATURES) -> Perceptron:
    """The network that the paper's program makes of a configuration, in evaluation form, with buffers that scale.

    It is from [rows, m features] to [rows, m], the accrued interest of m bonds; `features` are those of a bond. Raises
    ModelError for a name that is not in `PAPER` or `ALIASES`.
    """
    return Perceptron(read(PAPER, config, ALIASES), features).sealed()


def network(config: Mapping[str, object], inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]]):
    """The factory of `hpacml.train`: linear layers, as `hpacml.networks.mlp` has them."""
    return networks.mlp(config, inputs, outputs)
