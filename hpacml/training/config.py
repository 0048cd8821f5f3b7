"""What a training may be told, as YAML, TOML or a mapping, and checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from hpacml.errors import ConfigError
from hpacml.training.strict_settings import Settings, checked, loaded, read_path

Floating = Literal["float32", "float64"]
Scale = Literal["min-max", "z-score", "whiten", "none"]

Source = Mapping[str, Any] | str | os.PathLike[str] | None


class Split(Settings):
    """Which rows are for training, for validation and for the test.

    Ranges such as `0:480`, of calls or rows as `by` says, or else fractions: of all calls, one range after the other,
    or drawn by the seed with `shuffle`.
    """

    by: Literal["calls", "rows"] | None = None
    train: str | Annotated[float, Field(gt=0, lt=1)] = 0.7
    validation: str | Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: str | Annotated[float, Field(gt=0, lt=1)] = 0.15
    shuffle: bool = False


class Normalization(Settings):
    """How inputs and targets are scaled, by numbers of the training rows.

    `each` says what has numbers of its own: each feature of a row, each channel (the first dimension of rows that are
    fields), or the tensor as one. Without it that is features for vectors, and channels for fields with channels: for
    rows of three dimensions or more, of which the last is longer than 1.
    `whiten` turns vectors so that features do not go together and then gives each the deviation 1: differences that are
    small beside what all features share, as between neighbours of a smooth field, become as large as that.
    """

    inputs: Scale = "z-score"
    targets: Literal["min-max", "z-score", "none"] = "z-score"
    each: Literal["feature", "channel", "tensor"] | None = None


class Clamp(Settings):
    """The range of the outputs. The training does not know it, since a clamp stops gradients."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the least is {self.min:g}, and the greatest {self.max:g}")
        return self


class Optimizer(Settings):
    """AdamW's."""

    lr: PositiveFloat = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4


def _percent(value: object) -> object:
    return float(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else value


class EarlyStop(Settings):
    """Stop after `patience` epochs of which none made the validation loss smaller by `min_delta` of it, as in 0.01."""

    patience: PositiveInt = 10
    min_delta: Annotated[float, BeforeValidator(_percent), Field(ge=0, lt=1)] = 0.01


class Dtypes(Settings):
    """In which dtype the network is trained, and in which it computes in the region."""

    train: Floating = "float32"
    deploy: Floating = "float32"


class Config(Settings):
    """All settings of a training; docs/training.md explains each."""

    network: dict[str, Any] = {}
    rows: Literal["points", "calls"] | None = None
    split: Split = Split()
    rollout: PositiveInt = 1
    normalize: Normalization = Normalization()
    residual: bool | list[Annotated[int, Field(ge=0)]] = False
    clamp: Clamp = Clamp()
    loss: Literal["mse", "mae", "huber"] = "mse"
    epochs: PositiveInt = 100
    time_limit: PositiveFloat | None = None
    batch: PositiveInt = 256
    optimizer: Optimizer = Optimizer()
    schedule: Literal["constant", "plateau", "cosine", "one-cycle"] = "plateau"
    clip: PositiveFloat | None = 5.0
    early_stop: EarlyStop | None = None
    restarts: Annotated[int, Field(ge=0)] = 2
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    dtype: Dtypes = Dtypes()
    threads: PositiveInt | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    memory: PositiveFloat = 2.0
    pictures: bool = True
    tensorboard: bool = False
    trainer: dict[str, Any] = {}

    @field_validator("trainer")
    @classmethod
    def _leaves_the_settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name, setting in {"max_epochs": "epochs", "max_time": "time_limit", "callbacks": "early_stop"}.items():
            if name in given:
                raise ValueError(f"'{name}' is set by the setting '{setting}'")
        return given


def read(source: Source, changes: Mapping[str, Any] | None = None, base: Mapping[str, Any] | None = None) -> Config:
    """Check settings: a mapping, a file of YAML or TOML, or none; `changes`, by dotted names, go over them.

    `base` has settings that they go over themselves.
    Raises ConfigError with the place of each fault.
    """
    where = "the config" if source is None or isinstance(source, Mapping) else f"'{source}'"
    settings = _over(_copied(base or {}), _content(source))
    for name, value in (changes or {}).items():
        _put(settings, name, value)
    return checked(Config, settings, f"{where} is no config of a training")


def _content(source: Source) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return _copied(source)
    path = read_path(source, "the config")
    content = loaded(path, "the config ", "TOML" if path.suffix == ".toml" else "YAML")
    if content is not None and not isinstance(content, Mapping):
        raise ConfigError(f"the config '{path}' has no names and values, such as 'epochs: 100'")
    return _copied(cast("Mapping[str, Any]", content or {}))


def _copied(source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _copied(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
        for name, value in source.items()
    }


def _over(base: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings over others, within mappings, too."""
    for name, value in settings.items():
        known = base.get(name)
        both = isinstance(known, dict) and isinstance(value, Mapping)
        base[name] = _over(cast("dict[str, Any]", known), cast("Mapping[str, Any]", value)) if both else value
    return base


def _put(settings: dict[str, Any], name: str, value: Any) -> None:
    *outer, last = name.split(".")
    for part in outer:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"'{name}' is no setting: '{part}' is {inner!r}")
        settings = cast("dict[str, Any]", inner)
    settings[last] = value
