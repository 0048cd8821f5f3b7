"""What a search is told, as YAML or a mapping, and checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, StrictInt, field_validator, model_validator

from hpacml.errors import ConfigError
from hpacml.training.strict_settings import Settings, checked, loaded, read_path

Number = Annotated[StrictInt | float, Field(union_mode="left_to_right")]
Value = int | float | str | bool

PRESETS = Path(__file__).parent / "presets"


class Range(Settings):
    """All numbers between two, both of them included; integers if both are, unless `type` says otherwise."""

    range: tuple[Number, Number]
    log: bool = False
    type: Literal["int", "float"] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        low, high = self.range
        if low > high:
            raise ValueError(f"the range [{low}, {high}] is empty: the smaller number comes first")
        if self.log and low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, not at {low}")
        if self.type == "int" and not all(isinstance(end, int) for end in self.range):
            raise ValueError(f"a range of integers has integers as its ends, not [{low}, {high}]")
        return self

    @property
    def is_integer(self) -> bool:
        """Whether it is one of integers."""
        return self.type == "int" or (self.type is None and all(isinstance(end, int) for end in self.range))


class Choice(Settings):
    """One of some values of one type."""

    choice: Annotated[list[Value], Field(min_length=1)]

    @field_validator("choice")
    @classmethod
    def _has_one_type(cls, values: list[Value]) -> list[Value]:
        kinds = {type(value) for value in values}
        if kinds == {int, float}:
            values = [float(value) for value in values]
        elif len(kinds) > 1:
            raise ValueError(
                f"the values {values} are of several types: {', '.join(sorted(k.__name__ for k in kinds))}"
            )
        if len(set(values)) < len(values):
            raise ValueError(f"a value stands twice in {values}")
        return values


class Fixed(Settings):
    """A value that is not searched, which may be anything that YAML has."""

    value: Any


Parameter = Range | Choice | Fixed


def _parameter(given: object) -> Parameter:
    if isinstance(given, Range | Choice | Fixed):
        return given
    if isinstance(given, Mapping):
        content = cast("Mapping[str, Any]", given)
        if "range" in content:
            return Range.model_validate(content)
        if "choice" in content:
            return Choice.model_validate(content)
        raise ValueError("use {range: [low, high]}, {choice: [values]}, or a value")
    return Fixed(value=given)


Parameters = dict[str, Annotated[Parameter, BeforeValidator(_parameter)]]


class Objective(Settings):
    """The worst value that is of interest."""

    threshold: PositiveFloat | None = None


class Error(Objective):
    """Which error: that of the model on the validation rows, or the loss of the training there."""

    metric: Literal["rmse", "mae", "mape", "max", "loss"] = "rmse"


class Objectives(Settings):
    """Both are made small: the validation error, and the milliseconds of a call of the region."""

    error: Error = Error()
    time: Objective = Objective()


class Trials(Settings):
    """How many architectures are tried, and how many hyper-parameters of each.

    The search ends after `patience` architectures in a row none of which is on the front. `parallel` architectures are
    tried at a time; without it these are as many as there are workers on this machine.
    """

    outer: PositiveInt = 100
    inner: PositiveInt = 30
    patience: PositiveInt | None = 5
    parallel: PositiveInt | None = None


class Timing(Settings):
    """How a region is measured: `repeats` pairs of calls, by the model and accurate, but no longer than `seconds`."""

    repeats: Annotated[int, Field(ge=3)] = 21
    seconds: PositiveFloat = 5.0
    threads: PositiveInt = 1


class Plan(Settings):
    """All settings of a search; docs/search.md explains each."""

    database: str | Annotated[list[str], Field(min_length=1)]
    region: str | None = None
    model: str = "hpacml.networks:mlp"
    train: dict[str, Any] = {}
    architecture: Parameters = {}
    constraints: list[str] = []
    hyperparameters: Parameters = {}
    objectives: Objectives = Objectives()
    trials: Trials = Trials()
    time_limit: PositiveFloat | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    application: str | None = None
    timing: Timing = Timing()
    parsl: str | None = None
    out: str = "search"

    @field_validator("application", "parsl", "model")
    @classmethod
    def _is_a_place(cls, place: str | None) -> str | None:
        if place is not None and not all(place.partition(":")):
            raise ValueError(f"'{place}' is no place such as package.module:name")
        return place

    def identity(self) -> dict[str, Any]:
        """What must stay as it is for a search to go on: all that decides what a trial is and what it gives.

        Budgets, workers and the folder may change.
        """
        told = self.model_dump(mode="json", exclude={"time_limit", "parsl", "out"})
        told["trials"] = {"inner": self.trials.inner}
        return told


def read(source: Mapping[str, Any] | str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> Plan:
    """Check what a search is told: a mapping, or a file of YAML; `changes` go over it.

    `preset` in it names the preset that it goes over. Raises ConfigError with the place of each fault.
    """
    path = None if isinstance(source, Mapping) else read_path(source, "the search")
    where = "the search" if path is None else f"'{path}'"
    content = {**(cast("Mapping[str, Any]", source) if path is None else _content(path)), **(changes or {})}
    if (preset := content.pop("preset", None)) is not None:
        content = _over(_preset(preset), content)
    return checked(Plan, content, f"{where} is no search")


def presets() -> list[str]:
    """The names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _preset(name: object) -> Mapping[str, Any]:
    if name not in presets():
        raise ConfigError(f"there is no preset {name!r}: there are {', '.join(presets())}")
    return _content(PRESETS / f"{name}.yaml")


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over others; those of a group that is in both go one by one."""
    groups = {name for name in below.keys() & above.keys() if isinstance(below[name], dict)}
    return {
        name: {**below[name], **above[name]}
        if name in groups and isinstance(above[name], Mapping)
        else above.get(name, value)
        for name, value in {**below, **above}.items()
    }


def _content(path: Path) -> Mapping[str, Any]:
    content = loaded(path)
    if not isinstance(content, Mapping):
        raise ConfigError(f"'{path}' has no names and values, such as 'database: options.h5'")
    return cast("Mapping[str, Any]", content)
