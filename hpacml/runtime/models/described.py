"""Modules of known layers as data: what compiled code computes in their place. It imports Torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from hpacml.networks.architecture import Activation, Layer, Linear, Residual, Scaling
from hpacml.networks.images import Convolution, Flatten, Pair, Pool, Window
from hpacml.runtime.models import layers
from hpacml.runtime.models.layers import Normalize, Reshaping
from hpacml.runtime.models.network import Network

Weights = tuple[torch.Tensor, ...]


class NotDescribed(Exception):
    """A module that compiled code does not compute; the message tells why."""


def module_of(network: Network) -> nn.Module | None:
    """The module that a network runs, or one of layers that compute the same; None where there is none."""
    try:
        return None if network.module is None else network.module()
    except NotDescribed:
        return None


class Described:
    """The layers of a module, with its parameters and buffers as they are now, in the order of their use."""

    def __init__(self, module: nn.Module) -> None:
        self.layers: list[Layer] = []
        self.weights: list[Callable[[], Weights]] = []
        """For each layer that has weights, what gives them."""
        self.reshapes: tuple[list[nn.Module], list[nn.Module]] = [], []
        """What changes the dimensions of the input in front of all layers, and of the result behind them."""
        self._takers: list[tuple[str, Collection[int]]] = []
        """For each layer what it is, and of how many dimensions images are that it takes, 0 being none; () is any."""
        self._place = ""
        self._kept: set[int] = set()
        """The layers whose inputs are added to something later."""
        _require_known(module)
        self._add(module, "")
        self.rank = max((min(ranks) for _, ranks in self._takers if ranks), default=0)
        """The dimensions of images, 0 if the features of a point are no image."""
        rank = self.rank
        for layer, (place, ranks) in zip(self.layers, self._takers, strict=True):
            if ranks and rank not in ranks:
                raise NotDescribed(f"{place} takes {_dimensions(ranks)}, and others before or behind it do not")
            rank = 0 if isinstance(layer, Flatten) else rank

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
        self._place = place
        if inside.get("inplace") and len(self.layers) in self._kept:
            raise NotDescribed(f"{place} changes in place what is added to its result")
        try:
            if kind is layers.Residual:
                self._flatten()
            else:
                _KNOWN[kind](self, module)
        except NotDescribed as error:
            raise NotDescribed(f"{place} {error}") from None
        if kind is layers.Residual:
            self._add_residual(module, name)

    def append(self, layer: Layer, weights: Callable[[], Weights] | None = None, ranks: Collection[int] = ()) -> None:
        """Add a layer, which takes images of so many dimensions; 0 are none, and () any."""
        if not _is_of_each_number(layer):
            self._flatten()
        self._add_layer(layer, ranks)
        if weights is not None:
            self.weights.append(weights)

    def _add_residual(self, module: Any, name: str) -> None:
        """Add the layers of a sum of what they take and give."""
        ahead, place, start = self._changes_ahead(), self._place, len(self.layers)
        self._kept.add(start)
        self._add(module.layers, f"{name}.layers".lstrip("."))
        if self.reshapes[1] or self._changes_ahead() > ahead or len(self.layers) == start:
            raise NotDescribed(f"{place} adds what has other dimensions, or its input itself")
        self.append(Residual(len(self.layers) - start))

    @property
    def is_ahead(self) -> bool:
        """Whether what comes next is as well in front of all layers."""
        return all(map(_is_of_each_number, self.layers))

    def _changes_ahead(self) -> int:
        return sum(not isinstance(each, Spread) for each in self.reshapes[0])

    def _flatten(self) -> None:
        """Make a change of dimensions behind the layers one of them."""
        behind = self.reshapes[1]
        if behind:
            if len(behind) > 1 or not _flattens(behind[0]):
                raise NotDescribed("follows a change of dimensions")
            behind.clear()
            self._add_layer(Flatten(), (1, 2))

    def _add_layer(self, layer: Layer, ranks: Collection[int]) -> None:
        self.layers.append(layer)
        self._takers.append((self._place, ranks))


class Spread(nn.Module):
    """Gives a tensor as many dimensions at least as another one has whose only element is broadcast with it."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[(None,) * (self.dimensions - x.dim())]


def _is_of_each_number(layer: Layer) -> bool:
    """Whether a layer does the same in front of a change of dimensions and behind it."""
    return isinstance(layer, Activation) or (isinstance(layer, Scaling) and layer.is_for_all)


def _dimensions(ranks: Collection[int]) -> str:
    return " or ".join(f"images of {rank} dimension{'s' * (rank > 1)}" if rank else "features" for rank in ranks)


def _require_known(module: nn.Module) -> None:
    """Raise NotDescribed for other layers. Each call of a module that has some asks, so nothing else comes before."""
    ahead = [("", module)]
    for name, part in ahead:
        kind = type(part)
        if kind in _OF_OTHERS:
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

    found.append(Linear(inputs, outputs), weights, (0,))


def _batch_norm(found: Described, module: Any) -> None:
    if module.running_mean is None:
        raise NotDescribed("takes the statistics of its inputs")

    def weights() -> Weights:
        scale = torch.rsqrt(module.running_var + module.eps)
        scale = scale if module.weight is None else scale * module.weight.detach()
        shift = torch.zeros_like(scale) if module.bias is None else module.bias.detach()
        return (module.running_mean, scale, shift)

    ranks = (2,) if isinstance(module, nn.BatchNorm2d) else (0, 1)
    found.append(Scaling("batch_norm", module.num_features), weights, ranks)


def _normalize(found: Described, module: Any) -> None:
    shape: tuple[int, ...] = tuple(cast(Any, torch).broadcast_shapes(module.mean.shape, module.std.shape))
    features = math.prod(shape)
    if features not in (1, *shape):
        raise NotDescribed("has a mean for each of several dimensions")
    behind = len(shape) - 1 - shape.index(features) if features > 1 else None
    ranks = [rank for rank in (0, 1, 2) if behind in (None, rank) and len(shape) <= rank + 2]
    if features == 1 and len(shape) > 1 and (found.is_ahead or found.reshapes[1]):
        found.reshapes[not found.is_ahead].append(Spread(len(shape)))
        ranks = [0, 1, 2]
    if not ranks:
        raise NotDescribed("has a mean for each row, or more dimensions than its input")

    def weights() -> Weights:
        return tuple(each.expand(shape).reshape(features) for each in (module.mean, module.std))

    found.append(Scaling("denormalize" if module.inverse else "normalize", features), weights, ranks)


def _prelu(found: Described, module: Any) -> None:
    found.append(Scaling("prelu", module.num_parameters), lambda: (module.weight.detach(),))


def _reshape(found: Described, module: Any) -> None:
    found.reshapes[not found.is_ahead].append(module)


def _flattens(module: Any) -> bool:
    return isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)


def _convolution(found: Described, module: Any) -> None:
    if module.padding_mode != "zeros":
        raise NotDescribed(f"pads with what {module.padding_mode} says, and not with zeros")
    rank = len(module.kernel_size)
    if module.padding == "same":
        around = [size * (count - 1) for size, count in zip(module.dilation, module.kernel_size, strict=True)]
        padding = [(each // 2, each - each // 2) for each in around]
    else:
        padding = [(0, 0) if module.padding == "valid" else (each, each) for each in _all(module.padding, rank)]
    window = _window(rank, module.kernel_size, module.stride, module.dilation, padding)

    def weights() -> Weights:
        own, bias = module.weight.detach().flatten(1), module.bias
        return (own, own.new_zeros(len(own)) if bias is None else bias.detach())

    layer = Convolution(module.in_channels, module.out_channels, window, module.groups)
    found.append(layer, weights, (rank,))


def _max_pool(found: Described, module: Any) -> None:
    _pool(found, module, "max_pool", module.dilation)


def _avg_pool(found: Described, module: Any) -> None:
    padding = {*_all(module.padding, 2)}
    if getattr(module, "divisor_override", None) is not None or (padding != {0} and not module.count_include_pad):
        raise NotDescribed("divides by other numbers than that of the pixels in a window")
    _pool(found, module, "avg_pool", 1)


def _pool(found: Described, module: Any, kind: str, dilation: int | Sequence[int]) -> None:
    if module.ceil_mode:
        raise NotDescribed("has windows that are not whole, as ceil_mode says")
    if getattr(module, "return_indices", False):
        raise NotDescribed("gives indices, too")
    rank = 1 if isinstance(module, nn.MaxPool1d | nn.AvgPool1d) else 2
    padding = [(each, each) for each in _all(module.padding, rank)]
    if any(2 * each > size for (each, _), size in zip(padding, _all(module.kernel_size, rank), strict=True)):
        raise NotDescribed("pads with more than half of a window")
    window = _window(rank, module.kernel_size, module.stride, dilation, padding)
    found.append(Pool(kind, window), None, (rank,))


def _all(numbers: int | Sequence[int], rank: int) -> Sequence[int]:
    return [numbers] * rank if isinstance(numbers, int) else numbers


def _window(
    rank: int,
    size: int | Sequence[int],
    stride: int | Sequence[int],
    dilation: int | Sequence[int],
    padding: Sequence[Pair],
) -> Window:
    """The window of rows and columns; images of one dimension have one row."""

    def pair(numbers: Sequence[int], row: int) -> Pair:
        rows, columns = [row] * (2 - rank) + list(numbers)
        return rows, columns

    before, after = zip(*padding, strict=True)
    sizes, strides, dilations = (pair(_all(numbers, rank), 1) for numbers in (size, stride, dilation))
    return Window(sizes, strides, dilations, pair(before, 0), pair(after, 0))


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
        nn.Conv1d: _convolution,
        nn.Conv2d: _convolution,
        nn.MaxPool1d: _max_pool,
        nn.MaxPool2d: _max_pool,
        nn.AvgPool1d: _avg_pool,
        nn.AvgPool2d: _avg_pool,
        nn.BatchNorm1d: _batch_norm,
        nn.BatchNorm2d: _batch_norm,
        Normalize: _normalize,
        nn.PReLU: _prelu,
        nn.Flatten: _reshape,
        nn.Unflatten: _reshape,
        Reshaping: _reshape,
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
        nn.Dropout1d: _nothing,
        nn.Dropout2d: _nothing,
    },
)

_OF_OTHERS = (nn.Sequential, layers.Residual)
"""Modules that consist of others."""

_FORWARDS: Mapping[type[nn.Module], object] = {kind: cast(Any, kind).forward for kind in (*_KNOWN, *_OF_OTHERS)}
"""What the layers compute, which programs may exchange."""
