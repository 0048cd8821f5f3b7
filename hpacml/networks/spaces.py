"""What configurations of the families of networks may say, and the ranges that the HPAC-ML paper searches."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hpacml.networks.hyperparameters import Family, Hyperparameter

MOST = 1 << 16
"""The most features, channels and the like: more of them are a slip."""

ACTIVATIONS = ("leaky_relu", "relu", "prelu", "elu", "tanh", "sigmoid", "silu", "gelu")


def _integer(
    name: str,
    default: int,
    meaning: str,
    least: int,
    searched: tuple[int, ...] = (),
    most: int = MOST,
    start: int | None = None,
) -> Hyperparameter:
    return Hyperparameter(name, "integer", default, meaning, least, most, searched=searched, start=start)


def _number(
    name: str, default: float, meaning: str, least: float, searched: tuple[float, ...], most: float
) -> Hyperparameter:
    return Hyperparameter(name, "number", default, meaning, least, most, searched=searched)


def _flag(name: str, meaning: str) -> Hyperparameter:
    return Hyperparameter(name, "flag", False, meaning)


def _activation(default: str) -> Hyperparameter:
    return Hyperparameter("activation", "choice", default, "what follows each hidden layer", choices=ACTIVATIONS)


_HIDDEN = (64, 32)
_SIZE_1 = "the size of the first one; 0: absent"
_SIZE_2 = "the size of the second one, which may be larger; 0: absent"
_DROPOUT = _number("dropout", 0.0, "the part of the results of hidden layers that training drops", 0, (0, 0.8), 0.9)
_DIMENSIONS = _integer("dimensions", 2, "the dimensions of an image or a field, besides that of channels", 1, most=2)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "mlp": Family(
            "mlp",
            (
                Hyperparameter("hidden", "integers", _HIDDEN, "the sizes of all hidden layers", 1, MOST),
                _integer("hidden1", 0, f"in place of `hidden`: {_SIZE_1}", 0, (5, 512), start=_HIDDEN[0]),
                _integer("hidden2", 0, _SIZE_2, 0, (0, 512), start=_HIDDEN[1]),
                _activation("leaky_relu"),
                _DROPOUT,
            ),
        ),
        "tapered": Family(
            "tapered",
            (
                _integer("layers", 4, "the linear layers, which the paper calls hidden layers", 2, (2, 12), 64),
                _integer("hidden1", 256, "the size of the first hidden layer", 1, (64, 4096)),
                _number("feature_multiplier", 0.5, "the size of a layer by that of the last", 0, (0.1, 0.8), 1),
                _activation("prelu"),
                _DROPOUT,
            ),
        ),
        "cnn": Family(
            "cnn",
            (
                _integer("conv1_kernel", 3, "the window of the first convolution", 1, (2, 8), 64),
                _integer("conv1_channels", 8, "its channels, if a second one follows", 1, (4, 8)),
                _integer("conv2_kernel", 3, "the window of the second convolution; 0: absent", 0, (0, 6), 64),
                _flag("batchnorm", "batch normalisation between a convolution and its activation"),
                _activation("leaky_relu"),
                _flag("activated_output", "the last convolution has both, too, as in the paper"),
                _DROPOUT,
                _DIMENSIONS,
            ),
        ),
        "coordinates": Family(
            "coordinates",
            (
                _integer("conv_kernel", 6, "the window of the convolution", 1, (2, 14)),
                _integer("conv_stride", 4, "how far apart its windows are", 1, (2, 14)),
                _integer("conv_channels", 1, "its channels", 1),
                _integer("pool", 2, "the window of the maximum; 1: absent", 1, (1, 10)),
                _integer("fc2", 32, "the size of the hidden linear layer; 0: absent", 0, (0, 128)),
                _DROPOUT,
                _DIMENSIONS,
            ),
            constraints=("pool <= conv_kernel", "conv_stride <= conv_kernel"),
        ),
    }
)
"""The families by the names of the functions of `hpacml.networks` that make their modules."""
