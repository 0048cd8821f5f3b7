"""The records of call sites: what compiled code tells the runtime of each call, as text in its constant memory.

The lowering makes a record and writes it with `to_json`, for runtimes of others perhaps with `to_strings`; the runtime
reads it with `parse`. docs/runtime-abi.md describes the keys.
"""

from __future__ import annotations

import builtins
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, cast

from hpacml.clauses import Bounds, Sampling
from hpacml.functors.targets import TargetTree, tree_from_json, tree_to_json

Json: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class TensorType:
    """The element type of a tensor, by its name in `hpacml.dtypes`, and its rank."""

    dtype: str
    rank: int

    def to_json(self) -> Json:
        return {"dtype": self.dtype, "rank": self.rank}

    @staticmethod
    def parse(records: Sequence[Json]) -> tuple[TensorType, ...]:
        """The types that a list of records describes."""
        return tuple(TensorType(record["dtype"], record["rank"]) for record in records)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a region says that its model or database is: a clause, an argument of the call, or nowhere."""

    path: str | None = None
    argument: str | None = None

    def to_json(self) -> Json | None:
        given = {"path": self.path, "argument": self.argument}
        return {key: value for key, value in given.items() if value is not None} or None

    @staticmethod
    def parse(record: Json | None) -> Source:
        return Source(**(record or {}))


@dataclass(frozen=True)
class Site(ABC):
    """A call site of a runtime symbol. Its `kind` stands in the record, for readers."""

    kind: ClassVar[str]
    symbol: ClassVar[str]

    @abstractmethod
    def _fields(self) -> Json: ...

    def to_json(self) -> str:
        """The record, for `parse` of the same kind."""
        return json.dumps(self._record())

    def to_strings(self) -> str:
        """The record for readers without a parser of JSON, as `strings` has it."""
        return strings(self._record())

    def _record(self) -> Json:
        return {"kind": self.kind, **self._fields()}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedSite(Site, ABC):
    """A call site whose messages begin with its place in the source, `heat.py:3:4`, if that is known."""

    place: str | None = None

    def _record(self) -> Json:
        record: Json = {"kind": self.kind, **self._fields()}
        return record if self.place is None else {**record, "place": self.place}


def strings(record: Json) -> str:
    """A record as keys and values, each ended by a NUL, then an empty key.

    A key leads to one number or text, as in `model.path` or `inputs.0.rank`; there is none for null.
    """
    return "".join(f"{key}\0{value}\0" for key, value in _leaves("", record))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The numbers and texts of a record, with the way that leads to each."""
    match value:
        case None:
            return
        case dict() | list() | tuple():
            parts = cast("Json", value).items() if isinstance(value, dict) else enumerate(cast("Sequence[Any]", value))
            for key, part in parts:
                yield from _leaves(f"{name}.{key}" if name else str(key), part)
        case bool():
            yield name, "true" if value else "false"
        case _:
            yield name, str(value).replace("\0", r"\x00")


@dataclass(frozen=True, slots=True)
class InferSite(PlacedSite):
    """A call of `hpacml_infer`.

    `batch`: None for one model call, 0 for any rows per call, else the rows. `on_error`, `engine`: None for what the
    environment says. `clip`: the bounds of each output, empty for none at all. `project`: the name of a function that
    changes the outputs.
    """

    kind = "infer"
    symbol = "hpacml_infer"
    label: str
    model: Source
    batch: int | None = None
    on_error: str | None = None
    maps: tuple[str, ...] = ()
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    engine: str | None = None
    clip: tuple[Bounds, ...] = ()
    project: str | None = None

    def _fields(self) -> Json:
        record: Json = {
            "label": self.label,
            "model": self.model.to_json(),
            "batch": self.batch,
            "on_error": self.on_error,
            "maps": self.maps,
            "inputs": [tensor.to_json() for tensor in self.inputs],
            "outputs": [tensor.to_json() for tensor in self.outputs],
            "engine": self.engine,
        }
        if self.clip:
            record["clip"] = [[bounds.low, bounds.high] for bounds in self.clip]
        if self.project is not None:
            record["project"] = self.project
        return record

    @staticmethod
    def parse(record: Json) -> InferSite:
        return InferSite(
            record["label"],
            Source.parse(record["model"]),
            record["batch"],
            record["on_error"],
            tuple(record["maps"]),
            TensorType.parse(record["inputs"]),
            TensorType.parse(record["outputs"]),
            record["engine"],
            tuple(Bounds(None, *bounds) for bounds in record.get("clip", ())),
            record.get("project"),
            place=record.get("place"),
        )


@dataclass(frozen=True, slots=True)
class ViewsSite(Site):
    """The views of a call of `hpacml_infer_on_views`, which have `sweep` dimensions before features of their own."""

    kind = "views"
    symbol = "hpacml_infer_on_views"
    sweep: int
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]

    def _fields(self) -> Json:
        return {
            "sweep": self.sweep,
            "inputs": [view.to_json() for view in self.inputs],
            "outputs": [view.to_json() for view in self.outputs],
        }

    @staticmethod
    def parse(record: Json) -> ViewsSite:
        return ViewsSite(record["sweep"], TensorType.parse(record["inputs"]), TensorType.parse(record["outputs"]))


@dataclass(frozen=True, slots=True)
class SampleSite(PlacedSite):
    """A call of `hpacml_sample`."""

    kind = "sample"
    symbol = "hpacml_sample"
    label: str
    database: Source
    sample: Sampling

    def _fields(self) -> Json:
        return {"label": self.label, "database": self.database.to_json(), "sample": self.sample.settings}

    @staticmethod
    def parse(record: Json) -> SampleSite:
        database, sample = Source.parse(record["database"]), Sampling.of(record["sample"])
        return SampleSite(record["label"], database, sample, place=record.get("place"))


@dataclass(frozen=True, slots=True)
class CollectSite(PlacedSite):
    """A call of `hpacml_collect`. `sample` is None where all calls are collected; `units` are sorted by arrays.

    `truth` has the maps of the outputs where these are not those of the region, and `meta` the names of numbers. With
    `reasons`, behind the outputs, the tensors have points that guards have rejected, and the reasons for each.
    """

    kind = "collect"
    symbol = "hpacml_collect"
    label: str
    database: Source
    maps: tuple[str, ...] = ()
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    sample: Sampling | None = None
    units: tuple[tuple[str, str], ...] = ()
    meta: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    reasons: TensorType | None = None

    def _fields(self) -> Json:
        record: Json = {
            "label": self.label,
            "database": self.database.to_json(),
            "maps": self.maps,
            "inputs": [tensor.to_json() for tensor in self.inputs],
            "outputs": [tensor.to_json() for tensor in self.outputs],
        }
        if self.sample is not None:
            record["sample"] = self.sample.settings
        if self.units:
            record["units"] = dict(self.units)
        if self.meta:
            record["meta"] = self.meta
        if self.truth:
            record["truth"] = self.truth
        if self.reasons is not None:
            record["reasons"] = self.reasons.to_json()
        return record

    @staticmethod
    def parse(record: Json) -> CollectSite:
        return CollectSite(
            record["label"],
            Source.parse(record["database"]),
            tuple(record["maps"]),
            TensorType.parse(record["inputs"]),
            TensorType.parse(record["outputs"]),
            Sampling.of(record["sample"]) if "sample" in record else None,
            tuple(sorted(record.get("units", {}).items())),
            tuple(record.get("meta", ())),
            tuple(record.get("truth", ())),
            TensorType.parse([record["reasons"]])[0] if "reasons" in record else None,
            place=record.get("place"),
        )


@dataclass(frozen=True, slots=True)
class MapSite(PlacedSite):
    """A call of `hpacml_check_map`, which passes the open numbers of the targets, and all `arrays` if there are any.

    `sharing`: the only doubt is whether arrays share memory. `indices`: some were found to be bad when they were used.
    """

    kind = "map"
    symbol = "hpacml_check_map"
    direction: Literal["to", "from", "inout"]
    functor: str
    parameters: tuple[str, ...]
    names: tuple[str, ...]
    targets: tuple[TargetTree, ...]
    arrays: tuple[TensorType, ...]
    sharing: bool
    text: str | None
    indices: bool = False

    @property
    def doubt(self) -> str:
        """What may be wrong with the map where compiled code does not show that it fits."""
        if self.indices:
            return "an index lies outside of the array that it indexes, or two lead to one element that is written"
        if self.sharing:
            return "elements that are written may share memory with each other, or with the indices that lead to them"
        if self.direction == "to":
            return "it leaves its array, or contradicts its functor"
        return "it leaves its array, contradicts its functor, or may write an element twice, as far as strides tell"

    def _fields(self) -> Json:
        return {
            "direction": self.direction,
            "functor": self.functor,
            "parameters": self.parameters,
            "names": self.names,
            "targets": [tree_to_json(tree) for tree in self.targets],
            "arrays": [tensor.to_json() for tensor in self.arrays],
            "sharing": self.sharing,
            "text": self.text,
            **({"indices": True} if self.indices else {}),
        }

    @staticmethod
    def parse(record: Json) -> MapSite:
        return MapSite(
            record["direction"],
            record["functor"],
            tuple(record["parameters"]),
            tuple(record["names"]),
            tuple(map(tree_from_json, record["targets"])),
            TensorType.parse(record["arrays"]),
            record["sharing"],
            record["text"],
            record.get("indices", False),
            place=record.get("place"),
        )


@dataclass(frozen=True, slots=True)
class FlagSite(Site):
    """A call of `hpacml_device_flag` at the start of the function `label`; `maps` has the text of each check's map."""

    kind = "flag"
    symbol = "hpacml_device_flag"
    label: str
    maps: tuple[str, ...]

    def _fields(self) -> Json:
        return {"label": self.label, "maps": self.maps}

    @staticmethod
    def parse(record: Json) -> FlagSite:
        return FlagSite(record["label"], tuple(record["maps"]))


@dataclass(frozen=True, slots=True)
class RecordSite(Site):
    """A call of `hpacml_record`. `path_taken` is "infer", "collect", or "body" for the original code alone."""

    kind = "record"
    symbol = "hpacml_record"
    label: str
    path_taken: str
    stages: tuple[str, ...]

    def _fields(self) -> Json:
        return {"label": self.label, "way": self.path_taken, "stages": self.stages}

    @staticmethod
    def parse(record: Json) -> RecordSite:
        return RecordSite(record["label"], record["way"], tuple(record["stages"]))


@dataclass(frozen=True, slots=True)
class RefuseSite(PlacedSite):
    """A call of `hpacml_refuse`."""

    kind = "refuse"
    symbol = "hpacml_refuse"
    text: str

    def _fields(self) -> Json:
        return {"text": self.text}

    @staticmethod
    def parse(record: Json) -> RefuseSite:
        return RefuseSite(record["text"], place=record.get("place"))


@dataclass(frozen=True, slots=True)
class SizeSite(Site):
    """A call of `hpacml_refuse_sizes`; `text` is for `str.format` with the sizes `given` and `wanted`."""

    kind = "sizes"
    symbol = "hpacml_refuse_sizes"
    text: str

    def _fields(self) -> Json:
        return {"text": self.text}

    @staticmethod
    def parse(record: Json) -> SizeSite:
        return SizeSite(record["text"])


def shown(value: object, format: str, conversion: str) -> str:
    """`f"{value!conversion:format}"`."""
    converted = {"r": repr, "s": str, "a": ascii}[conversion](value) if conversion else value
    return builtins.format(converted, format)


@dataclass(frozen=True, slots=True)
class NumberField:
    """A number in a text: the NumPy or Python type of which it is, its format, and its conversion (`r`, `s`, `a`)."""

    type: str
    format: str = ""
    conversion: str = ""

    def show(self, value: object) -> str:
        """A value in the text."""
        return shown(value, self.format, self.conversion)

    def to_json(self) -> Json:
        return {"type": self.type, "format": self.format, "conversion": self.conversion}


Pieces: TypeAlias = "tuple[str | NumberField, ...]"
"""A text, whose numbers come with calls of `hpacml_number` before."""


def _pieces_to_json(pieces: Pieces) -> list[str | Json]:
    return [piece if isinstance(piece, str) else piece.to_json() for piece in pieces]


def _pieces(records: Sequence[str | Json]) -> Pieces:
    return tuple(record if isinstance(record, str) else NumberField(**record) for record in records)


@dataclass(frozen=True, slots=True)
class FailSite(Site):
    """A call of `hpacml_fail`: the built-in exception that is raised, its text, and the place in the source."""

    kind = "fail"
    symbol = "hpacml_fail"
    error: str
    text: Pieces | None
    place: str

    def _fields(self) -> Json:
        text = None if self.text is None else _pieces_to_json(self.text)
        return {"error": self.error, "text": text, "place": self.place}

    @staticmethod
    def parse(record: Json) -> FailSite:
        text = None if record["text"] is None else _pieces(record["text"])
        return FailSite(record["error"], text, record["place"])


@dataclass(frozen=True, slots=True)
class PrintSite(Site):
    """A call of `hpacml_print`."""

    kind = "print"
    symbol = "hpacml_print"
    text: Pieces

    def _fields(self) -> Json:
        return {"text": _pieces_to_json(self.text)}

    @staticmethod
    def parse(record: Json) -> PrintSite:
        return PrintSite(_pieces(record["text"]))
