"""What a database says about the tensors of a region: the attributes of its group."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from hpacml.directives.map_texts import Maps
from hpacml.dtypes import DTYPES
from hpacml.runtime.databases.hdf5 import h5py
from hpacml.runtime.databases.origins import Origin
from hpacml.runtime.databases.sweeps import POINTS
from hpacml.runtime.map_digest import texts_sha256
from hpacml.version import version

META = "meta_"
"""What the names of datasets of numbers begin with."""

REASON = "reason"
"""The dataset of why guards have rejected each point."""

REASONS = ("1: range", "2: distance", "4: where", "8: below")
"""What its bits mean."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a region collects: the texts of its functors and maps, the dtypes of its tensors, the units of its arrays.

    The dtypes have the names of `hpacml.dtypes`. HDF5 has no bf16; such tensors are stored as float32. The units are
    sorted pairs of array and unit. `meta` names the numbers of each call. `truth` has the maps of the outputs' data
    where that is not what the region computes. With `reasons` the calls have points that guards have rejected, in the
    first dimension of the sweep, and why. `sample` is the text of that clause, which says which calls, not which data,
    and `origin` the function that is called.
    """

    maps: tuple[str, ...]
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]
    units: tuple[tuple[str, str], ...] = ()
    meta: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    reasons: bool = False
    sample: str | None = field(default=None, compare=False)
    origin: Origin | None = field(default=None, compare=False)

    @property
    def columns(self) -> list[str]:
        """The names of the datasets of each call's tensors and numbers: inputs, outputs, reasons, numbers."""
        kinds = (("input", self.input_dtypes), ("output", self.output_dtypes))
        tensors = [f"{kind}_{i}" if i else kind for kind, dtypes in kinds for i in range(len(dtypes))]
        return [*tensors, *([REASON] * self.reasons), *(META + name for name in self.meta)]

    @property
    def typed_maps(self) -> Maps:
        """The maps with the element types of their tensors; those of outputs are not known where a truth is stored."""
        outputs = self.output_dtypes if not self.truth else ("",) * len(self.output_dtypes)
        return Maps(self.maps, (*self.input_dtypes, *outputs))

    @property
    def maps_of_columns(self) -> tuple[str, ...]:
        """The map by which each of the datasets is collected; "" for a number, `POINTS` for a number of each point."""
        inputs = len(self.input_dtypes)
        outputs = self.truth or self.maps[inputs:]
        return (*self.maps[:inputs], *outputs, *([POINTS] * self.reasons), *([""] * len(self.meta)))

    @property
    def sha256(self) -> str:
        """The digest of the texts of the maps."""
        return texts_sha256(self.maps)

    @property
    def stored_dtypes(self) -> dict[str, str]:
        """NumPy's names of the stored dtypes, by dataset; the name of an unknown dtype stays as it is."""
        dtypes = (*self.input_dtypes, *self.output_dtypes, *(["u8"] * self.reasons), *(["f64"] * len(self.meta)))
        return {name: _stored(dtype) for name, dtype in zip(self.columns, dtypes, strict=True)}

    @staticmethod
    def read(group: Any) -> Schema | None:
        """Read the attributes of a group; None if they hold no schema. Raises ValueError if they are malformed."""
        texts = [_texts(group, name) for name in ("maps", "input_dtypes", "output_dtypes")]
        maps, inputs, outputs = texts
        if maps is None or inputs is None or outputs is None:
            return None
        meta, truth = (_texts(group, name) or () for name in ("meta", "truth"))
        reasons = bool(_texts(group, "reasons"))
        return Schema(maps, inputs, outputs, _read_units(group), meta, truth, reasons, origin=Origin.read(group))

    def write(self, group: Any) -> None:
        """Write the schema, and the shapes of the group's tensors, as attributes for `read` and `read_shapes`."""
        shapes = {name: json.dumps(group[name].shape[1:]) for name in self.columns}
        attributes = {
            "maps": list(self.maps),
            "maps_sha256": self.sha256,
            "input_dtypes": list(self.input_dtypes),
            "output_dtypes": list(self.output_dtypes),
            "input_shapes": [shape for name, shape in shapes.items() if name.startswith("input")],
            "output_shapes": [shape for name, shape in shapes.items() if name.startswith("output")],
            "hpacml_version": version(),
        }
        attributes |= {name: list(texts) for name, texts in (("meta", self.meta), ("truth", self.truth)) if texts}
        if self.reasons:
            attributes["reasons"] = list(REASONS)
        if self.units:
            attributes["units"] = json.dumps(dict(self.units), ensure_ascii=False)
        for name, value in attributes.items():
            group.attrs.create(name, value, dtype=h5py().string_dtype())
        if self.origin is not None:
            self.origin.write(group)

    def __str__(self) -> str:
        return f"({', '.join(self.input_dtypes)}) -> ({', '.join(self.output_dtypes)})"


def units_text(schema: Schema) -> str:
    """Describe the units of a schema, such as `in the units t: "K", u: "m/s"`."""
    units = ", ".join(f"{array}: {json.dumps(unit, ensure_ascii=False)}" for array, unit in schema.units)
    return f"in the units {units}" if units else "without units"


def collected_text(schema: Schema) -> str:
    """Describe the numbers and the truth of a schema."""
    truth = "".join(f"\n    {text}" for text in schema.truth)
    points = "of points that guards have rejected, " if schema.reasons else ""
    return f"{points}with the numbers ({', '.join(schema.meta)})" + (
        f" and the truth{truth}" if truth else " and without truth"
    )


def _read_units(group: Any) -> tuple[tuple[str, str], ...]:
    text = group.attrs.get("units", "{}")
    if isinstance(text, str):
        text.encode()  # h5py passes on bytes that are no text
    units = json.loads(text) if isinstance(text, str) else None
    if not isinstance(units, dict):
        raise ValueError("the attribute 'units' is no JSON object")
    return tuple(sorted((name, str(unit)) for name, unit in cast("dict[str, object]", units).items()))


def read_shapes(group: Any) -> list[tuple[int, ...]] | None:
    """Read the shapes of one call's tensors from a group's attributes, inputs first; None if they hold no shapes.

    Raises ValueError if they are malformed.
    """
    inputs, outputs = (_texts(group, f"{kind}_shapes") for kind in ("input", "output"))
    if inputs is None or outputs is None:
        return None
    shapes = [json.loads(text) for text in (*inputs, *outputs)]
    if not all(isinstance(shape, list) for shape in shapes):
        raise ValueError("its attributes tell shapes that are no lists")
    return [tuple(shape) for shape in shapes]


def _texts(group: Any, name: str) -> tuple[str, ...] | None:
    """Read an attribute that is a list of texts; None if it is absent. Raises ValueError for any other."""
    values = group.attrs.get(name)
    if values is None:
        return None
    if np.ndim(values) != 1 or not all(isinstance(text, str) for text in values):
        raise ValueError(f"its attribute '{name}' is no list of texts")
    for text in values:
        text.encode()  # h5py passes on bytes that are no text
    return tuple(values)


def _stored(dtype: str) -> str:
    known = DTYPES.get(dtype)
    return dtype if known is None else known.stored_name


def np_dtype_name(dtype: Any) -> str:
    """NumPy's name of a dtype, without its byte order."""
    return np.dtype(dtype).newbyteorder("=").name
