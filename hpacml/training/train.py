"""`hpacml.train`: from a database to a model that a region uses."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero as ranks
from rich.console import Console

from hpacml.errors import ConfigError, DatabaseError
from hpacml.runtime.databases.reader import Database, Region, open_database
from hpacml.runtime.models.saving import save_model
from hpacml.training import config as settings
from hpacml.training import continued
from hpacml.training.baselines import MODEL, Baselines, Function, Unchanged
from hpacml.training.baselines import fit as baselines_of
from hpacml.training.comparison import Comparison, score
from hpacml.training.config import Config
from hpacml.training.deployed import Scaled, deployed
from hpacml.training.fitting import Fitted, fit, left
from hpacml.training.folder import CHECKPOINT, alone, prepare, write_logs
from hpacml.training.pictures import draw, learning_curve
from hpacml.training.scores import table, table_per_output
from hpacml.training.study import Factory, Study
from hpacml.training.unchanged import unchanged

RANK: int = cast(Any, ranks).rank_zero_only.rank
"""The number of this process, of several that train one network; the first writes."""

Predict = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]

DRIFT = 1.25
"""How much larger the error of the test may be than that of the validation before this is said."""

MOST_LISTED = 32
"""Outputs up to which each has a row in a table."""

MLP = "hpacml.networks:mlp"
"""The place of the factory of networks where none is named."""

BEFORE = "the model before"
"""What a table calls the model that the training went on from."""

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Trained:
    """What `train` made: the model file, the folder with logs and pictures, and what metrics.json has."""

    path: Path
    folder: Path
    metrics: dict[str, Any]


def train(
    databases: File | Sequence[File],
    region: str | None = None,
    model: str | Factory | None = None,
    *,
    config: Mapping[str, Any] | File | None = None,
    changes: Mapping[str, Any] | None = None,
    out: File = "model.pt2",
    more: File | None = None,
    rejected: bool = False,
    baselines: Mapping[str, Function] | None = None,
    resume: bool = True,
    quiet: bool = False,
) -> Trained:
    """Train a network with the data of a region, test it, and write it as a model of this region, which is trusted.

    `databases` are what `hpacml.open_database` takes, and `region` is a label, which may be left out if there is one.
    `model` is a function, or its place as "package.module:name", which makes the network: `factory(network, inputs,
    outputs)` gets the mapping `network` of the config, and the shapes of a row of each input and output, such as
    `((5,),)` and `((1,),)`. The network takes and gives tensors [rows, *shape], which are scaled as the config says.
    Without `model` it is "hpacml.networks:mlp".

    `config` has the settings that docs/training.md lists, as a mapping or as a file of YAML or TOML; `changes` go over
    them, by dotted names. `baselines` are functions by name that the table compares the network with: they get the
    inputs of the test, arrays [rows, *shape], and give its outputs. A training that was stopped or killed goes on
    where it was when it is started again with the same settings and data, unless `resume` is False.

    With `more`, a model of `hpacml.train` with its folder beside it, the training goes on from there, with the rows of
    `databases`: by the same factory, with its weights and scalings, and the settings of its network, which are those of
    `config` that are not given. The domain of the new model is that of both trainings. It is a baseline of the test.

    With `rejected`, the points that guards of the region have rejected (`guard(..., collect)`) are rows, too.

    Beside `out` the folder of the same name with `.train` gets metrics.json, history.csv and pictures.

    Raises ConfigError, DatabaseError for data that cannot be used, ModelError for a network that cannot be written,
    and StuckError for one that learns nothing.
    """
    began = time.monotonic()
    earlier = None if more is None else continued.read(more)
    chosen = settings.read(config, changes, None if earlier is None else earlier.base())
    factory, name = _factory(model or (MLP if earlier is None else earlier.factory))
    target = Path(os.path.abspath(out))
    folder = target.with_suffix(".train")
    console = Console(quiet=quiet or RANK > 0, highlight=False)
    with ExitStack() as held:
        database = held.enter_context(open_database(databases))
        held.enter_context(_own_state(chosen))
        study = Study(_region(database, region, rejected), chosen, factory, name, target, earlier)
        console.print(_introduction(study), markup=False, soft_wrap=True)
        held.enter_context(alone(folder, RANK))
        if RANK == 0 and (begins := _begins(folder, study, resume)) is not None:
            console.print(begins, markup=False, soft_wrap=True)
        predictors = baselines_of(study.parts["train"], _unchanged(study), baselines)
        if earlier is not None:
            predictors.predictors[BEFORE] = _predict(deployed(study.make(0), chosen, study.inputs), study)
        rows, starts = study.rows()
        fitted = fit(study.make, chosen, rows, starts, folder, progress=console.is_terminal)
        if fitted is None:  # one of several processes that is not the first, which writes
            return Trained(target, folder, {})
        scaled = _scaled(study, fitted)
        module = deployed(scaled, chosen, study.inputs)
        validation, comparison = (
            score(each, study.parts[part], _predict(module, study))
            for part, each in (("validation", Baselines({})), ("test", predictors))
        )
        told = _told(study, fitted, validation, comparison)
        maps, domain = study.region.maps, study.domain()
        save_model(module, target, example=study.example, maps=maps, metadata=told, domain=domain)
        collected = [(end, int(study.table.counts[:end].sum())) for end in study.ends]
        continued.keep(folder, target, scaled, name, chosen, (study.inputs, study.outputs), collected)
        metrics = {**told["training"], "model": str(target), "seconds": time.monotonic() - began}
        write_logs(folder, metrics, fitted.history, comparison.results)
        if chosen.pictures:
            learning_curve(folder / "learning_curve.png", fitted.history, ("training", "validation"))
            draw(folder, study.parts["test"], _predict(module, study), study.grid)
        _conclude(console, metrics, comparison)
    return Trained(target, folder, metrics)


def _begins(folder: Path, study: Study, resume: bool) -> str | None:
    """Say what becomes of a training that was not finished, None if there is none."""
    is_left, goes_on = prepare(folder, study.fingerprint(), resume)
    if not is_left:
        return None
    if goes_on:
        whole = left(folder / CHECKPOINT) is not None
        what = "going on with" if whole else "beginning anew: something has torn the save of"
        return f"{what} the training in {folder}, which was not finished"
    why = "had other settings or data" if resume else "is not gone on with"
    return f"beginning anew: the training in {folder}, which was not finished, {why}"


def _factory(model: str | Factory) -> tuple[Factory, str]:
    """Find a factory, and what to call it. Raises ConfigError."""
    if not isinstance(model, str):
        if not callable(model):
            raise ConfigError(f"model is a function that makes a network, or its place, and this is {model!r}")
        return model, f"{getattr(model, '__module__', '')}:{getattr(model, '__qualname__', type(model).__name__)}"
    module, _, name = model.partition(":")
    if not module or not name:
        raise ConfigError(f"'{model}' is no place of a function, such as package.module:factory")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"there is no factory '{model}': {error}") from error
    if not callable(found):
        raise ConfigError(f"'{model}' is a {type(found).__name__}, and a factory is a function")
    return cast(Factory, found), model


def _region(database: Database, label: str | None, rejected: bool) -> Region:
    if label is None:
        if len(database.labels) != 1:
            labels = ", ".join(f"'{each}'" for each in database) or "none"
            raise DatabaseError(f"name the region: the database '{database.paths[0]}' has {labels}")
        (label,) = database.labels
    return database.with_rejected(label) if rejected else database[label]


@contextmanager
def _own_state(config: Config) -> Generator[None]:
    """Leave the program its random numbers and its number of threads."""
    threads, numbers, others = torch.get_num_threads(), np.random.get_state(), random.getstate()
    with cast(Any, torch).random.fork_rng():
        try:
            if config.threads is not None:
                torch.set_num_threads(config.threads)
            yield
        finally:
            torch.set_num_threads(threads)
            np.random.set_state(numbers)
            random.setstate(others)


def _introduction(study: Study) -> str:
    """Say what is trained with which rows."""
    region, table, config = study.region, study.table, study.config
    lines = [
        f"{study.name} for '{region.label}': {_shapes(study.inputs)} -> {_shapes(study.outputs)}, "
        f"{sum(map(len, study.parts.values()))} of {int(table.counts.sum())} {table.kind} of {region.calls} calls",
        f"split {study.splits.text}",
    ]
    if study.earlier is not None:
        lines.append(f"going on from {study.earlier.path}, with its weights and scalings")
    if study.splits.warning:
        lines.append(f"warning: {study.splits.warning}")
    if config.dtype.deploy == "float64":
        lines.append("note: a model in float64 takes two to five times as long as in float32 (dtype.deploy)")
    return "\n".join(lines)


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)


def _scaled(study: Study, fitted: Fitted) -> Scaled:
    """The network with the weights that a training came to."""
    scaled = study.make(0)
    scaled.core.load_state_dict(cast("dict[str, torch.Tensor]", fitted.state))
    return scaled


def _predict(module: torch.nn.Module, study: Study) -> Predict:
    """Make what predicts as the region will: whole numbers are cut to these."""
    dtype: torch.dtype = getattr(torch, study.config.dtype.deploy)
    cut = [tensor.dtype.kind in "iu" for tensor in study.table.outputs]

    def predict(x: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        with torch.inference_mode():
            y = module(*(each.to(dtype) for each in x))
        found = (y,) if isinstance(y, torch.Tensor) else tuple(y)
        return tuple(each.trunc() if whole else each for each, whole in zip(found, cut, strict=True))

    return predict


def _unchanged(study: Study) -> list[Unchanged]:
    """Which numbers may stay what they are: those whose changes the network gives, or else that the maps tell of."""
    features = study.config.residual
    if isinstance(features, list):
        return [Unchanged(0, 0, tuple((feature, k) for k, feature in enumerate(features)))]
    return unchanged(study.table)


def _told(study: Study, fitted: Fitted, validation: Comparison, comparison: Comparison) -> dict[str, Any]:
    """Collect what a model tells of its training: nothing that differs if the same is done again."""
    errors = {"validation": validation.results[MODEL]["rmse"], "test": comparison.results[MODEL]["rmse"]}
    remarks = [comparison.verdict(), comparison.exceptions(), _drift(errors), *study.remarks(), *comparison.notes]
    return {
        "training": {
            "region": study.region.label,
            "factory": study.name,
            "config": study.config.model_dump(mode="json"),
            "split": study.splits.text,
            "rows": {name: len(part) for name, part in study.parts.items()},
            **({} if (before := study.earlier) is None else {"more": {"sha256": before.digest, "rows": before.rows}}),
            "units": dict(study.region.units),
            "data_sha256": study.sha256,
            "versions": study.versions(),
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "validation_loss": fitted.validation,
            "attempt": fitted.attempt,
            "ended": fitted.ended,
            "validation": validation.results[MODEL],
            "test": comparison.results,
            "remarks": [each for each in remarks if each],
        },
        "statistics": study.statistics(),
    }


def _drift(errors: Mapping[str, float]) -> str | None:
    """Say that a network is worse on the rows of the test than on those of the validation."""
    if not errors["test"] > DRIFT * errors["validation"]:
        return None
    return (
        f"the RMSE of the test, {errors['test']:.3g}, is {errors['test'] / errors['validation']:.2g} times that of the "
        f"validation, {errors['validation']:.3g}: the rows of the test are unlike those that were trained with, as "
        "where a simulation drifts. Train with data of all of it, or do not use the model there"
    )


def _conclude(console: Console, metrics: Mapping[str, Any], comparison: Comparison) -> None:
    """Show how good the model and the baselines are, and say what to think of."""
    times = f"{metrics['epochs']} epochs, {metrics['ended']}, best {metrics['best_epoch']}; {metrics['seconds']:.1f} s"
    console.print(f"{times}; loss of the validation {metrics['validation_loss']:.3g}", markup=False, soft_wrap=True)
    results = comparison.shown
    console.print(table(results, f"test, {metrics['rows']['test']} rows"))
    if 1 < len(results[MODEL]["per_output"]) <= MOST_LISTED:
        console.print(table_per_output(results, title="RMSE of each output"))
    for remark in metrics["remarks"]:
        console.print(remark, markup=False, soft_wrap=True)
    console.print(metrics["model"], markup=False, soft_wrap=True)
