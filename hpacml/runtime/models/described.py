"""Modules of known layers as data: what compiled code computes in their place. It imports Torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from hpacml.networks.architecture import Activation, Layer, Linear, Scaling
from hpacml.runtime.models.layers import Normalize

Weights = tuple[torch.Tensor, ...]


class NotDescribed(Exception):
    """A module that compiled code does not compute; the message tells why."""


class Described:
    """The layers of a module, with its parameters and buffers as they are now, in the order of their use."""

    def __init__(self, module: nn.Module) -> None:
        self.layers: list[Layer] = []
        self.weights: list[Callable[[], Weights]] = []
        """For each layer that has weights, what gives them."""
        self.flattens = False
        """Whether all dimensions of an input but the first are its features."""
        _require_known(module)
        self._add(module, "")

    def _add(self, module: nn.Module, name: str) -> None:
        kind: Any = type(module)
        place = _place(kind, name)
        inside = module.__dict__
        if inside["_forward_hooks"] or inside["_forward_pre_hooks"]:
            raise NotDescribed(f"{place} has hooks")
        if "forward" in inside or kind.forward is not _FORWARDS[kind]:
            raise NotDescribed(f"{place} has a forward of its own")
        if inside["training"]:
            raise NotDescribed(f"{place} is in training mode")
        if kind is nn.Sequential:
            for part, child in inside["_modules"].items():
                self._add(child, f"{name}.{part}".lstrip("."))
            return
        try:
            _KNOWN[kind](self, module)
        except NotDescribed as error:
            raise NotDescribed(f"{place} {error}") from None

    def append(self, layer: Layer, weights: Callable[[], Weights] | None = None) -> None:
        self.layers.append(layer)
        if weights is not None:
            self.weights.append(weights)


def _require_known(module: nn.Module) -> None:
    """Raise NotDescribed for other layers. Each call of a module that has some asks, so nothing else comes before."""
    ahead = [("", module)]
    for name, part in ahead:
        kind = type(part)
        if kind is nn.Sequential:
            ahead += [(f"{name}.{key}" if name else key, each) for key, each in vars(part)["_modules"].items()]
        elif kind not in _KNOWN:
            raise NotDescribed(f"{_place(kind, name)} is no layer that is compiled")


def _place(kind: type[nn.Module], name: str) -> str:
    return f"{kind.__name__} ('{name}')" if name else f"the {kind.__name__}"


def _linear(found: Described, module: Any) -> None:
    outputs, inputs = module.weight.shape

    def weights() -> Weights:
        matrix, bias = module.weight.detach(), module.bias
        return (matrix, matrix.new_zeros(outputs) if bias is None else bias.detach())

    found.append(Linear(inputs, outputs), weights)


def _batch_norm(found: Described, module: Any) -> None:
    if module.running_mean is None:
        raise NotDescribed("takes the statistics of its inputs")

    def weights() -> Weights:
        scale = torch.rsqrt(module.running_var + module.eps)
        scale = scale if module.weight is None else scale * module.weight.detach()
        shift = torch.zeros_like(scale) if module.bias is None else module.bias.detach()
        return (module.running_mean, scale, shift)

    found.append(Scaling("batch_norm", module.num_features), weights)


def _normalize(found: Described, module: Any) -> None:
    shape: tuple[int, ...] = tuple(cast(Any, torch).broadcast_shapes(module.mean.shape, module.std.shape))
    if len(shape) > 1 and any(size != 1 for size in shape[:-1]):
        raise NotDescribed("has a mean for each row")
    features = shape[-1] if shape else 1

    def weights() -> Weights:
        return tuple(each.expand(shape).reshape(features) for each in (module.mean, module.std))

    found.append(Scaling("denormalize" if module.inverse else "normalize", features), weights)


def _prelu(found: Described, module: Any) -> None:
    found.append(Scaling("prelu", module.num_parameters), lambda: (module.weight.detach(),))


def _flatten(found: Described, module: Any) -> None:
    if found.layers or (module.start_dim, module.end_dim) != (1, -1):
        raise NotDescribed("is not the first layer, or keeps dimensions")
    found.flattens = True


def _gelu(found: Described, module: Any) -> None:
    found.append(Activation("gelu_tanh" if module.approximate == "tanh" else "gelu"))


def _function(name: str, *numbers: str | float) -> Callable[[Described, Any], None]:
    def add(found: Described, module: Any) -> None:
        given = (getattr(module, each) if isinstance(each, str) else each for each in numbers)
        found.append(Activation(name, tuple(map(float, given))))

    return add


def _nothing(found: Described, module: Any) -> None:
    """Add no layer: in evaluation it gives what it gets."""


_KNOWN: Mapping[type[nn.Module], Callable[[Described, Any], None]] = cast(
    Any,
    {
        nn.Linear: _linear,
        nn.BatchNorm1d: _batch_norm,
        Normalize: _normalize,
        nn.PReLU: _prelu,
        nn.Flatten: _flatten,
        nn.GELU: _gelu,
        nn.ReLU: _function("relu"),
        nn.ReLU6: _function("clamp", 0.0, 6.0),
        nn.Hardtanh: _function("clamp", "min_val", "max_val"),
        nn.LeakyReLU: _function("leaky_relu", "negative_slope"),
        nn.ELU: _function("elu", "alpha"),
        nn.Tanh: _function("tanh"),
        nn.Sigmoid: _function("sigmoid"),
        nn.SiLU: _function("silu"),
        nn.Identity: _nothing,
        nn.Dropout: _nothing,
    },
)

_FORWARDS: Mapping[type[nn.Module], object] = {kind: cast(Any, kind).forward for kind in (*_KNOWN, nn.Sequential)}
"""What the layers compute, which programs may exchange."""
