"""What a training leaves beside its model for one that goes on from there: the weights, and the scalings."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from hpacml.directives.map_texts import Maps
from hpacml.errors import ConfigError
from hpacml.runtime.models.domain import Domain
from hpacml.runtime.models.model import load
from hpacml.runtime.models.network import Network
from hpacml.runtime.models.trust import digest
from hpacml.training.config import Config
from hpacml.training.deployed import Scaled, Scaling, scaling_of
from hpacml.training.splits import Numbers

WEIGHTS = "weights.pt"
"""The file in the folder of a training, which belongs to one version of its model."""

KEPT = ("network", "rows", "residual", "normalize", "dtype")
"""The settings that are those of the model before."""

Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Earlier:
    """A model that a training goes on from, and what its own left.

    `digest` is that of its file, and `rows` counts what it and the models before it were trained with. `collected` has
    the calls and the rows that the data of each of these trainings had.
    """

    path: Path
    digest: str
    factory: str
    settings: dict[str, Any]
    shapes: list[list[list[int]]]
    core: dict[str, torch.Tensor]
    scalings: list[Scaling | None]
    collected: list[list[int]]
    network: Network
    rows: int

    @property
    def domain(self) -> Domain | None:
        """Where the rows that it was trained with lie."""
        return self.network.domain

    def base(self) -> dict[str, Any]:
        """The settings to begin with: those of the network, and the clamp."""
        return {name: copy.deepcopy(self.settings[name]) for name in (*KEPT, "clamp")}

    def require_fits(self, factory: str, config: Config, maps: Sequence[str] | None, shapes: Sequence[Shapes]) -> None:
        """Raise ConfigError for another network, other scalings, or data of other maps than those of the model."""
        if factory != self.factory:
            raise self._misfit(f"its network is made by {self.factory}, and this one by {factory}")
        settings = config.model_dump(mode="json")
        for name in KEPT:
            if settings[name] != self.settings[name]:
                raise self._misfit(f"its setting '{name}' is {self.settings[name]}, and this one {settings[name]}")
        given = [[list(each) for each in side] for side in shapes]
        if given != self.shapes:
            raise self._misfit(f"rows of its inputs and outputs are {self.shapes}, and those of the data {given}")
        known = Maps() if maps is None else maps
        if known and (reason := self.network.differs_from(known)) is not None:
            raise self._misfit(f"the data is of other maps. {reason}")
        if isinstance(known, Maps) and (place := self.network.misfit_of_elements(known)) is not None:
            types = f"{self.network.maps.dtypes[place]}, and of the data {known.dtypes[place]}"
            raise self._misfit(f"the elements of its map '{known[place]}' are {types}")

    def ends(self, counts: Numbers) -> list[int]:
        """Where the calls of each training end among those of data, if these are more of the same, and the new ones."""
        calls = len(counts)
        if any(end > calls or int(counts[:end].sum()) != rows for end, rows in self.collected):
            return [calls]
        return sorted({*(end for end, _ in self.collected), calls})

    def fill(self, core: nn.Module) -> None:
        """Give a network the weights. Raises ConfigError for one that has others."""
        try:
            core.load_state_dict(self.core)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()[1:]]
            raise self._misfit(f"the network of {self.factory} has other weights by now: {' '.join(lines)}") from error

    def _misfit(self, why: str) -> ConfigError:
        return ConfigError(
            f"a training cannot go on from the model '{self.path}': {why}. Use what it was trained with, or train anew"
        )


def keep(
    folder: Path,
    model: Path,
    scaled: Scaled,
    factory: str,
    config: Config,
    shapes: Sequence[Shapes],
    collected: Sequence[tuple[int, int]],
) -> None:
    """Write what `read` needs of the training of a model, whole or not at all. Raises ConfigError."""
    told = {
        "model": digest(model.read_bytes()),
        "factory": factory,
        "settings": config.model_dump(mode="json"),
        "shapes": [[list(each) for each in side] for side in shapes],
        "collected": [list(each) for each in collected],
        "core": {name: tensor.detach().cpu().clone() for name, tensor in scaled.core.state_dict().items()},
        "scalings": [
            {name: t.detach().cpu() for name, t in each.state_dict().items()} if isinstance(each, Scaling) else None
            for each in (*scaled.inputs, *scaled.targets)
        ],
    }
    temporary = folder / f"{WEIGHTS}.part"
    try:
        torch.save(told, temporary)
        os.replace(temporary, folder / WEIGHTS)
    except (OSError, RuntimeError) as error:  # Torch's writer has no errors of its own for a full disk
        raise ConfigError(f"the model is written, but not what trainings go on from, '{temporary}': {error}") from error


def read(model: str | os.PathLike[str]) -> Earlier:
    """The training of a model, which lies in the folder beside it.

    Raises ModelError for a model that cannot be loaded, and ConfigError for one without such a folder, or with that of
    another training.
    """
    path = Path(os.path.abspath(model))
    file = path.with_suffix(".train") / WEIGHTS
    loaded = load(os.path.realpath(path))
    try:
        told: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        scalings = [None if each is None else scaling_of(each) for each in told["scalings"]]
        core, settings = dict(told["core"]), dict(told["settings"])
        factory, shapes, known = str(told["factory"]), list(told["shapes"]), told["model"]
        collected = list(told["collected"])
    except FileNotFoundError as error:
        raise ConfigError(
            f"a training goes on from the weights that lie beside its model, and there is no '{file}': keep the folder "
            "of hpacml train beside the model"
        ) from error
    except Exception as error:  # whatever Torch raises for a file that something else has torn
        raise ConfigError(f"'{file}' is damaged: train anew") from error
    if known != loaded.digest:
        raise ConfigError(f"'{file}' is of another training than the model '{path}', which was written anew or copied")
    training = cast("Mapping[str, Any]", loaded.network.metadata.get("training", {}))
    rows = int(training.get("rows", {}).get("train", 0)) + int(training.get("more", {}).get("rows", 0))
    return Earlier(path, str(known), factory, settings, shapes, core, scalings, collected, loaded.network, rows)
