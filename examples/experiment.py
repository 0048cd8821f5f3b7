"""What the driver knows of an application: data to train with, a program to run by either path, and what to compare."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

Quality = np.ndarray | Mapping[str, np.ndarray]
"""The quality of interest, of one run of a program: an array, or several by their names."""


@dataclass(frozen=True)
class Setup:
    """How large an experiment is, and where it runs. `deck` is a folder with a deck of miniBUDE."""

    size: Literal["small", "paper"] = "small"
    device: Literal["cpu", "cuda"] = "cpu"
    deck: Path | None = None


class Program(Protocol):
    """An application on inputs that no training has seen."""

    def __call__(self, model: object = None, database: str | None = None) -> Quality:
        """Run it from first to last, by `model` or by the original code, whose regions go to `database`."""
        ...


@dataclass(frozen=True)
class Experiment:
    """One application.

    `networks` has the configurations of `--size small` by their names. Each goes as `network` into `settings`, which
    are those of `hpacml.train`, and to `factory`. `truth` is what programs are compared with in place of the accurate
    result. `baselines` need no network: they compute the quality of interest, and are measured as programs are.
    """

    name: str
    title: str
    quality: str
    metric: Literal["rmse", "mape"]
    collect: Callable[[Setup, Path], None]
    program: Callable[[Setup], Program]
    settings: Callable[[Setup], dict[str, Any]]
    networks: Mapping[str, Mapping[str, object]]
    baselines: Callable[[Setup, Path], Mapping[str, Callable[[], Quality]]] = lambda setup, database: {}
    truth: Callable[[Setup], Quality] | None = None
    paper: Mapping[str, str] = field(default_factory=dict)
    """What the paper says of speed, error and the like, in words."""
    figures: Callable[[Setup, Path, Mapping[str, Path]], list[Path]] | None = None
    """Draws what only this application has, of the models by their names, into a folder; returns the files."""

    @property
    def factory(self) -> str:
        """What `hpacml.train` makes networks with."""
        return f"examples.{self.name}.model:network"
