"""`hpacml.search`: from a database to the models that are the best for their speed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console

from hpacml.networks import FAMILIES
from hpacml.networks.hyperparameters import Family
from hpacml.runtime.databases.reader import open_database
from hpacml.searching import plan as plans
from hpacml.searching.board import Board
from hpacml.searching.domain import Domain
from hpacml.searching.findings import written
from hpacml.searching.jobs import Evaluate, Training, is_full
from hpacml.searching.journal import Journal, SearchError
from hpacml.searching.nested import Measure, Nested
from hpacml.searching.places import imported, region_of
from hpacml.searching.plan import Plan
from hpacml.searching.stopwatch import Stopwatch
from hpacml.searching.workforce import Workforce, cores

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Found:
    """What a search has found: the trials of the front, from the fastest on, as search.json has them."""

    folder: Path
    front: list[dict[str, Any]]
    ended: str
    """Why it has ended."""


def search(
    plan: Mapping[str, Any] | File,
    *,
    out: File | None = None,
    quiet: bool = False,
    evaluate: Evaluate | None = None,
    measure: Measure | None = None,
) -> Found:
    """Search architectures for a region, and hyper-parameters for each, by training networks and measuring them.

    `plan` has the settings that docs/search.md lists, as a mapping or a file of YAML; `out` is the folder, in place of
    that of the plan. It gets journal.jsonl, from which the same call goes on after whatever stopped it, the trials, and
    at the end trials.csv, front.csv, search.json, front.png, and the models of the front, which are trusted.

    `evaluate` is called in place of `hpacml.train`, with the parameters of an architecture, hyper-parameters, and a
    folder; it gives a mapping with `error` and `model`, a number and a file. `measure` is called with such a file in
    place of the measurement of the region; it gives a mapping with `time` and `accurate`, in milliseconds, `speedup`,
    and `failed`, which is None. Both are functions of modules, which workers import.

    Raises ConfigError for settings, DatabaseError and ModelError for what they name, and SearchError where a search
    cannot go on.
    """
    settings = plans.read(plan, None if out is None else {"out": os.fspath(out)})
    folder = Path(os.path.abspath(settings.out))
    databases = _absolute(settings.database)
    data = _checked(settings, databases) if evaluate is None else ""
    journal = Journal(folder / "journal.jsonl")
    try:
        parallel = settings.trials.parallel or cores()
        nested = Nested(settings, journal, folder, parallel, data, *_start(settings))
        return _run(nested, settings, folder, databases, Console(quiet=quiet), evaluate, measure)
    except OSError as error:
        if not is_full(error):
            raise
        raise SearchError(f"the disk is full: {error}. Nothing is lost: make room, and start it again") from error
    finally:
        journal.close()


def _run(
    nested: Nested,
    settings: Plan,
    folder: Path,
    databases: str | list[str],
    console: Console,
    evaluate: Evaluate | None,
    measure: Measure | None,
) -> Found:
    training = Training(databases, settings.region, settings.model, settings.train, settings.objectives.error.metric)
    timing = settings.timing
    stopwatch = Stopwatch(
        databases, settings.region, settings.application, timing.repeats, timing.seconds, timing.threads
    )
    board = Board(nested, console)
    ended = "it was interrupted"
    workers = Workforce(settings.parsl, folder / "parsl")
    try:
        with board.shown():
            ended = nested.run(workers, evaluate or training, measure or stopwatch, board.update)
    finally:
        workers.close()
        best = written(nested, folder, ended)
    board.last()
    console.print(f"{ended}: {folder}", markup=False, soft_wrap=True)
    return Found(folder, best, ended)


def _start(plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a training without a search has of an architecture and of hyper-parameters, as far as that is known."""
    from hpacml.training import config

    family = _family(plan)
    values: dict[str, Any] = config.read(plan.train).model_dump()
    if family:
        values["network"] = family.start(values["network"])
    found: dict[str, Any] = {}
    for name in plan.hyperparameters:
        value: Any = values
        for part in name.split("."):
            value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    return values["network"], found


def _family(plan: Plan) -> Family | None:
    return FAMILIES.get(plan.model.removeprefix("hpacml.networks:"))


def _absolute(paths: str | list[str]) -> str | list[str]:
    return os.path.abspath(paths) if isinstance(paths, str) else [os.path.abspath(each) for each in paths]


def _checked(plan: Plan, databases: str | list[str]) -> str:
    """Check what all trials need, and tell the rows of the database from others.

    Raises ConfigError, DatabaseError, MissingExtra, and ModelError for names that a family of networks does not have.
    """
    from hpacml.training import config
    from hpacml.training.region_table import Part, table
    from hpacml.training.statistics import Digest

    middle = Domain(plan.hyperparameters)
    chosen = config.read(plan.train, middle.values(middle.middle()))
    imported(plan.model)
    if (family := _family(plan)) is not None:
        searched = (name.partition(".") for name in plan.hyperparameters)
        family.require_known([*plan.architecture, *(name for first, _, name in searched if first == "network")])
    if plan.application is not None:
        imported(plan.application)
    with open_database(databases) as database:
        rows = table(region_of(database, plan.region), chosen.rows)
        digest: Digest | None = None
        for x, y in Part(rows, np.arange(int(rows.counts.sum()))).blocks():
            digest = digest or Digest((*x, *y))
            digest.update((*x, *y))
        return f"{len(rows.counts)} calls, {digest and digest.hexdigest()}"
