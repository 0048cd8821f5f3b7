"""The network as a region runs it: what was trained, between the numbers that scale its inputs and outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from hpacml.errors import ConfigError
from hpacml.networks.folding import folded
from hpacml.runtime.models.layers import Normalize, Residual
from hpacml.runtime.models.moments import MOST_COVARIANCES, Moments
from hpacml.training.config import Clamp, Config, Normalization, Scale

Shape = tuple[int, ...]
Tensors = tuple[torch.Tensor, ...]


class Scaling(nn.Module):
    """Scales tensors by `(x - offset) / scale`, and back."""

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, offset: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)

    @staticmethod
    def of(moments: Moments, kind: Scale, each: str | None) -> Scaling | None:
        """Make that of rows; what is constant is shifted alone. None for no scaling."""
        if kind == "none":
            return None
        if kind == "whiten":
            return Whitening.of_vectors(moments)
        rank = len(moments.shape)
        has_channels = rank > 2 and moments.shape[-1] > 1  # else the last dimension is its channel
        each = each or ("channel" if has_channels else "feature" if rank < 2 else "tensor")
        dims = {"feature": (), "channel": tuple(range(1, rank)), "tensor": tuple(range(rank))}[each]
        if kind == "min-max":
            offset, high = moments.range(dims)
            scale = high - offset
        else:
            offset, scale = moments.deviation(dims)
        rounding = 8 * torch.finfo(torch.float64).eps * offset.abs()  # a mean's, of a feature that is constant
        return Scaling(offset, torch.where(scale > rounding, scale, 1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.offset) / self.scale

    def back(self, y: torch.Tensor) -> torch.Tensor:
        """Undo the scaling."""
        return y * self.scale + self.offset

    def layers(self, inverse: bool) -> list[nn.Module]:
        """Make the layers of a model file."""
        return [Normalize(self.offset.clone(), self.scale.clone(), inverse)]


class Whitening(Scaling):
    """Gives vectors the covariance 1, by the eigenvectors of theirs; what does not vary becomes 0."""

    turn: torch.Tensor

    @staticmethod
    def of_vectors(moments: Moments) -> Whitening:
        """Make that of rows. Raises ConfigError for others than vectors of few features."""
        if moments.products is None or len(moments.shape) != 1:
            raise ConfigError(
                f"normalize.inputs: whiten is for vectors of up to {MOST_COVARIANCES} features, and the shape of a row "
                f"is {list(moments.shape)}: use z-score"
            )
        found: tuple[torch.Tensor, torch.Tensor] = cast(Any, torch).linalg.eigh(moments.products / moments.count)
        deviations, vectors = found[0].clamp(min=0).sqrt(), found[1]
        varies = deviations > 4 * torch.finfo(torch.float32).eps * deviations.max()  # else it is rounding
        turn = torch.where(varies, vectors / deviations.where(varies, 1.0), 0.0).T
        made = Whitening(moments.mean, torch.ones_like(moments.mean))
        made.register_buffer("turn", turn.contiguous())
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(super().forward(x), self.turn)

    def layers(self, inverse: bool) -> list[nn.Module]:
        turn = nn.Linear(*self.turn.T.shape, bias=False)
        turn.weight = nn.Parameter(self.turn.clone())
        return [*super().layers(inverse), turn]


def scaling_of(state: Mapping[str, torch.Tensor]) -> Scaling:
    """Make a scaling of its tensors by their names."""
    if "turn" not in state:
        return Scaling(state["offset"], state["scale"])
    made = Whitening(state["offset"], state["scale"])
    made.register_buffer("turn", state["turn"])
    return made


class Scaled(nn.Module):
    """A network in training, with the scaling of its tensors: `core` takes and gives scaled ones, of `dtype`.

    Scaling is in float64, so that what varies little beside its mean keeps its digits; inputs are first rounded to
    `given`, in which the region will give them.
    With `residual` it predicts the change of its input, which has `width` features: of those of these numbers, or of
    all with True.
    """

    def __init__(
        self,
        core: nn.Module,
        inputs: Sequence[Scaling | None],
        targets: Sequence[Scaling | None],
        residual: bool | list[int],
        width: int,
        dtype: torch.dtype,
        given: torch.dtype,
    ) -> None:
        super().__init__()
        self.core = core.to(dtype)
        self.inputs = nn.ModuleList(each or nn.Identity() for each in inputs)
        self.targets = nn.ModuleList(each or nn.Identity() for each in targets)
        self.residual = residual
        self.width = width
        self.dtype = dtype
        self.given = given

    def prepared(self, x: Tensors, y: Tensors) -> tuple[Tensors, Tensors]:
        """Scale inputs, and what the network should give for them, of any dtypes."""
        x, y = tuple(map(self._floating, x)), tuple(map(self._floating, y))
        under = base(x, self.residual)
        changes = y if under is None else (y[0] - under,)
        x = tuple(each.to(self.given) for each in x)
        return _scaled(self.inputs, x, self.dtype), _scaled(self.targets, changes, self.dtype)

    def run(self, inputs: Tensors) -> Tensors:
        """Run the network on scaled inputs."""
        y = self.core(*inputs)
        return (y,) if isinstance(y, torch.Tensor) else tuple(y)

    def unscaled(self, x: Tensors, found: Tensors) -> Tensors:
        """The outputs of what the network gave for the inputs `x`."""
        under = base(tuple(map(self._floating, x)), self.residual)
        outputs = tuple(
            scaling.back(each) if isinstance(scaling, Scaling) else each
            for scaling, each in zip(self.targets, found, strict=True)
        )
        return outputs if under is None else (outputs[0] + under,)

    def _floating(self, tensor: torch.Tensor) -> torch.Tensor:
        """Differences are taken in a dtype that holds both, and whole numbers that are wide in float64."""
        is_wide = not tensor.is_floating_point() and tensor.dtype.itemsize > 2
        return tensor.to(torch.float64 if is_wide else torch.promote_types(tensor.dtype, self.dtype))


def _scaled(scalings: nn.ModuleList, tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return tuple(scaling(each).to(dtype) for scaling, each in zip(scalings, tensors, strict=True))


def base(x: Tensors, residual: bool | list[int]) -> torch.Tensor | None:
    """The features of an input, [rows, ...], whose change is the target; None for none."""
    if residual is False:
        return None
    return x[0] if residual is True else x[0][..., residual]


def require_residual(residual: bool | list[int], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> None:
    """Raise ConfigError if there is no input whose change an output can be."""
    if residual is False:
        return
    shapes = f"a row of the inputs is {_shown(inputs)}, of the outputs {_shown(outputs)}"
    if len(inputs) != 1 or len(outputs) != 1:
        raise ConfigError(f"a residual is of one input and one output, and {shapes}")
    if residual is True:
        if inputs != outputs:
            raise ConfigError(
                f"residual: true is for an output of the shape of its input, and {shapes}: name the features that "
                "change, as in residual: [3]"
            )
        return
    if len(inputs[0]) != 1 or outputs[0] != (len(residual),) or max(residual, default=0) >= inputs[0][0]:
        raise ConfigError(f"residual: {residual} names a feature of the input for each of the output, and {shapes}")


def _shown(shapes: Sequence[Shape]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)


def scalings(
    moments: Sequence[Moments], normalize: Normalization, inputs: int
) -> tuple[list[Scaling | None], list[Scaling | None]]:
    """Make the scalings of inputs and targets, whose `moments` stand in this order."""
    each = [
        Scaling.of(numbers, normalize.inputs if k < inputs else normalize.targets, normalize.each)
        for k, numbers in enumerate(moments)
    ]
    return each[:inputs], each[inputs:]


def deployed(scaled: Scaled, config: Config, inputs: Sequence[Shape]) -> nn.Module:
    """Make the module that a region runs, in evaluation mode: made of layers that the engine knows where `core` is.

    `inputs` are the shapes of a row of each.
    """
    core = copy.deepcopy(scaled.core).cpu().eval()
    before = [_layer(each, inverse=False) for each in scaled.inputs]
    targets = [_layer(each, inverse=True) for each in scaled.targets]
    clamp = _clamp(config.clamp)
    if len(before) == len(targets) == 1:
        layers = [*before[0], *_layers(core, torch.zeros(1, *inputs[0], dtype=scaled.dtype))]
        if scaled.residual is True:
            layers = [Residual(*layers, *targets[0])]
        elif scaled.residual is not False:
            layers = _selected([*layers, *targets[0]], scaled.residual, scaled.width)
        else:
            layers += targets[0]
        module: nn.Module = nn.Sequential(*layers, *clamp)
    else:
        module = Several(before, core, [[*each, *clamp] for each in targets])
    dtype = getattr(torch, config.dtype.deploy)
    return module.to(dtype).eval().requires_grad_(False)


class Several(nn.Module):
    """A network of several inputs or outputs, each with the layers before or behind it."""

    def __init__(self, before: Sequence[list[nn.Module]], core: nn.Module, behind: Sequence[list[nn.Module]]) -> None:
        super().__init__()
        self.before = nn.ModuleList(nn.Sequential(*each) for each in before)
        self.core = core
        self.behind = nn.ModuleList(nn.Sequential(*each) for each in behind)

    def forward(self, *x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        y = self.core(*(layers(each) for layers, each in zip(self.before, x, strict=True)))
        y = (y,) if isinstance(y, torch.Tensor) else y
        found = tuple(layers(each) for layers, each in zip(self.behind, y, strict=True))
        return found[0] if len(found) == 1 else found


def _layer(scaling: nn.Module, inverse: bool) -> list[nn.Module]:
    return scaling.layers(inverse) if isinstance(scaling, Scaling) else []


def _layers(core: nn.Module, example: torch.Tensor) -> list[nn.Module]:
    return folded(core, example) if type(core) is nn.Sequential else [core]


def _clamp(clamp: Clamp) -> list[nn.Module]:
    if clamp.min is None and clamp.max is None:
        return []
    low, high = -math.inf if clamp.min is None else clamp.min, math.inf if clamp.max is None else clamp.max
    return [nn.Hardtanh(low, high)]


def _selected(layers: list[nn.Module], features: list[int], width: int) -> list[nn.Module]:
    """Add what layers give to these features of their input, and leave out all others: exactly, by ones and zeros."""
    ones = torch.zeros(width, len(features)).index_put(
        (torch.tensor(features), torch.arange(len(features))), torch.tensor(1.0)
    )
    spread, chosen = nn.Linear(len(features), width, bias=False), nn.Linear(width, len(features), bias=False)
    spread.weight, chosen.weight = nn.Parameter(ones), nn.Parameter(ones.T.clone(memory_format=torch.contiguous_format))
    return [Residual(*layers, spread), chosen]
