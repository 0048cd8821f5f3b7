"""The layers of networks that act on each point of a sweep by itself: what is known of them before there are weights.

A layer is written as in `linear(5, 64)`, `leaky_relu(0.01)`. Its weights are one array, in the order of `parameters`.
The features of a point may be an image: then `image(1, 28, 28)` comes first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from hpacml.networks import images
from hpacml.networks.images import POOLS, Convolution, Flatten, Image, ImageLayer, Pool


@dataclass(frozen=True)
class Linear:
    """`y[o] = bias[o] + sum of weight[o, i] * x[i]`."""

    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """The number of weights: the biases, then the weights in the order that `blocks` tells."""
        return self.outputs * (self.inputs + 1)

    def __str__(self) -> str:
        return f"linear({self.inputs}, {self.outputs})"


@dataclass(frozen=True)
class Scaling:
    """A function of each number that has weights for each feature, or, with one and but for `batch_norm`, for all.

    In an image it has them for each channel.

    `normalize` is `(x - a) / b`, `denormalize` `x * b + a`, `batch_norm` `(x - a) * b + c`, and `prelu` `a * x` where x
    is negative. With `64` at their ends the first two compute in f64; then `denormalize64`, the last layer, gives f64.
    """

    kind: str
    features: int

    @property
    def parameters(self) -> int:
        return SCALINGS[self.kind] * self.features

    @property
    def is_for_all(self) -> bool:
        """Whether all features have the same weights, however many there are."""
        return self.features == 1 and self.kind != "batch_norm"

    def __str__(self) -> str:
        return f"{self.kind}({self.features})"


SCALINGS: Mapping[str, int] = MappingProxyType(
    {"normalize": 2, "denormalize": 2, "normalize64": 2, "denormalize64": 2, "batch_norm": 3, "prelu": 1}
)
"""The kinds of `Scaling` by how many weights they have for each feature."""

FUNCTIONS: Mapping[str, int] = MappingProxyType(
    {
        "relu": 0,
        "leaky_relu": 1,
        "elu": 1,
        "tanh": 0,
        "sigmoid": 0,
        "silu": 0,
        "gelu": 0,
        "gelu_tanh": 0,
        "clamp": 2,
    }
)
"""Functions of one number that have none, by how many numbers they take."""


@dataclass(frozen=True)
class Activation:
    """A function of each number."""

    function: str
    numbers: tuple[float, ...] = ()

    parameters = 0

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(repr, self.numbers))})" if self.numbers else self.function


@dataclass(frozen=True)
class Residual:
    """A sum with what the layer takes that is so many layers `back`; without a number, with something else."""

    back: int = 0

    parameters = 0

    def __str__(self) -> str:
        return f"residual({self.back})" if self.back else "residual"


Layer: TypeAlias = "Linear | Scaling | Activation | Residual | ImageLayer"

Features: TypeAlias = "int | Image"
"""How many features there are, or the image that they are."""


def parse(text: str) -> Layer:
    """Read what `str` writes of a layer. Raises ValueError for anything else."""
    found = re.fullmatch(r"(\w+)(?:\(([^()]*)\))?", text)
    name, given = (found[1], found[2].split(",") if found[2] else []) if found else ("", [])
    if name == "linear" and len(given) == 2:
        return Linear(*map(images.positive, given))
    if name in SCALINGS and len(given) == 1:
        return Scaling(name, images.positive(given[0]))
    if FUNCTIONS.get(name) == len(given):
        return Activation(name, tuple(map(float, given)))
    if name == "residual" and len(given) < 2:
        return Residual(*map(images.positive, given))
    if (layer := images.parse(name, given)) is not None:
        return layer
    pools = [f"{each}(window)" for each in POOLS]
    of_images = ["image(channels, height, width)", "conv(inputs, outputs, window)", *pools]
    scalings = [f"{each}(features)" for each in SCALINGS]
    known = ", ".join(["linear(inputs, outputs)", *scalings, *FUNCTIONS, "residual(layers)", *of_images, "flatten"])
    raise ValueError(f"'{text}' is no layer: there are {known}")


@dataclass(frozen=True)
class Stage:
    """A layer that computes sums or maxima, or none, and functions that are applied to them before they are stored."""

    first: Linear | Convolution | Pool | None
    functions: tuple[Scaling | Activation | Residual, ...]
    outputs: Features
    """What it gives."""
    sums: tuple[int, ...] = ()
    """For each residual sum the number of the stage whose input is added."""

    @property
    def layers(self) -> list[Layer]:
        """Its layers, by themselves."""
        functions = [Residual() if isinstance(each, Residual) else each for each in self.functions]
        return [*filter(None, [self.first]), *functions]


def total(features: Features) -> int:
    """The number of features, whether they are an image or not."""
    return features if isinstance(features, int) else features.features


def outputs(layers: Sequence[Layer], inputs: Features) -> Features:
    """What layers make of so many features. Raises ValueError for layers whose sizes do not fit."""
    taken: list[Features] = []
    for layer in layers:
        taken.append(inputs)
        if isinstance(layer, Residual) and (layer.back >= len(taken) or taken[-1 - layer.back] != inputs):
            raise ValueError(f"{layer} adds what is no {inputs} features")
        inputs = _of_one(layer, inputs)
    return inputs


def _of_one(layer: Layer, features: Features) -> Features:
    match layer:
        case Image():
            if features != layer.features:
                raise ValueError(f"{layer} has {layer.features} features, and there are {features}")
            return layer
        case Linear():
            if layer.inputs != features:
                raise ValueError(f"{layer} takes {layer.inputs} features, and there are {features}")
            return layer.outputs
        case Flatten() | Convolution() | Pool():
            if isinstance(features, int):
                raise ValueError(f"{layer} takes an image, and there are {features} features")
            return features.features if isinstance(layer, Flatten) else layer.of(features)
        case Scaling():
            own = features if isinstance(features, int) else features.channels
            if layer.features != own and not layer.is_for_all:
                raise ValueError(f"{layer} has {layer.features} features, and there are {features}")
            return features
        case Activation() | Residual():
            return features


def stages(layers: Sequence[Layer], inputs: Features) -> list[Stage]:
    """Part a network into stages. Raises ValueError for layers whose sizes do not fit."""
    outputs(layers, inputs)
    begins = {place - layer.back for place, layer in enumerate(layers) if isinstance(layer, Residual)}
    numbers: dict[int, int] = {}
    """The stages that compute what the layers take that residual sums begin with, by the place of these."""
    found: list[Stage] = []
    features = inputs
    for place, layer in enumerate(layers):
        if place in begins:
            numbers[place] = len(found)
        features = _of_one(layer, features)
        match layer:
            case Image() | Flatten():
                pass
            case Linear() | Convolution() | Pool():
                found.append(Stage(layer, (), features))
            case Scaling() | Activation() | Residual():
                # The first, the first behind a flatten, and one whose input is kept.
                is_apart = not found or found[-1].outputs != features or (place in begins and layer != Residual())
                last = Stage(None, (), features) if is_apart else found.pop()
                sums = [numbers[place - layer.back]] if isinstance(layer, Residual) else []
                found.append(Stage(last.first, (*last.functions, layer), features, (*last.sums, *sums)))
    return found


def multiplications(layers: Sequence[Layer], inputs: Features) -> int:
    """About how many multiplications, or comparisons, the layers take for one point."""
    return sum(_of_stage(stage) for stage in stages(layers, inputs))


def _of_stage(stage: Stage) -> int:
    match stage.first:
        case Linear():
            return stage.first.parameters
        case Convolution():
            return total(stage.outputs) * stage.first.taps
        case Pool():
            return total(stage.outputs) * stage.first.window.count
        case None:
            return total(stage.outputs)


def blocks(outputs: int, rows: int) -> list[tuple[int, int]]:
    """The first output and the number of outputs of each block that is computed at once.

    The weights of a block lie side by side for each input: `weight[first + r, i]` at `i * count + r` of its own.
    """
    return [(first, min(rows, outputs - first)) for first in range(0, outputs, rows)]


def gives_f64(layers: Sequence[Layer]) -> bool:
    """Whether a network of another type gives f64. Raises ValueError if that is not the end of it."""
    wide = [isinstance(layer, Scaling) and layer.kind == "denormalize64" for layer in layers]
    if any(wide[:-1]):
        raise ValueError("denormalize64 is the last layer")
    return bool(wide) and wide[-1]
