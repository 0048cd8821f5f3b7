"""Networks from a frame to the position of the object in it: the HPAC-ML paper's, and those that are trained here."""

from collections.abc import Mapping, Sequence

from torch import nn

from hpacml import networks
from hpacml.networks.hyperparameters import Family, Hyperparameter

from ..published import Published, read
from .app import SIZE

NETWORKS = {
    "conv8-16": {"conv_kernel": 8, "conv_stride": 8, "pool": 1, "fc2": 16},
    "conv8-32": {"conv_kernel": 8, "conv_stride": 8, "pool": 1, "fc2": 32},
    "conv8x2-64": {"conv_kernel": 8, "conv_stride": 8, "conv_channels": 2, "pool": 1, "fc2": 64},
    "conv8x4-32": {"conv_kernel": 8, "conv_stride": 8, "conv_channels": 4, "pool": 1, "fc2": 32},
}
"""What `--size small` trains, from the fastest on, as configurations of `hpacml.networks.coordinates`."""

PADDING = 1

PAPER = Family(
    "of the paper for ParticleFilter",
    (
        Hyperparameter("conv_kernel_size", "integer", 9, "the window of the convolution", 1, SIZE),
        Hyperparameter("conv_stride", "integer", 3, "how far apart its windows are", 1, SIZE),
        Hyperparameter("maxpool_kernel_size", "integer", 4, "the window of the maximum", 1, SIZE),
        Hyperparameter("fc2_size", "integer", 0, "the hidden linear layer; 0: absent", 0, 1 << 16),
        Hyperparameter("dropout", "number", 0.0, "of the training alone: it has no such layer", 0, 0.9),
    ),
)

ALIASES = {"conv_kernel": "conv_kernel_size", "pool": "maxpool_kernel_size", "fc2": "fc2_size"}


class ParticleFilter(Published):
    """Frames [rows, 128, 128, 1] of numbers from 0 to 255 to positions [rows, 2] from 0 to 128."""

    def __init__(self, convolution, linear):
        super().__init__({})
        self.conv_stack, self.linear_relu_stack = nn.Sequential(*convolution), nn.Sequential(*linear)

    def forward(self, x):
        features = self.conv_stack(x.permute(0, 3, 1, 2) / 255).flatten(1).relu()
        return (self.linear_relu_stack(features) * SIZE).clamp(0, SIZE)


def build(config: Mapping[str, object]) -> ParticleFilter:
    """The network that the paper's program makes of a configuration, in evaluation form.

    Raises ModelError for a name that is not in `PAPER` or `ALIASES`, and for windows that leave no pixels.
    """
    given = read(PAPER, config, ALIASES)
    window, stride, pool = given["conv_kernel_size"], given["conv_stride"], given["maxpool_kernel_size"]
    convolved = (SIZE + 2 * PADDING - window) // stride + 1
    if not (side := convolved // pool):
        raise PAPER.error(f"leaves no pixels of a frame: {convolved} x {convolved} for maxima of {pool} x {pool}")
    convolution = nn.Conv2d(1, 1, window, stride, PADDING), nn.BatchNorm2d(1), nn.PReLU(), nn.MaxPool2d(pool)
    pixels, hidden = side * side, given["fc2_size"]
    linear = [nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2)] if hidden else [nn.Linear(pixels, 2)]
    return ParticleFilter(convolution, linear).sealed()


def network(config: Mapping[str, object], inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]]):
    """The factory of `hpacml.train`: a convolution, maxima and linear layers, as `hpacml.networks.coordinates` has."""
    return networks.coordinates(config, inputs, outputs)
