"""Batch normalisation as a part of the layer in front of it, as deployed networks have it. It imports Torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import fusion


def folded(layers: Iterable[nn.Module], example: torch.Tensor) -> list[nn.Module]:
    """Give layers in evaluation mode without the batch normalisation behind linear layers and convolutions.

    What they compute differs by rounding; others are the same modules. `example` is an input as in training,
    [rows, ...]. A region may give points of a sweep as [a, b, features], and `BatchNorm1d` takes `b` for the features.
    """
    layers = [*layers]
    if not any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in layers):
        return layers
    found: list[nn.Module] = []
    for layer in layers:
        last: Any = found[-1] if found else None
        if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) or not (layer.affine and layer.track_running_stats):
            found.append(layer)
        elif isinstance(last, nn.Linear) and example.dim() == 2:
            found[-1] = fusion.fuse_linear_bn_eval(last, layer)
        elif isinstance(last, nn.Conv1d | nn.Conv2d):
            found[-1] = fusion.fuse_conv_bn_eval(last, layer)
        else:
            found.append(layer)
        with torch.no_grad():
            example = layer(example)
    return found
