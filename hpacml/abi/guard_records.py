"""The records of call sites that decide whether a model may be used; `records` has the others, and their base."""

from __future__ import annotations

from dataclasses import dataclass

from hpacml.abi.records import Json, PlacedSite, Source, TensorType
from hpacml.clauses import Verification


@dataclass(frozen=True, slots=True)
class PointsSite(PlacedSite):
    """A call of `hpacml_count_points`: `mask` is what the mask of the region is, over its sweep.

    `positions`: whether the call passes an array behind the mask, which takes the positions of rejected points.
    `again`: whether another call has counted these points for the report.
    """

    kind = "points"
    symbol = "hpacml_count_points"
    label: str
    mask: TensorType
    positions: bool = False
    again: bool = False

    def _fields(self) -> Json:
        record: Json = {"label": self.label, "mask": self.mask.to_json(), "positions": self.positions}
        return {**record, "again": True} if self.again else record

    @staticmethod
    def parse(record: Json) -> PointsSite:
        (mask,) = TensorType.parse([record["mask"]])
        again = record.get("again", False)
        return PointsSite(record["label"], mask, record["positions"], again, place=record.get("place"))


@dataclass(frozen=True, slots=True)
class DomainSite(PlacedSite):
    """A call of `hpacml_domain`: of the lows and highs of `inputs`, and with `distance` of how points lie.

    `inputs` has the element type of these for each input, f32 or f64. `margin` is a part of each range's width, by
    which it is wider at both ends.
    """

    kind = "domain"
    symbol = "hpacml_domain"
    label: str
    model: Source
    inputs: tuple[str, ...]
    margin: float = 0.0
    distance: bool = False
    on_error: str | None = None

    def _fields(self) -> Json:
        return {
            "label": self.label,
            "model": self.model.to_json(),
            "inputs": self.inputs,
            "margin": self.margin,
            "distance": self.distance,
            "on_error": self.on_error,
        }

    @staticmethod
    def parse(record: Json) -> DomainSite:
        model, inputs, own = Source.parse(record["model"]), tuple(record["inputs"]), {"model", "inputs", "kind"}
        return DomainSite(model=model, inputs=inputs, **{k: value for k, value in record.items() if k not in own})


@dataclass(frozen=True, slots=True)
class VerifySite(PlacedSite):
    """A call of `hpacml_verify`, which passes the model's `outputs`, the original code's, and the `mask` if it has one.

    `hpacml_count_inference` has such a site, too, with no tensors.
    """

    kind = "verify"
    symbol = "hpacml_verify"
    label: str
    verify: Verification
    maps: tuple[str, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    mask: TensorType | None = None

    def _fields(self) -> Json:
        record: Json = {
            "label": self.label,
            "verify": self.verify.settings,
            "maps": self.maps,
            "outputs": [tensor.to_json() for tensor in self.outputs],
        }
        return record if self.mask is None else {**record, "mask": self.mask.to_json()}

    @staticmethod
    def parse(record: Json) -> VerifySite:
        mask = TensorType.parse([record["mask"]])[0] if "mask" in record else None
        return VerifySite(
            record["label"],
            Verification(**record["verify"]),
            tuple(record["maps"]),
            TensorType.parse(record["outputs"]),
            mask,
            place=record.get("place"),
        )


@dataclass(frozen=True, slots=True)
class ComparisonSite(PlacedSite):
    """A call of `hpacml_compare_points`, which passes `outputs` of some points, the same of all, and the `mask`.

    `features` are the feature dimensions of each output. `hpacml_is_compared` has such a site with the mask alone.
    """

    kind = "comparison"
    symbol = "hpacml_compare_points"
    label: str
    mask: TensorType
    maps: tuple[str, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    features: tuple[tuple[int, ...], ...] = ()

    def _fields(self) -> Json:
        return {
            "label": self.label,
            "mask": self.mask.to_json(),
            "maps": self.maps,
            "outputs": [tensor.to_json() for tensor in self.outputs],
            "features": self.features,
        }

    @staticmethod
    def parse(record: Json) -> ComparisonSite:
        (mask,) = TensorType.parse([record["mask"]])
        return ComparisonSite(
            record["label"],
            mask,
            tuple(record["maps"]),
            TensorType.parse(record["outputs"]),
            tuple(map(tuple, record["features"])),
            place=record.get("place"),
        )
