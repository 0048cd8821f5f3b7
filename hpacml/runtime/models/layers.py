"""The layers that a description in JSON may name: a closed set, so that reading one runs no code of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from hpacml.runtime.models.values import flat


class UnknownLayer(ValueError):
    """A layer that has no description."""


class Normalize(nn.Module):
    """`(x - mean) / std`, or with `inverse` back: `x * std + mean`.

    `mean` and `std` broadcast against `x`, as float[features] does against float[rows, features]; they are not trained.
    They may be wider floats than `x`: what is normalised is of the dtype of `x`, what is brought back of the wider one.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Any, std: Any, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.as_tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.inverse:
            return x * self.std + self.mean
        normalised = (x - self.mean) / self.std
        return normalised.to(x.dtype) if x.is_floating_point() else normalised


class Residual(nn.Module):
    """`x + layers(x)`, where `layers` is a module, or several of them, one after the other.

    What the layers give has the shape of `x`. Regions compile it where they compile the layers.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class Reshaping(nn.Module):
    """A view of its input with other dimensions, whose elements are in the same order: `x.method(*arguments)`."""

    def __init__(self, method: str, *arguments: Any) -> None:
        super().__init__()
        self.method, self.arguments = method, arguments

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(x, self.method)(*self.arguments)


Normalize.__module__ = Residual.__module__ = "hpacml"  # pickles name this, which stays when files move


_CONVOLUTION = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
_BATCH_NORM = "num_features eps momentum affine track_running_stats"
_MAX_POOL = "kernel_size stride padding dilation ceil_mode"
_AVG_POOL = "kernel_size stride padding ceil_mode count_include_pad"

# The arguments that make each layer anew; they are its attributes, except that `bias` says whether there is one.
_ARGUMENTS: dict[type[nn.Module], str] = {
    nn.Linear: "in_features out_features bias",
    nn.Conv1d: _CONVOLUTION,
    nn.Conv2d: _CONVOLUTION,
    nn.Conv3d: _CONVOLUTION,
    nn.BatchNorm1d: _BATCH_NORM,
    nn.BatchNorm2d: _BATCH_NORM,
    nn.BatchNorm3d: _BATCH_NORM,
    nn.LayerNorm: "normalized_shape eps elementwise_affine bias",
    nn.Embedding: "num_embeddings embedding_dim padding_idx max_norm norm_type",
    nn.MaxPool1d: _MAX_POOL,
    nn.MaxPool2d: _MAX_POOL,
    nn.AvgPool1d: _AVG_POOL,
    nn.AvgPool2d: _AVG_POOL,
    nn.AdaptiveAvgPool1d: "output_size",
    nn.AdaptiveAvgPool2d: "output_size",
    nn.Flatten: "start_dim end_dim",
    nn.Unflatten: "dim unflattened_size",
    nn.Dropout: "p",
    nn.Dropout1d: "p",
    nn.Dropout2d: "p",
    nn.Identity: "",
    nn.ReLU: "",
    nn.ReLU6: "",
    nn.LeakyReLU: "negative_slope",
    nn.PReLU: "num_parameters",
    nn.ELU: "alpha",
    nn.CELU: "alpha",
    nn.SELU: "",
    nn.GELU: "approximate",
    nn.SiLU: "",
    nn.Mish: "",
    nn.Tanh: "",
    nn.Sigmoid: "",
    nn.LogSigmoid: "",
    nn.Hardtanh: "min_val max_val",
    nn.Hardsigmoid: "",
    nn.Hardswish: "",
    nn.Softplus: "beta threshold",
    nn.Softsign: "",
    nn.Softmax: "dim",
    nn.LogSoftmax: "dim",
}
_MOST, _MOST_FACTOR = 1 << 60, 1 << 31
"""The largest numbers of a layer, of which Torch multiplies some: sizes that overflow make loops that do not end."""

_BY_NAME = {cls.__name__: cls for cls in (*_ARGUMENTS, nn.Sequential, Normalize, Residual)}


def describe(module: nn.Module, name: str = "") -> dict[str, Any]:
    """Describe a module without its state, for `build`. Raises UnknownLayer if a part is of no known layer."""
    kind = type(module)
    place = f"{kind.__name__} ('{name}')" if name else kind.__name__
    if kind not in _BY_NAME.values():
        raise UnknownLayer(f"the layer {place} is none that a description in JSON has: {', '.join(_BY_NAME)}")
    if any(vars(module)[hooks] for hooks in ("_forward_hooks", "_forward_pre_hooks")):
        raise UnknownLayer(f"the layer {place} has hooks, which are code")
    if isinstance(module, nn.Sequential):
        inner = {part: describe(child, f"{name}.{part}".lstrip(".")) for part, child in module.named_children()}
        return {"layer": "Sequential", "layers": inner}
    if isinstance(module, Residual):
        return {"layer": "Residual", "layers": describe(module.layers, f"{name}.layers".lstrip("."))}
    if isinstance(module, Normalize):
        shapes = {"mean": list(module.mean.shape), "std": list(module.std.shape)}
        return {"layer": "Normalize", **shapes, "inverse": module.inverse}
    arguments = {key: getattr(module, key) for key in _ARGUMENTS[kind].split()}
    if "bias" in arguments:
        arguments["bias"] = arguments["bias"] is not None
    return {"layer": kind.__name__, **arguments}


def build(description: Mapping[str, Any]) -> nn.Module:
    """Build the module of a description, without memory for its state. Raises UnknownLayer, and what Torch raises."""
    arguments = dict(description)
    kind = _BY_NAME.get(arguments.pop("layer", None))
    if kind is None:
        raise UnknownLayer(f"there is no layer {description.get('layer')!r}; there are {', '.join(_BY_NAME)}")
    if kind is nn.Sequential:
        sequence = nn.Sequential()
        for name, inner in cast("dict[str, dict[str, Any]]", arguments["layers"]).items():
            sequence.add_module(name, build(inner))
        return sequence
    if kind is Residual:
        residual = Residual()
        residual.layers = cast(nn.Sequential, build(arguments["layers"]))
        return residual
    if kind is Normalize:
        mean, std = (torch.empty(arguments[name], device="meta") for name in ("mean", "std"))
        return Normalize(mean, std, arguments["inverse"])
    unknown = set(arguments) - set(_ARGUMENTS[kind].split())
    if unknown:
        raise UnknownLayer(f"the layer {kind.__name__} has no argument {sorted(unknown)}")
    for key, value in arguments.items():
        most = _MOST_FACTOR if key in ("kernel_size", "dilation") else _MOST
        if any(isinstance(number, int) and abs(number) > most for number in flat(value)):
            raise UnknownLayer(f"the layer {kind.__name__} has {key}={value}, which is beyond {most}")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    with torch.device("meta"):
        return kind(**arguments)
