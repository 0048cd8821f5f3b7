"""The way of an application from data to measurements: collect, train, run, evaluate. Nothing is done twice."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hpacml

from .experiment import Experiment, Program, Setup
from .resumable import Say, digest, once

DECK = ("ligand.in", "protein.in", "forcefield.in", "poses.in")
"""The files of a deck of miniBUDE."""

SHARED = [Path(__file__).with_name(name) for name in ("devices.py", "glibc.py")]
"""The modules that programs share."""

NAMES = ("minibude", "binomial_options", "bonds", "miniweather", "particlefilter")


def experiment(name: str) -> Experiment:
    """The experiment of an application. Raises ConfigError, which lists those that there are."""
    if name not in NAMES:
        raise hpacml.ConfigError(f"there is no application '{name}'; there are {', '.join(NAMES)}")
    return import_module(f"examples.{name}.experiment").EXPERIMENT


@dataclass(frozen=True)
class Workflow:
    """One application with a setup, and the folder for its database, models and measurements.

    `searched` is the folder of an `hpacml search`, the models of whose front take the place of those of the
    experiment. `say` shows a line.
    """

    experiment: Experiment
    setup: Setup
    folder: Path
    searched: Path | None = None
    say: Say = field(default=print, compare=False)

    @property
    def database(self) -> Path:
        """The collected data."""
        return self.folder / "data.h5"

    @cached_property
    def program(self) -> Program:
        """The application on inputs that no training has seen."""
        return self.experiment.program(self.setup)

    def collect(self, fresh: bool = False) -> Path:
        """Write the database: all of it, or none."""
        once(self.database, self.origin(), self._collect, self.say, fresh)
        return self.database

    def _collect(self) -> None:
        for left in self.folder.glob("collecting-*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix="collecting-", dir=self.folder) as folder:
            part = Path(folder) / self.database.name
            self.experiment.collect(self.setup, part)
            hpacml.flush()
            part.replace(self.database)
        self.say(f"{self.database}: {self.database.stat().st_size / 1e6:.1f} MB")

    def models(self, fresh: bool = False) -> dict[str, Path]:
        """The model files by the names of their networks: those of the search, or all that are trained."""
        found = {} if self.searched is None else front(self.searched)
        self.collect()
        if found:
            return {name: path for name, (path, _) in found.items()}
        return {name: self._train(name, network, fresh) for name, network in self.experiment.networks.items()}

    def _train(self, name: str, network: Mapping[str, object], fresh: bool) -> Path:
        settings = {**self.experiment.settings(self.setup), "network": dict(network)}
        model = self._model(name)
        origin = {"training": settings, "data": digest(self.database), "model.py": digest(self.package / "model.py")}

        def train() -> None:
            self.say(f"training {name}")
            hpacml.train(self.database, model=self.experiment.factory, config=settings, out=model, resume=not fresh)

        once(model, origin, train, self.say, fresh)
        return model

    def _model(self, name: str) -> Path:
        """The file of a network, whatever is in its name."""
        return self.folder / "models" / f"{quote(name, safe=' ,+=()')}.pt2"

    @property
    def package(self) -> Path:
        """The folder of the application's program."""
        return Path(__file__).parent / self.experiment.name

    def origin(self) -> dict[str, Any]:
        """What results depend on, beside networks: the setup, the version, and the text of the program."""
        deck = self.setup.deck
        modules = sorted(each for each in self.package.glob("*.py") if each.name != "model.py")
        return {
            "setup": asdict(self.setup),
            "deck": None if deck is None else {name: digest(deck / name) for name in DECK},
            "program": {each.name: digest(each) for each in [*modules, *SHARED]},
            "hpacml": hpacml.__version__,
        }

    def trained(self) -> dict[str, dict[str, Any]]:
        """What the training of each network tells: its seconds, epochs, and errors of the test."""
        if self.searched is not None:
            return {name: told for name, (_, told) in front(self.searched).items()}
        models = {name: self._model(name) for name in self.experiment.networks}
        logs = {name: model.with_suffix(".train") / "metrics.json" for name, model in models.items()}
        told = {name: json.loads(log.read_text()) for name, log in logs.items() if log.exists()}
        return {name: {key: value for key, value in each.items() if key != "model"} for name, each in told.items()}


def front(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The models of the front that a search left, and what it tells of each, by their architectures in words.

    Raises ConfigError where no search has ended, or where a model is missing.
    """
    try:
        rows = json.loads((folder / "search.json").read_text())["front"]
    except (OSError, ValueError, TypeError, KeyError):
        raise hpacml.ConfigError(
            f"'{folder}' has no whole search.json, which a search leaves: give the folder `out` of an hpacml search"
        ) from None
    found = {_words(row): (folder / "models" / Path(row["model"]).name, row) for row in rows}
    if missing := [str(path) for path, _ in found.values() if not path.exists()]:
        raise hpacml.ConfigError(f"the front in '{folder}' has models that are not there: {', '.join(missing)}")
    if not found:
        raise hpacml.ConfigError(f"the search in '{folder}' has no front: all of its trials failed")
    return found


def _words(row: Mapping[str, Any]) -> str:
    chosen = ", ".join(f"{name} {value}" for name, value in row["architecture"].items())
    return f"{row['trial']:04}: {chosen}"
