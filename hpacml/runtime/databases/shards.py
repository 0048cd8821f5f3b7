"""What one file has of each region: its datasets, schema and runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpacml.directives.meaning import is_same
from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import FAILURES, Array, first_line, h5py
from hpacml.runtime.databases.origins import is_other, told_apart
from hpacml.runtime.databases.own_objects import region_group
from hpacml.runtime.databases.parts import Fixed, Part, Points, offsets_of
from hpacml.runtime.databases.reading import Files
from hpacml.runtime.databases.runs import Run, read_runs
from hpacml.runtime.databases.schema import META, REASON, Schema, collected_text, np_dtype_name, units_text
from hpacml.runtime.databases.sweeps import shown, sweep_of
from hpacml.runtime.databases.tensors import Tensor
from hpacml.runtime.databases.varying import VARYING

_TENSOR = re.compile(rf"(input|output)(_\d+)?|{META}.+|runtime")
_KINDS = ("input", "output", REASON, META, "runtime")


@dataclass(frozen=True, slots=True, eq=False)
class Varying:
    """The calls of a tensor that differ in their points, as `Points` has them."""

    shapes: Array
    offsets: Array
    dims: tuple[int, ...]
    swept: int


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One dataset: the number of its entries, their shape and dtype, and whether a dimension of 1 precedes them.

    `later` are the calls that differ, which follow it.
    """

    own: int
    shape: tuple[int, ...]
    dtype: str
    leading: bool
    later: Varying | None = None

    @property
    def entries(self) -> int:
        """The number of all entries."""
        return self.own + (0 if self.later is None else len(self.later.shapes))


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a region in one file. `writer` is a text such as "hpacml 0.1.0" or "HPAC-ML", None if unknown."""

    path: str
    label: str
    schema: Schema | None
    writer: str | None
    runs: tuple[Run, ...]
    items: dict[str, Item]

    @property
    def calls(self) -> int:
        """The number of calls that all datasets have."""
        return min((item.entries for item in self.items.values()), default=0)

    @property
    def oddity(self) -> str | None:
        """What tells that the datasets are not those that the schema tells of, None if they are."""
        if self.schema is None or not (others := {*self.schema.columns} ^ (self.items.keys() - {"runtime"})):
            return None
        other = min(others)
        what = "is not among the tensors that its attributes tell" if other in self.items else "is missing"
        return f"the dataset '{self.label}/{other}' in '{self.path}' {what}: see `hpacml db check`, and use a copy"

    def parts(self, name: str) -> list[Part]:
        """Where the calls of a tensor are."""
        item, calls = self.items[name], self.calls
        own = min(item.own, calls)
        parts: list[Part] = [Fixed(self.path, f"{self.label}/{name}", own, item.shape, item.leading)]
        if (later := item.later) is not None:
            count = calls - own
            parts.append(
                Points(
                    self.path,
                    f"{self.label}/{VARYING}/{name}",
                    later.shapes[:count],
                    later.offsets[: count + 1],
                    later.dims,
                    later.swept,
                )
            )
        return parts


def tensor_of(files: Files, name: str, shards: Sequence[Shard]) -> Tensor:
    """The tensor of that name in all shards."""
    parts = [part for shard in shards for part in shard.parts(name)]
    item = shards[0].items[name]
    shapes = np.concatenate([_extremes(part) for part in parts])
    agreed = (shapes == shapes[:1]).all(0) if len(shapes) else None
    first = shapes[0] if len(shapes) else item.shape
    sizes = [int(size) if agreed is None or agreed[d] else None for d, size in enumerate(first)]
    # A part without calls has nothing to say, unless all are.
    filled = [part for part in parts if part.calls] or parts[:1]
    return Tensor(files, name, filled, tuple(sizes), item.dtype)


def _extremes(part: Part) -> Array:
    """The smallest and the largest sizes of a part's calls, [0 or 2, rank]."""
    shapes = part.shapes[: 1 if isinstance(part, Fixed) else None]
    return np.stack([shapes.min(0), shapes.max(0)]) if len(shapes) else shapes


def shards_of(file: Any, path: str) -> list[Shard]:
    """What a file has of each region. Raises DatabaseError if hpacml did not write it so."""
    # Not file.items(): as long as that is not exhausted, h5py serves no other thread, and the error below keeps it.
    try:
        items = [(label, region_group(file, label, path)) for label in list(file)]
        return [_shard(path, label, item) for label, item in items if isinstance(item, h5py().Group)]
    except DatabaseError as error:
        raise DatabaseError(f"cannot read '{path}': {error}") from error
    except (*FAILURES, KeyError, TypeError) as error:  # the last for datasets and attributes of other kinds
        raise DatabaseError(
            f"cannot read '{path}' as a database of regions: {first_line(error)}; hpacml did not write it so"
        ) from error


def _shard(path: str, label: str, group: Any) -> Shard:
    schema = Schema.read(group)
    reasons = schema is not None and schema.reasons
    found = (name for name in group if _TENSOR.fullmatch(name) or (reasons and name == REASON))
    datasets: dict[str, Any] = {name: group[name] for name in sorted(found, key=_order)}
    _require_datasets(label, datasets)
    calls = datasets["runtime"].shape[0] if "runtime" in datasets else None
    varying = group.get(VARYING) if schema is not None else None
    items = {name: _item(label, name, datasets[name], schema, calls, varying) for name in datasets}
    if varying is not None and len({item.own for name, item in items.items() if name != "runtime"}) > 1:
        raise ValueError(f"'{label}' has different numbers of calls before those that differ")
    return Shard(path, label, schema, _writer(group, datasets.values()), read_runs(group), items)


def _require_datasets(label: str, datasets: Mapping[str, Any]) -> None:
    """Raise ValueError unless all are datasets."""
    for name, each in datasets.items():
        if not isinstance(each, h5py().Dataset):
            raise ValueError(f"'{label}/{name}' is no dataset, but a {type(each).__name__.lower()}")


def _item(label: str, name: str, dataset: Any, schema: Schema | None, calls: int | None, varying: Any) -> Item:
    shape = dataset.shape
    if not shape:
        raise ValueError(f"'{label}/{name}' has no dimension of calls")
    if dataset.dtype.kind not in "biuf":
        raise ValueError(f"'{label}/{name}' holds {dataset.dtype}, no numbers")
    # HPAC-ML may put a dimension of 1 before that of the calls, whose number the runtimes tell.
    leading = schema is None and len(shape) > 1 and shape[0] == 1 and calls == shape[1] != 1
    later = None if varying is None or name == "runtime" else _varying(label, name, dataset, varying)
    return Item(shape[leading], shape[1 + leading :], np_dtype_name(dataset.dtype), leading, later)


def _varying(label: str, name: str, dataset: Any, group: Any) -> Varying:
    """Read where the calls of a tensor are that differ. Raises ValueError unless all of that agrees."""
    points = group[name]
    dims = tuple(int(d) for d in points.attrs["dims"])
    shapes, offsets = group[f"{name}_shapes"][()].astype(np.int64), group[f"{name}_offsets"][()].astype(np.int64)
    rank, features = dataset.ndim - 1, points.shape[1:]
    swept = rank - len(features)
    whole = (
        sorted(dims) == list(range(rank))
        and swept >= 0
        and shapes.shape == (len(offsets) - 1, rank)
        and points.dtype == dataset.dtype
        and (shapes >= 0).all()
        and (shapes[:, list(dims[swept:])] == features).all()
        and (offsets == offsets_of(shapes[:, list(dims[:swept])].prod(1))).all()
        and offsets[-1] <= len(points)
    )
    if not whole:
        raise ValueError(f"the points of '{label}/{VARYING}/{name}' are not those that its offsets and shapes tell")
    return Varying(shapes, offsets, dims, swept)


def _order(name: str) -> tuple[int, int]:
    """Where a dataset stands: the numbers of calls are in the order of their names."""
    kind = next(place for place, kind in enumerate(_KINDS) if name.startswith(kind))
    number = name.partition("_")[2]
    return kind, 0 if name.startswith(META) else int(number or 0)


def _writer(group: Any, datasets: Any) -> str | None:
    if version := group.attrs.get("hpacml_version"):
        return f"hpacml {version}"
    return "HPAC-ML" if any("type" in item.attrs for item in (group, *datasets)) else None


def require_same(first: Shard, other: Shard) -> None:
    """Raise DatabaseError unless the calls of two files can be read as one region's."""

    def refuse(what: str, a: Sequence[str] | str, b: Sequence[str] | str) -> None:
        a, b = (text if isinstance(text, str) else "\n    ".join(text) for text in (a, b))
        raise DatabaseError(
            f"the region '{first.label}' has other {what} in '{other.path}' than in '{first.path}':\n    {b}\nand not\n"
            f"    {a}\nOpen the files one by one"
        )

    none = "none told"
    maps = [none if shard.schema is None else shard.schema.maps for shard in (first, other)]
    if maps[0] != maps[1]:
        refuse("maps", *maps)
    if first.schema and other.schema and first.schema.units != other.schema.units:
        refuse("units", units_text(first.schema), units_text(other.schema))
    told = [None if shard.schema is None else collected_text(shard.schema) for shard in (first, other)]
    if told[0] and told[1] and told[0] != told[1]:
        refuse("numbers or another truth", told[0], told[1])
    if first.schema != other.schema:
        refuse("dtypes", str(first.schema), str(other.schema))
    layouts = [_layouts(shard) for shard in (first, other)]
    if layouts[0] != layouts[1]:
        refuse("tensors", *layouts)
    origins = [None if shard.schema is None else shard.schema.origin for shard in (first, other)]
    if origins[0] and origins[1] and is_other(origins[0], origins[1]) and not origins[0].labelled:
        refuse("functions", *told_apart(origins[0], origins[1]))


def without_reasons(shard: Shard, like: Schema | None) -> Shard:
    """Rejected points as calls of a region, whose schema they get if their maps mean the same."""
    schema = shard.schema
    if schema is not None and like is not None:
        maps = like.maps if is_same(like.maps, schema.maps) else schema.maps
        schema = replace(schema, maps=maps, reasons=False)
    return replace(shard, schema=schema, items={name: item for name, item in shard.items.items() if name != REASON})


def _layouts(shard: Shard) -> list[str]:
    """What two shards must have in common besides their schemas: dtypes, and the sizes that are no points."""
    texts: list[str] = []
    maps = () if shard.schema is None else shard.schema.maps_of_columns
    for number, (name, item) in enumerate(shard.items.items()):
        sweep = sweep_of(maps[number], len(item.shape)) if number < len(maps) else None
        swept = () if sweep is None else sweep.dims
        texts.append(f"{name}: {item.dtype}{shown([None if d in swept else n for d, n in enumerate(item.shape)])}")
    return texts
