"""Families of networks that regions compile: each makes a module from a configuration and the shapes of rows.

The modules are sequences of known layers with the initial weights of Torch. They have no normalisation and no clamps,
which belong to the data, and a clamp that trains can be stuck. It imports Torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from torch import nn

from hpacml.networks.hyperparameters import Family
from hpacml.networks.spaces import FAMILIES

Shape: TypeAlias = tuple[int, ...]
"""The sizes of one row of an input or an output."""

_OF_IMAGES: Mapping[int, tuple[Any, Any, Any]] = {
    1: (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
}
"""Convolution, normalisation and maxima by the dimensions of images."""

_PADDING = 1
"""What is around images that become coordinates."""

ACTIVATION_LAYERS: Mapping[str, Callable[[], nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


def mlp(config: Mapping[str, object], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> nn.Sequential:
    """Make linear layers with activations between them, from all numbers of a row to all of a row.

    The shapes are those of a row of each input and each output, such as ((5,),) and ((1,),) for float[rows, 5] and
    float[rows, 1]; rows may have any rank. `hpacml.networks.FAMILIES["mlp"]` has what a configuration may say.
    Raises ModelError for another one, and for several inputs or outputs.
    """
    family = FAMILIES["mlp"]
    given = family.read(config)
    taken, made = _rows(family, inputs, outputs)
    sizes = [math.prod(taken), *_hidden_sizes(family, config, given)]
    layers: list[nn.Module] = []
    for features, size in pairwise(sizes):
        layers += [nn.Linear(features, size), *_behind(given)]
    return nn.Sequential(*_flattened(taken), *layers, nn.Linear(sizes[-1], math.prod(made)), *_parted(made))


def _hidden_sizes(family: Family, config: Mapping[str, object], given: Mapping[str, Any]) -> list[int]:
    pair = {"hidden1", "hidden2"} & config.keys()
    if pair and "hidden" in config:
        raise family.error(f"has hidden and {' and '.join(sorted(pair))}: leave out one of them, as both say the same")
    if given["hidden2"] and not given["hidden1"]:
        raise family.error(
            f"has hidden2 = {given['hidden2']} without hidden1: give hidden1 the size of its first layer"
        )
    return [size for size in (given["hidden1"], given["hidden2"]) if size] if pair else [*given["hidden"]]


def tapered(config: Mapping[str, object], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> nn.Sequential:
    """Make linear layers each of which is by a factor smaller than the last: the HPAC-ML paper's network for MiniBUDE.

    Layers that would be smaller than the output are left out, and but for the first and the last one batch
    normalisation follows them. Shapes and errors are those of `mlp`.
    """
    family = FAMILIES["tapered"]
    given = family.read(config)
    taken, made = _rows(family, inputs, outputs)
    features = given["hidden1"]
    layers: list[nn.Module] = [nn.Linear(math.prod(taken), features), *_behind(given)]
    for _ in range(given["layers"] - 2):
        if (size := int(features * given["feature_multiplier"])) >= math.prod(made):
            layers += [nn.Linear(features, size), nn.BatchNorm1d(size), *_behind(given)]
            features = size
    return nn.Sequential(*_flattened(taken), *layers, nn.Linear(features, math.prod(made)), *_parted(made))


def cnn(config: Mapping[str, object], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> nn.Sequential:
    """Make one or two convolutions, from a field to another of its size: the HPAC-ML paper's network for MiniWeather.

    The shapes are those of a row of the input and of the output, such as ((4, 54, 104),) twice: channels, then the
    dimensions of the field. One channel may have no dimension, or the last one: (54, 104) and (54, 104, 1).
    Without a second convolution there is no hidden layer, and so no dropout. Raises ModelError as `mlp` does, and for
    fields of different sizes.
    """
    family = FAMILIES["cnn"]
    given = family.read(config)
    taken, made = _rows(family, inputs, outputs)
    field, result = (_image(family, row, given["dimensions"]) for row in (taken, made))
    if field[1:] != result[1:]:
        raise family.error(
            f"makes a field of one of its size, and rows of the input are {_sizes(taken)}, those of the output "
            f"{_sizes(made)}: the dimension of channels comes first, as in 4x54x104"
        )
    convolution, normalisation, _ = _OF_IMAGES[given["dimensions"]]

    def norm(channels: int) -> list[nn.Module]:
        return [normalisation(channels)] if given["batchnorm"] else []

    layers: list[nn.Module] = []
    channels, kernel = field[0], given["conv1_kernel"]
    if given["conv2_kernel"]:
        size = given["conv1_channels"]
        layers += [convolution(channels, size, kernel, padding="same"), *norm(size), *_behind(given)]
        channels, kernel = size, given["conv2_kernel"]
    layers.append(convolution(channels, result[0], kernel, padding="same"))
    if given["activated_output"]:
        layers += [*norm(result[0]), ACTIVATION_LAYERS[given["activation"]]()]
    return nn.Sequential(*_reshaped(taken, field), *layers, *_reshaped(result, made))


def coordinates(config: Mapping[str, object], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> nn.Sequential:
    """Make a convolution, maxima and linear layers, from an image to numbers: the HPAC-ML paper's for ParticleFilter.

    The shapes are those of a row of the input, which is an image as `cnn` takes it, and of the output, such as
    ((128, 128, 1),) and ((2,),). Raises ModelError as `mlp` does, and where no pixels are left.
    """
    family = FAMILIES["coordinates"]
    given = family.read(config)
    taken, made = _rows(family, inputs, outputs)
    image = _image(family, taken, given["dimensions"])
    channels, pool = given["conv_channels"], given["pool"]
    features = _pixels_left(family, image, given)
    convolution, normalisation, maxima = _OF_IMAGES[given["dimensions"]]
    layers: list[nn.Module] = [
        convolution(image[0], channels, given["conv_kernel"], given["conv_stride"], padding=_PADDING),
        *(normalisation(channels), nn.PReLU()),
        *([maxima(pool)] if pool > 1 else []),
        *(nn.Flatten(), nn.ReLU(), *_dropout(given)),
    ]
    if size := given["fc2"]:
        layers += [nn.Linear(features, size), nn.ReLU(), *_dropout(given)]
        features = size
    return nn.Sequential(*_reshaped(taken, image), *layers, nn.Linear(features, math.prod(made)), *_parted(made))


def _pixels_left(family: Family, image: Shape, given: Mapping[str, Any]) -> int:
    """How many numbers the convolution and the maxima leave of an image. Raises ModelError if these are none."""
    _, *sides = image
    told = [_sizes(image)]
    for name, size, stride, padding in (
        ("convolution", given["conv_kernel"], given["conv_stride"], _PADDING),
        ("maxima", given["pool"], given["pool"], 0),
    ):
        sides = [max(0, (side + 2 * padding - size) // stride + 1) for side in sides]
        told.append(f"{_sizes((given['conv_channels'], *sides))} after {name} of windows of {size}, {stride} apart")
        if 0 in sides:
            raise family.error(f"leaves no pixels of its image: {', '.join(told)}; smaller windows would")
    return given["conv_channels"] * math.prod(sides)


def _rows(family: Family, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> tuple[Shape, Shape]:
    """The shapes of a row of the input and of the output. Raises ModelError if there are several of them."""
    for kind, shapes in (("input", inputs), ("output", outputs)):
        if len(shapes) != 1:
            told = " and ".join(map(_sizes, shapes)) or "none"
            raise family.error(
                f"has one {kind}, and rows of {len(shapes)} {kind}s are {told}: one functor makes a row of several "
                "arrays, as `f: [i, 0:2] = ([i], [i])` does in `f(a[0:n], b[0:n])`"
            )
        if not math.prod(shapes[0]):
            raise family.error(f"has no use for rows of the {kind} without elements: they are {_sizes(shapes[0])}")
    return tuple(inputs[0]), tuple(outputs[0])


def _image(family: Family, row: Shape, dimensions: int) -> Shape:
    """A row as channels and the dimensions of a field. Raises ModelError if it has others."""
    if len(row) == dimensions:
        return (1, *row)
    if len(row) != dimensions + 1:
        wanted = ["[channels, length] or [length]", "[channels, rows, columns] or [rows, columns]"][dimensions - 1]
        raise family.error(
            f"takes rows of {wanted}, and they are {_sizes(row)}: set dimensions, or train on whole calls"
        )
    return (1, *row[:-1]) if row[-1] == 1 else row


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "single numbers"


def _behind(given: Mapping[str, Any]) -> list[nn.Module]:
    """What follows a hidden layer."""
    return [ACTIVATION_LAYERS[given["activation"]](), *_dropout(given)]


def _dropout(given: Mapping[str, Any]) -> list[nn.Module]:
    return [nn.Dropout(given["dropout"])] if given["dropout"] else []


def _flattened(row: Shape) -> Sequence[nn.Module]:
    """What makes the dimensions of a row one of features, whatever is in front of them."""
    if not row:
        return [nn.Unflatten(-1, (-1, 1))]
    return [nn.Flatten(-len(row), -1)] if len(row) > 1 else []


def _parted(row: Shape) -> Sequence[nn.Module]:
    """What makes a dimension of features those of a row."""
    if not row:
        return [nn.Flatten(-2, -1)]
    return [nn.Unflatten(-1, row)] if len(row) > 1 else []


def _reshaped(row: Shape, other: Shape) -> list[nn.Module]:
    return [] if row == other else [*_flattened(row), *_parted(other)]
