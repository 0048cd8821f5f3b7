"""Several networks as one, which tells how far they agree. It imports Torch."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import cast

import torch
from torch import nn

from hpacml.errors import ModelError
from hpacml.runtime.models.described import NotDescribed
from hpacml.runtime.models.model import load
from hpacml.runtime.models.network import describe

Member = nn.Module | str | os.PathLike[str]


class Ensemble(nn.Module):
    """The mean of several networks for each output, and as one more output, the last one, their spread.

    The spread is the largest standard deviation of a feature over all outputs of a point, in their units: float
    [..., 1], for `guard(below: ...)`. The last dimension of an output has its features, unless it is the only one. Of
    networks that give a mapping it is the entry "uncertainty".

    `members` are modules, or files of models, such as `hpacml.train` makes with other seeds: state dicts, TorchScript,
    and those of torch.export that are made of common layers. They are copied. Raises ModelError for fewer than two
    members and for other files.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        if isinstance(members, (str, nn.Module)) or len(members) < 2:
            raise ModelError("an ensemble has a list of two members or more: fewer have no spread")
        self.members = nn.ModuleList(map(_module, members)).eval()

    def forward(self, *x: torch.Tensor) -> object:
        given: list[object] = [member(*x) for member in self.members]
        first = given[0]
        if isinstance(first, Mapping):
            named = cast("list[Mapping[str, torch.Tensor]]", given)
            means, spread = _joined([[each[name] for each in named] for name in named[0]])
            return {**dict(zip(named[0], means, strict=True)), "uncertainty": spread}
        listed = [cast("Sequence[torch.Tensor]", y if isinstance(y, (tuple, list)) else (y,)) for y in given]
        means, spread = _joined(list(zip(*listed, strict=True)))
        return (*means, spread)


Ensemble.__module__ = "hpacml"  # pickles name this, which stays when files move


def _joined(outputs: Sequence[Sequence[torch.Tensor]]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The means of what members give for each output, and their spread. Raises ValueError for other shapes."""
    means: list[torch.Tensor] = []
    spreads: list[torch.Tensor] = []
    for several in outputs:
        stacked = torch.stack(list(several))
        mean = stacked.mean(0)
        deviation = (stacked - mean).square().mean(0).sqrt()  # Torch's own warns of no points
        means.append(mean)
        spreads.append((deviation if deviation.dim() > 1 else deviation.unsqueeze(-1)).amax(-1, keepdim=True))
    if any(each.shape != spreads[0].shape for each in spreads):
        raise ValueError(f"the outputs {describe(means)} of an ensemble have not the same points")
    return means, reduce(torch.maximum, spreads)


def _module(member: Member) -> nn.Module:
    """A copy of a member. Raises ModelError for a file that has no module."""
    if isinstance(member, nn.Module):
        return copy.deepcopy(member)
    if not isinstance(cast(object, member), (str, os.PathLike)):
        raise ModelError(f"a member of an ensemble is a torch.nn.Module or a file of a model, and no {member!r}")
    model = load(os.path.realpath(member))
    try:
        found = model.network.run if model.network.module is None else model.network.module()
    except NotDescribed as error:
        raise _no_module(member, f"is not made of common layers ({error})") from error
    if not isinstance(found, nn.Module):
        raise _no_module(member, f"is {model.format}, which gives no module")
    return copy.deepcopy(found)


def _no_module(member: object, why: str) -> ModelError:
    return ModelError(
        f"the model '{member}' is no member of an ensemble, since it {why}: write it as .safetensors or .pt, or pass "
        "the module"
    )
