"""What a configuration of a family of networks may say, as data: it is read, documented and searched by this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, cast

from hpacml.errors import ModelError

Value: TypeAlias = "int | float | bool | str | tuple[int, ...]"


@dataclass(frozen=True)
class Hyperparameter:
    """An entry of a configuration: an integer or a number of a range, a truth value, a choice, or a list of integers.

    `searched` is the range that the HPAC-ML paper searches, `start` where a search begins, if not at the default.
    """

    name: str
    kind: Literal["integer", "number", "flag", "choice", "integers"]
    default: Value
    meaning: str
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()
    searched: tuple[float, ...] = ()
    start: Value | None = None

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        span = f"from {self.least:g} to {self.most:g}"
        return {
            "integer": f"an integer {span}",
            "number": f"a number {span}",
            "flag": "true or false",
            "choice": f"one of {', '.join(self.choices)}",
            "integers": f"a list of integers {span}",
        }[self.kind]

    def read(self, value: object) -> Value:
        """Give a value as Python's number, text or tuple of integers. Raises ValueError for what it may not be."""
        match self.kind:
            case "integer" if self._is_number(value, Integral):
                return int(cast(int, value))
            case "number" if self._is_number(value, Real):
                return float(cast(float, value))
            case "flag" if isinstance(value, bool):
                return value
            case "choice" if value in self.choices:
                return str(value)
            case "integers" if isinstance(value, list | tuple):
                values = cast("list[object]", value)
                if all(self._is_number(each, Integral) for each in values):
                    return tuple(int(cast(int, each)) for each in values)
            case _:
                pass
        raise ValueError(f"is {self.allowed}, not {value!r}")

    def _is_number(self, value: object, kind: type) -> bool:
        return isinstance(value, kind) and not isinstance(value, bool) and self.least <= cast(float, value) <= self.most


@dataclass(frozen=True)
class Family:
    """The hyper-parameters of a family of networks, and what must hold between them.

    A constraint is `a <= b`, of two hyper-parameters, as searches take it.
    """

    name: str
    hyperparameters: tuple[Hyperparameter, ...]
    constraints: tuple[str, ...] = ()

    def read(self, config: Mapping[str, object]) -> dict[str, Any]:
        """Give the values of all hyper-parameters, those that a configuration does not have by their defaults.

        Raises ModelError for names that the family does not have, values that are not allowed, and pairs of them that
        break a constraint.
        """
        self.require_known(config)
        known = {each.name: each for each in self.hyperparameters}
        values: dict[str, Any] = {name: each.default for name, each in known.items()}
        for name, value in config.items():
            try:
                values[name] = known[name].read(value)
            except ValueError as error:
                raise self.error(f"has a wrong {name}: it {error}") from None
        for constraint in self.constraints:
            low, _, high = constraint.partition(" <= ")
            if values[low] > values[high]:
                raise self.error(f"has {low} = {values[low]} and {high} = {values[high]}: {constraint} must hold")
        return values

    def require_known(self, names: Iterable[str]) -> None:
        """Raise ModelError for names that the family does not have."""
        known = [each.name for each in self.hyperparameters]
        for name in names:
            if name not in known:
                close = get_close_matches(str(name), known, 1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise self.error(f"has no '{name}': it has {', '.join(known)}{hint}")

    def start(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Give all hyper-parameters for a search to begin with: those of a configuration, and else what it is without.

        Those that have a start are taken together: one that a configuration leaves out beside another has its default.
        """
        said = any(each.start is not None and each.name in config for each in self.hyperparameters)
        usual = {e.name: e.default if said or e.start is None else e.start for e in self.hyperparameters}
        return {**usual, **config}

    def error(self, message: str) -> ModelError:
        """An error of a configuration of this family."""
        return ModelError(f"the network {self.name} {message}")
