"""Networks from a state to that after a step: the paper's, and those that `--size small` trains."""

import torch
from torch import nn

import hpacml
from hpacml.networks.families import ACTIVATION_LAYERS
from hpacml.networks.hyperparameters import Family, Hyperparameter

from ..published import Published, read

VARIABLES = 4

PAPER = Family(
    "of the paper for MiniWeather",
    (
        Hyperparameter("conv1_kernel_size", "integer", 3, "the window of the first convolution", 1, 64),
        Hyperparameter("conv1_out_channels", "integer", 4, "its channels, if a second one follows", 1, 64),
        Hyperparameter("conv1_stride", "integer", 1, "how far apart its windows are: a field keeps its size", 1, 1),
        Hyperparameter("conv2_kernel_size", "integer", 3, "the window of the second convolution; 0: absent", 0, 64),
        Hyperparameter("batchnorm", "flag", False, "batch normalisation behind each convolution"),
        Hyperparameter(
            "activation_function",
            "choice",
            "leaky_relu",
            "what follows each convolution",
            choices=tuple(ACTIVATION_LAYERS),
        ),
        Hyperparameter("dropout", "number", 0.0, "the part of the hidden results that training drops", 0, 0.9),
    ),
)

OURS = Family(
    "for MiniWeather",
    (*PAPER.hyperparameters, Hyperparameter("residual", "flag", False, "the convolutions give the change of a state")),
)

CHANGE = 0.05
"""How much a scaled state changes in a step, about: what convolutions give is of the order of 1."""

BOUNDS = -20.0, 20.0
"""What a scaled state stays within, so that no model leaves the program a density or a pressure below 0."""


class MiniWeather(Published):
    """From states [rows, 4, K, L] to states, scaled by the least and the greatest of each variable.

    The state dict has the weights of convolutions twice: as `conv1` and `conv2`, and in the sequence `fp`.
    """

    def __init__(self, layers):
        shape = 1, VARIABLES, 1, 1
        super().__init__({"min": torch.zeros(shape), "max": torch.ones(shape)})
        for number, convolution in enumerate((each for each in layers if isinstance(each, nn.Conv2d)), 1):
            self.add_module(f"conv{number}", convolution)
        self.fp = nn.Sequential(*layers)

    def forward(self, x):
        size = self.max - self.min
        return self.fp((x - self.min) / size) * size + self.min


def build(config):
    """The network that the paper's program makes of a configuration, in evaluation form, with buffers that scale.

    Its state is loaded by `load_state_dict`. Without a second convolution the first one has four channels, whatever
    the configuration says; each convolution has batch normalisation of its own. Raises ModelError for a name that is
    not in `PAPER`.
    """
    given = _read(PAPER, config)
    kernel, second = given["conv1_kernel_size"], given["conv2_kernel_size"]
    hidden = given["conv1_out_channels"] if second else VARIABLES

    def behind(channels):
        return *([nn.BatchNorm2d(channels)] if given["batchnorm"] else []), ACTIVATION_LAYERS[
            given["activation_function"]
        ]()

    layers = [nn.Conv2d(VARIABLES, hidden, kernel, padding="same"), *behind(hidden), nn.Dropout(given["dropout"])]
    if second:
        layers += [nn.Conv2d(hidden, VARIABLES, second, padding="same"), *behind(VARIABLES)]
    return MiniWeather(layers).sealed()


def network(config, inputs, outputs):
    """What `hpacml.train` trains of a configuration: `hpacml.networks.cnn`, without what scales the data.

    No activation follows the last convolution, since what is scaled by deviations is as often below 0 as above. With
    `residual` the convolutions give the change of a state. What comes out is within `BOUNDS`. Raises ModelError for a
    name that is not in `OURS`.
    """
    given = _read(OURS, config)
    layers = hpacml.networks.cnn(
        {
            "conv1_kernel": given["conv1_kernel_size"],
            "conv1_channels": given["conv1_out_channels"],
            "conv2_kernel": given["conv2_kernel_size"],
            "batchnorm": given["batchnorm"],
            "activation": given["activation_function"],
            "dropout": given["dropout"],
        },
        inputs,
        outputs,
    )
    if given["residual"]:
        layers = [hpacml.Residual(*layers, hpacml.Normalize(0.0, CHANGE, inverse=True))]
    return nn.Sequential(*layers, nn.Hardtanh(*BOUNDS))


def _read(family, config):
    """The values of a configuration, which may say 0 or 1 of `batchnorm`, as the paper's do."""
    flag = config.get("batchnorm")
    return read(family, config if flag not in (0, 1) else {**config, "batchnorm": bool(flag)}, {})


NETWORKS = {
    "conv3-4-conv3": {"conv1_kernel_size": 3, "conv1_out_channels": 4, "conv2_kernel_size": 3},
    "x+conv3-4-conv3": {"conv1_kernel_size": 3, "conv1_out_channels": 4, "conv2_kernel_size": 3, "residual": True},
    "x+conv3-8-conv3": {"conv1_kernel_size": 3, "conv1_out_channels": 8, "conv2_kernel_size": 3, "residual": True},
    "x+conv5-10-conv5": {"conv1_kernel_size": 5, "conv1_out_channels": 10, "conv2_kernel_size": 5, "residual": True},
}
"""What `--size small` trains, from the fastest to the most accurate."""
