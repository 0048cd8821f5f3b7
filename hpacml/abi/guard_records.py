"""The records of call sites that guards have."""

from __future__ import annotations

from dataclasses import dataclass

from hpacml.abi.records import Json, PlacedSite, Source, TensorType


@dataclass(frozen=True, slots=True)
class PointsSite(PlacedSite):
    """A call of `hpacml_count_points`: `mask` is what the mask of the region is, over its sweep.

    `positions`: whether the call passes an array behind the mask, which takes the positions of rejected points.
    """

    kind = "points"
    symbol = "hpacml_count_points"
    label: str
    mask: TensorType
    positions: bool = False

    def _fields(self) -> Json:
        return {"label": self.label, "mask": self.mask.to_json(), "positions": self.positions}

    @staticmethod
    def parse(record: Json) -> PointsSite:
        (mask,) = TensorType.parse([record["mask"]])
        return PointsSite(record["label"], mask, record["positions"], place=record.get("place"))


@dataclass(frozen=True, slots=True)
class DomainSite(PlacedSite):
    """A call of `hpacml_domain`: of the lows and highs of so many `inputs`, and with `distance` of how points lie.

    `margin` is a part of each range's width, by which it is wider at both ends.
    """

    kind = "domain"
    symbol = "hpacml_domain"
    label: str
    model: Source
    inputs: int
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
        model, own = Source.parse(record["model"]), {"model", "kind"}
        return DomainSite(model=model, **{key: value for key, value in record.items() if key not in own})
