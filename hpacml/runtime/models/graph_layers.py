"""The layers of a program of torch.export: modules that compute what the operations in its graph do. Imports Torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from torch.export.graph_signature import InputKind

from hpacml.runtime.models.described import NotDescribed
from hpacml.runtime.models.layers import Normalize, Reshaping, Residual

Arguments: TypeAlias = dict[str, Any]
"""The arguments of an operation by their names in its schema, but for the tensor that it is on."""

Make: TypeAlias = "Callable[[Arguments, torch.fx.Node], nn.Module | None]"
"""Makes the module of an operation, None for one that changes nothing."""

Weights: TypeAlias = "Mapping[torch.fx.Node, torch.Tensor]"

_aten = cast(Any, torch.ops.aten)

_ABOUT_TENSORS = {_aten._assert_tensor_metadata.default, _aten.sym_size.int}
"""Operations that check a tensor, or tell its sizes."""


def layers_of(program: torch.export.ExportedProgram) -> nn.Sequential:
    """The layers of a program, one after the other, with its weights, in evaluation mode.

    Raises NotDescribed for a program that is no such sequence, or has operations that are no layers.
    """
    weights, node = _weights_and_input(program)
    return nn.Sequential(*_between(node, _output(program), weights)).eval().requires_grad_(False)


def _between(node: torch.fx.Node, last: torch.fx.Node, weights: Weights) -> list[nn.Module]:
    """The modules that make the result of the last operation of that of an earlier one."""
    found: list[nn.Module] = []
    while node is not last:
        users = [user for user in node.users if user.target not in _ABOUT_TENSORS]
        sums = [user for user in users if user.target is _aten.add.Tensor and len(user.all_input_nodes) == 2]
        if len(users) == 2 and len(sums) == 1 and not any(each in weights for each in sums[0].all_input_nodes):
            (sum,) = sums
            (first,) = (user for user in users if user is not sum)
            (end,) = (each for each in sum.all_input_nodes if each is not node)
            if sum.kwargs:
                raise NotDescribed(f"{sum.target} has a factor")
            found.append(Residual(*_module(first, node, weights), *_between(first, end, weights)))
            node = sum
            continue
        if len(users) != 1:
            raise NotDescribed(f"the result of '{node.name}' is used by {len(users)} operations")
        found += _module(users[0], node, weights)
        (node,) = users
    return found


def _weights_and_input(
    program: torch.export.ExportedProgram,
) -> tuple[Weights, torch.fx.Node]:
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    weights: dict[torch.fx.Node, torch.Tensor] = {}
    inputs: list[torch.fx.Node] = []
    for spec in program.graph_signature.input_specs:
        if (node := nodes.get(getattr(spec.arg, "name", ""))) is None:
            raise NotDescribed("it takes something else than tensors")
        stored = program.state_dict.get(str(spec.target), program.constants.get(str(spec.target)))
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(node)
        elif isinstance(stored, torch.Tensor):
            weights[node] = stored.detach()
    if len(inputs) != 1:
        raise NotDescribed("it has several inputs")
    return weights, inputs[0]


def _output(program: torch.export.ExportedProgram) -> torch.fx.Node:
    *_, last = program.graph.nodes
    results = cast("Sequence[object]", last.args[0])
    if len(results) != 1 or not isinstance(results[0], torch.fx.Node):
        raise NotDescribed("it has several outputs")
    return results[0]


def _module(node: torch.fx.Node, given: torch.fx.Node, weights: Weights) -> list[nn.Module]:
    """The module of an operation on the result of another; none if it changes nothing."""
    if (make := _OPERATIONS.get(node.target)) is None:
        raise NotDescribed(f"{node.target} is no layer that is compiled")
    schema = cast(Any, node.target)._schema.arguments
    arguments: Arguments = {each.name: each.default_value for each in schema}
    arguments |= dict(zip(arguments, node.args, strict=False)) | node.kwargs
    is_first = arguments.pop(schema[0].name) is given
    for name, value in arguments.items():
        if isinstance(value, torch.fx.Node):
            if not is_first or value not in weights:
                raise NotDescribed(f"{node.target} takes several results")
            arguments[name] = weights[value]
    if not is_first:
        raise NotDescribed(f"{node.target} has the result of another operation behind its first argument")
    return [*filter(None, [make(arguments, node)])]


def _with_weights(module: nn.Module, **weights: torch.Tensor | None) -> nn.Module:
    for name, weight in weights.items():
        setattr(module, name, None if weight is None else nn.Parameter(weight, requires_grad=False))
    return module


def _linear(a: Arguments, node: torch.fx.Node) -> nn.Module:
    outputs, inputs = a["weight"].shape
    with torch.device("meta"):
        module = nn.Linear(inputs, outputs)
    return _with_weights(module, weight=a["weight"], bias=a["bias"])


def _convolution(kind: Any) -> Make:
    def make(a: Arguments, node: torch.fx.Node) -> nn.Module:
        outputs, inputs, *size = a["weight"].shape
        rank = len(size)
        numbers = {name: tuple(_all(a[name], rank)) for name in ("stride", "dilation")}
        padding = a["padding"] if isinstance(a["padding"], str) else tuple(_all(a["padding"], rank))
        with torch.device("meta"):
            module = kind(inputs * a["groups"], outputs, tuple(size), padding=padding, groups=a["groups"], **numbers)
        return _with_weights(module, weight=a["weight"], bias=a["bias"])

    return make


def _all(numbers: int | Sequence[int], rank: int) -> Sequence[int]:
    found = [numbers] if isinstance(numbers, int) else numbers
    return found if len(found) == rank else [*found] * rank


def _batch_norm(a: Arguments, node: torch.fx.Node) -> nn.Module:
    if a["training"] or a["running_mean"] is None or a["running_var"] is None:
        raise NotDescribed(f"{node.target} takes the statistics of its inputs")
    kind = nn.BatchNorm2d if node.meta["val"].dim() == 4 else nn.BatchNorm1d
    module = kind(len(a["running_mean"]), eps=a["eps"], affine=False)
    module.running_mean, module.running_var = a["running_mean"], a["running_var"]
    return _with_weights(module, weight=a["weight"], bias=a["bias"])


def _prelu(a: Arguments, node: torch.fx.Node) -> nn.Module:
    return _with_weights(nn.PReLU(a["weight"].numel()), weight=a["weight"].reshape(-1))


def _pool(kind: Any) -> Make:
    def make(a: Arguments, node: torch.fx.Node) -> nn.Module:
        return kind(**{**a, "stride": a["stride"] or a["kernel_size"]})

    return make


def _function(kind: Callable[..., nn.Module], *names: str, **others: bool) -> Make:
    return lambda a, node: kind(*(a[name] for name in names), **others)


def _elu(a: Arguments, node: torch.fx.Node) -> nn.Module:
    if (a["scale"], a["input_scale"]) != (1, 1):
        raise NotDescribed(f"{node.target} has scales")
    return nn.ELU(a["alpha"], inplace=node.target is _aten.elu_.default)


def _clamp(a: Arguments, node: torch.fx.Node) -> nn.Module:
    low, high = a.get("min"), a.get("max")
    if any(isinstance(bound, torch.Tensor) for bound in (low, high)):
        raise NotDescribed(f"{node.target} has bounds that are tensors")
    low, high = (-torch.inf if low is None else low), (torch.inf if high is None else high)
    if low >= high:
        raise NotDescribed(f"{node.target} has the bounds {low} and {high}")
    return nn.Hardtanh(low, high)


def _arithmetic(*, is_sum: bool, inverse: bool) -> Make:
    """`Normalize` of one number, or of one for each feature: `x - a` and `x / a`, or back, `x + a` and `x * a`."""

    def make(a: Arguments, node: torch.fx.Node) -> nn.Module:
        if a.get("alpha", 1) != 1:
            raise NotDescribed(f"{node.target} has a factor")
        number, kept = torch.as_tensor(a["other"]), node.meta["val"]
        if not isinstance(a["other"], torch.Tensor):
            number = number.to(kept.dtype)
        taken = cast(Any, node.args[0]).meta["val"].dtype  # an integer is one of the program's input
        widens = taken.is_floating_point and taken != kept.dtype
        if number.dtype != kept.dtype or number.dim() > kept.dim() or (widens and not inverse):
            raise NotDescribed(f"{node.target} changes the dtype, or the dimensions")
        zero, one = torch.zeros((), dtype=number.dtype), torch.ones((), dtype=number.dtype)
        return Normalize(number, one, inverse) if is_sum else Normalize(zero, number, inverse)

    return make


def _same(a: Arguments, node: torch.fx.Node) -> None:
    """An operation that changes nothing."""


def _dropout(a: Arguments, node: torch.fx.Node) -> None:
    if a["train"]:
        raise NotDescribed(f"{node.target} is in training mode")


def _to(a: Arguments, node: torch.fx.Node) -> None:
    if cast(Any, node.args[0]).meta["val"].dtype != node.meta["val"].dtype:
        raise NotDescribed(f"{node.target} changes the dtype")


def _flatten(a: Arguments, node: torch.fx.Node) -> nn.Module:
    return nn.Flatten(a["start_dim"], a["end_dim"])


def _unflatten(a: Arguments, node: torch.fx.Node) -> nn.Module:
    return nn.Unflatten(a["dim"], _known(a["sizes"], node))


def _permute(a: Arguments, node: torch.fx.Node) -> nn.Module:
    shape = cast(Any, node.args[0]).meta["val"].shape
    dims = [dim % len(shape) for dim in a["dims"]]
    long = [dim for dim in dims if not (isinstance(shape[dim], int) and shape[dim] == 1)]
    if long != sorted(long):
        raise NotDescribed(f"{node.target} changes the order of pixels")
    return Reshaping("permute", tuple(dims))


def _unsqueeze(a: Arguments, node: torch.fx.Node) -> nn.Module:
    return Reshaping("unsqueeze", a["dim"])


def _squeeze(a: Arguments, node: torch.fx.Node) -> nn.Module:
    return Reshaping("squeeze", a["dim"])


def _view(a: Arguments, node: torch.fx.Node) -> nn.Module | None:
    """A change of the dimensions, by a flatten or an unflatten: sizes that may vary are known by their expressions."""
    before, after = ([str(size) for size in each.meta["val"].shape] for each in (cast(Any, node.args[0]), node))
    if before == after:
        return None
    is_flatten = len(before) > len(after)
    many, few = (before, after) if is_flatten else (after, before)
    more = len(many) - len(few)
    for start in reversed(range(len(few))):  # the first dimension may vary
        if many[:start] == few[:start] and many[start + more + 1 :] == few[start + 1 :]:
            if is_flatten:
                return nn.Flatten(start, start + more - (len(many) if start + more == len(many) - 1 else 0))
            return nn.Unflatten(start, _known(node.meta["val"].shape[start : start + more + 1], node))
    raise NotDescribed(f"{node.target} changes several dimensions")


def _known(sizes: Sequence[Any], node: torch.fx.Node) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in sizes):
        raise NotDescribed(f"{node.target} makes dimensions that vary")
    return tuple(sizes)


_OPERATIONS: Mapping[object, Make] = {
    _aten.linear.default: _linear,
    _aten.conv1d.default: _convolution(nn.Conv1d),
    _aten.conv1d.padding: _convolution(nn.Conv1d),
    _aten.conv2d.default: _convolution(nn.Conv2d),
    _aten.conv2d.padding: _convolution(nn.Conv2d),
    _aten.batch_norm.default: _batch_norm,
    _aten.prelu.default: _prelu,
    _aten.max_pool1d.default: _pool(nn.MaxPool1d),
    _aten.max_pool2d.default: _pool(nn.MaxPool2d),
    _aten.avg_pool1d.default: _pool(nn.AvgPool1d),
    _aten.avg_pool2d.default: _pool(nn.AvgPool2d),
    _aten.relu.default: _function(nn.ReLU),
    _aten.relu6.default: _function(nn.ReLU6),
    _aten.leaky_relu.default: _function(nn.LeakyReLU, "negative_slope"),
    _aten.relu_.default: _function(nn.ReLU, inplace=True),
    _aten.leaky_relu_.default: _function(nn.LeakyReLU, "negative_slope", inplace=True),
    _aten.silu_.default: _function(nn.SiLU, inplace=True),
    _aten.hardtanh_.default: _function(nn.Hardtanh, "min_val", "max_val", inplace=True),
    _aten.elu.default: _elu,
    _aten.elu_.default: _elu,
    _aten.gelu.default: _function(nn.GELU, "approximate"),
    _aten.silu.default: _function(nn.SiLU),
    _aten.tanh.default: _function(nn.Tanh),
    _aten.sigmoid.default: _function(nn.Sigmoid),
    _aten.hardtanh.default: _function(nn.Hardtanh, "min_val", "max_val"),
    _aten.clamp.default: _clamp,
    _aten.clamp_min.default: _clamp,
    _aten.clamp_max.default: _clamp,
    _aten.sub.Tensor: _arithmetic(is_sum=True, inverse=False),
    _aten.div.Tensor: _arithmetic(is_sum=False, inverse=False),
    _aten.mul.Tensor: _arithmetic(is_sum=False, inverse=True),
    _aten.add.Tensor: _arithmetic(is_sum=True, inverse=True),
    _aten.flatten.using_ints: _flatten,
    _aten.unflatten.int: _unflatten,
    _aten.view.default: _view,
    _aten.reshape.default: _view,
    _aten.permute.default: _permute,
    _aten.unsqueeze.default: _unsqueeze,
    _aten.squeeze.dim: _squeeze,
    _aten.to.dtype: _to,
    _aten.dropout.default: _dropout,
    _aten.feature_dropout.default: _dropout,
    _aten.alias.default: _same,
    _aten.clone.default: _same,
    _aten.contiguous.default: _same,
    _aten.detach.default: _same,
}
"""What the operations compute, by their overloads in ATen."""
