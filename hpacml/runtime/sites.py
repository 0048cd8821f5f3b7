"""The call sites of compiled code: JSON texts in its constant memory, read once each."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from hpacml.environment import Variable
from hpacml.functors.targets import TargetTree, from_json
from hpacml.runtime import frame
from hpacml.sampling import Sampling

State = TypeVar("State")

Json: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type, by its name in `hpacml.runtime.arrays.views`, and rank of a tensor."""

    dtype: str
    rank: int

    @staticmethod
    def parse(texts: Sequence[Json]) -> tuple[TensorType, ...]:
        return tuple(TensorType(text["dtype"], text["rank"]) for text in texts)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a region says that its model or database is: a clause, an argument of the call, or nowhere."""

    path: str | None = None
    argument: str | None = None

    @staticmethod
    def parse(text: Json | None) -> Source:
        return Source(**(text or {}))

    def find(self, variable: Variable) -> object:
        """The clause's path, the argument, or failing these what `variable` says; None without any."""
        given: object = self.path
        if self.argument is not None:
            given = frame.current().arguments[self.argument]
        return given if given is not None else variable.text() or None

    def why_none(self, variable: Variable) -> str:
        """How `find` came to None."""
        clause = "" if self.argument is None else f"the argument '{self.argument}' is None, and "
        return f"{clause}the environment variable {variable.name} is not set"


@dataclass(frozen=True, slots=True)
class InferSite:
    """A call of `hpacml_infer`.

    `batch`: None for one model call, 0 for any rows per call, else the rows. `on_error`: None for what the
    environment says.
    """

    label: str
    model: Source
    batch: int | None
    on_error: str | None
    maps: tuple[str, ...]
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]

    @staticmethod
    def parse(text: Json) -> InferSite:
        return InferSite(
            text["label"],
            Source.parse(text["model"]),
            text["batch"],
            text["on_error"],
            tuple(text["maps"]),
            TensorType.parse(text["inputs"]),
            TensorType.parse(text["outputs"]),
        )


@dataclass(frozen=True, slots=True)
class SampleSite:
    """A call of `hpacml_sample`."""

    label: str
    database: Source
    sample: Sampling

    @staticmethod
    def parse(text: Json) -> SampleSite:
        return SampleSite(text["label"], Source.parse(text["database"]), Sampling.of(text["sample"]))


@dataclass(frozen=True, slots=True)
class CollectSite:
    """A call of `hpacml_collect`. `sample` is the clause's text, None without it; `units` are sorted by arrays."""

    label: str
    database: Source
    maps: tuple[str, ...]
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    sample: str | None
    units: tuple[tuple[str, str], ...]

    @staticmethod
    def parse(text: Json) -> CollectSite:
        return CollectSite(
            text["label"],
            Source.parse(text["database"]),
            tuple(text["maps"]),
            TensorType.parse(text["inputs"]),
            TensorType.parse(text["outputs"]),
            str(Sampling.of(text["sample"])) if "sample" in text else None,
            tuple(sorted(text.get("units", {}).items())),
        )


@dataclass(frozen=True, slots=True)
class MapSite:
    """A call of `hpacml_check_map`; the open numbers of the targets come with it, and so may all `arrays`."""

    direction: Literal["to", "from", "inout"]
    functor: str
    parameters: tuple[str, ...]
    names: tuple[str, ...]
    targets: tuple[TargetTree, ...]
    arrays: tuple[TensorType, ...]
    sharing: bool
    text: str | None

    @staticmethod
    def parse(text: Json) -> MapSite:
        return MapSite(
            text["direction"],
            text["functor"],
            tuple(text["parameters"]),
            tuple(text["names"]),
            tuple(map(from_json, text["targets"])),
            TensorType.parse(text["arrays"]),
            text["sharing"],
            text["text"],
        )


class Sites(Generic[State]):
    """What `make` makes of each call site, by the address of its text; made once."""

    def __init__(self, make: Callable[[Json], State]) -> None:
        self._make = make
        self._states: dict[int, tuple[bytes, State]] = {}

    def at(self, address: int) -> State:
        """The state of the site whose NUL-terminated text is at `address`."""
        text = ctypes.string_at(address)
        known = self._states.get(address)
        # Other code may have come to lie where unloaded code was.
        if known is None or known[0] != text:
            known = self._states[address] = (text, self._make(json.loads(text)))
        return known[1]
