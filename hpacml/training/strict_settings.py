"""Settings as files and mappings have them, checked as a whole: what is unknown or misfits is said with its place."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hpacml.errors import ConfigError


class Settings(BaseModel):
    """Settings of which the unknown are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, given: Any) -> Any:
        """Refuse true and false in the place of numbers, of which pydantic would make 1 and 0."""
        if isinstance(given, Mapping):
            for name, value in cast("Mapping[str, Any]", given).items():
                field = cls.model_fields.get(name)
                if isinstance(value, bool) and field is not None and not _takes_truth(field.annotation):
                    told = {"name": name, "value": str(value).lower()}
                    raise PydanticCustomError("truth", "{name} is {value}, where no truth value may be", told)
        return cast("object", given)


def _takes_truth(annotation: Any) -> bool:
    """Whether a field of this type may be true or false."""
    return annotation in (bool, Any, object) or any(map(_takes_truth, get_args(annotation)))


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a name that a mapping has twice, of which the last one would count."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            known = key.tag, str(key.value)
            if known in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands there twice", key.start_mark)
            seen.add(known)
        return super().construct_mapping(node, deep)


def read_path(source: str | os.PathLike[str], what: str) -> Path:
    """The path of a file. Raises ConfigError for what is neither a path nor a mapping."""
    if not isinstance(source, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{what} is a mapping or the path of a file, and this is {source!r}")
    return Path(source)


Checked = TypeVar("Checked", bound=Settings)


def loaded(path: Path, what: str = "", language: Literal["YAML", "TOML"] = "YAML") -> object:
    """What a file has. Raises ConfigError, which has `what` before its name, if it cannot be read."""
    try:
        text = path.read_text()
        return tomllib.loads(text) if language == "TOML" else yaml.load(text, _UniqueKeys)
    except OSError as error:
        raise ConfigError(f"cannot read {what}'{path}': {error.strerror}") from error
    except (yaml.YAMLError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what}'{path}' is not {language}: {error}") from error


def checked(kind: type[Checked], content: Mapping[str, Any], refusal: str) -> Checked:
    """Make settings of a mapping. Raises ConfigError, which begins with `refusal`, with the place of each fault."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{refusal}: {'; '.join(_fault(kind, each) for each in error.errors())}") from None


def _fault(kind: type[Settings], error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        owner: Any = kind
        for part in error["loc"][:-1]:
            owner = getattr(owner, "model_fields", {}).get(part)
            owner = getattr(owner, "annotation", None)
        known = ", ".join(getattr(owner, "model_fields", ()))
        return f"'{place}' is unknown" + (f"; there are {known}" if known else "")
    if error["type"] == "truth":
        return f"{place}{'.' if place else ''}{error['msg']}"
    if error["type"] == "missing":
        return f"{place} is missing"
    return f"{place} = {error['input']!r}: {error['msg']}"
