"""Networks that were traced or exported in training mode, which stay in it whatever is set. It imports Torch."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from hpacml.runtime.models.network import InTraining

_KINDS = (
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout", "rrelu"),
    *("batch_norm", "instance_norm", "native_batch_norm", "cudnn_batch_norm"),
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention"),
)
_PARTS = re.compile("^_|_functional$|_legit|_with_noise|_with_update|_$")
"""What the names of these have besides in a graph that was decomposed, as by `run_decompositions`."""
_NONE = object()
"""Stands for a constant None, and for what an operation does not say."""


def require_evaluation(module: nn.Module) -> None:
    """Raise InTraining for a module with a graph of TorchScript or torch.export that computes as in training."""
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            with contextlib.suppress(RuntimeError):  # of a part without a method `forward`
                require_evaluation_of_script(part)
        elif isinstance(part, torch.fx.GraphModule):
            require_evaluation_of_graph(part.graph)


def require_evaluation_of_script(module: Any) -> None:
    """Raise InTraining for a module of TorchScript that was traced, or frozen, in training mode."""
    graph = module.inlined_graph  # held here, because its nodes do not keep it alive
    for kind in _KINDS:
        for name in (kind, f"{kind}_"):
            for node in graph.findAllNodes(f"aten::{name}"):
                names = [argument.name for argument in cast(Any, torch)._C.parse_schema(node.schema()).arguments]
                _require(kind, dict(zip(names, map(_constant, node.inputs()), strict=False)))


def require_evaluation_of_graph(graph: torch.fx.Graph) -> None:
    """Raise InTraining for a graph of torch.export that was exported in training mode."""
    for node in graph.nodes:
        target: Any = node.target
        kind = _PARTS.sub("", target.overloadpacket.__name__) if hasattr(target, "overloadpacket") else ""
        if kind == "bernoulli" and _is_of_empty(node):
            _require("dropout", {"training": True})
        elif kind in _KINDS:
            names = [argument.name for argument in target._schema.arguments]
            given = dict(zip(names, node.args, strict=False)) | node.kwargs
            _require(kind, {name: _NONE if value is None else value for name, value in given.items()})


def _is_of_empty(node: torch.fx.Node) -> bool:
    """Tell whether an operation is of memory without values, as in what dropout is decomposed into."""
    source = node.args[0] if node.args else None
    return isinstance(source, torch.fx.Node) and "empty" in str(source.target)


def _require(kind: str, arguments: Mapping[str, Any]) -> None:
    """Raise InTraining for an operation that does another thing in training, and does it by its arguments."""
    of_statistics = arguments.get("running_mean", _NONE) is _NONE  # of the inputs, in evaluation mode too
    on = any(arguments.get(name) is True for name in ("train", "training", "use_input_stats"))
    rate = next((arguments[name] for name in ("p", "dropout", "dropout_p") if name in arguments), 1.0)
    if kind.endswith("norm"):
        on &= not of_statistics
    elif kind == "scaled_dot_product_attention":
        on, rate = True, arguments.get("dropout_p", 0.0)
    if on and not (isinstance(rate, (int, float)) and rate == 0):
        raise InTraining(
            f"it was traced or exported in training mode, and its {kind} would stay so in every call: "
            "do it again after module.eval()"
        )


def _constant(value: Any) -> object:
    """Give a constant of a graph, `_NONE` for None, and the value itself for what is no constant."""
    node = value.node()
    if node.kind() != "prim::Constant":
        return value
    constant = cast(object, value.toIValue())
    return _NONE if constant is None else constant
