"""`hpacml db check`: what is wrong with a database, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import FAILURES, first_line
from hpacml.runtime.databases.reader import Database, Region
from hpacml.runtime.databases.schema import REASON, Schema, read_shapes
from hpacml.runtime.databases.tensors import Tensor
from hpacml.tools.console import progress


@dataclass(slots=True)
class Numbers:
    """The numbers of NaN and infinite elements in a tensor, and the first call that has one."""

    nan: int = 0
    inf: int = 0
    first: int | None = None

    @property
    def text(self) -> str:
        return f"{self.nan} NaN, {self.inf} infinite"


def problems_of(database: Database, region: Region) -> Iterator[str]:
    """Find contradictions among the attributes and sizes of a region in one file, without reading data."""
    shard = region.shards[0]
    group = database.group(region.label)
    counts = {name: item.entries for name, item in shard.items.items()}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name}: {count}" for name, count in counts.items())
        yield (
            f"the numbers of calls differ ({each}), perhaps since a process was killed that collected: "
            f"`hpacml db merge OUT '{shard.path}'` writes a database of the {shard.calls} complete ones"
        )
    if any(run.first_call > shard.calls for run in shard.runs):
        yield f"a run is said to begin after the last call ({shard.calls}): calls are lost; use a copy if there is one"
    if shard.schema is None:
        return
    digest = group.attrs.get("maps_sha256")
    if digest != shard.schema.sha256:
        yield (
            f"the attribute maps_sha256 is {digest}, but the maps have {shard.schema.sha256}: one of them was changed; "
            "do not train with it unless you know the maps of the data"
        )
    yield from _differences(region, shard.schema, group)


def _differences(region: Region, schema: Schema, group: Any) -> Iterator[str]:
    shard = region.shards[0]
    names = [*schema.columns, "runtime"]
    for name in names:
        if name not in shard.items:
            yield f"the dataset '{name}' is missing: use a copy of the file"
    for name in shard.items.keys() - set(names):
        yield f"the dataset '{name}' belongs to no map: remove it"
    dtypes = {**schema.stored_dtypes, "runtime": "float32"}
    shapes = read_shapes(group)
    told = [name for name in names if name != REASON]
    expected = dict(zip(told, [*shapes, ()], strict=False)) if shapes is not None else {}
    for name, item in shard.items.items():
        if (item.dtype, dtypes.get(name)) != ("float32", "float64") and item.dtype != dtypes.get(name, item.dtype):
            yield f"'{name}' holds {item.dtype}, but its attribute says {dtypes[name]}: use a copy of the file"
        if item.shape != expected.get(name, item.shape):
            yield (
                f"'{name}' holds {list(item.shape)} per call, but its attribute says {list(expected[name])}: "
                "use a copy of the file"
            )


def numbers_of(tensor: Tensor) -> Numbers:
    """Read all of a tensor, and count. Raises DatabaseError where it cannot be read."""
    numbers = Numbers()
    for block in progress(tensor.blocks, f"reading {tensor.name}", len(tensor.blocks)):
        values = tensor[block]
        if tensor.dtype.kind != "f":
            continue  # integers need only be readable
        odd = ~np.isfinite(values)
        if odd.any():
            nan = int(np.isnan(values).sum())
            numbers.nan += nan
            numbers.inf += int(odd.sum()) - nan
            if numbers.first is None:
                numbers.first = block.start + int(np.argwhere(odd)[0, 0])
    return numbers


def check_region(database: Database, region: Region, allow_nan: bool) -> tuple[list[str], dict[str, Numbers]]:
    """Find the problems of a region. Returns them, and what was counted in its tensors, by their names."""
    problems: list[str] = []
    try:
        problems += problems_of(database, region)
    except (*FAILURES, TypeError) as error:  # TypeError for attributes of other kinds
        problems.append(f"its attributes cannot be read ({first_line(error)}): use a copy of the file")
    counted: dict[str, Numbers] = {}
    for tensor in region.tensors:
        try:
            numbers = counted[tensor.name] = numbers_of(tensor)
        except DatabaseError as error:
            problems.append(str(error))
            continue
        if numbers.first is not None and not allow_nan:
            problems.append(
                f"'{tensor.name}' has elements that are no finite numbers ({numbers.text}), first in call "
                f"{numbers.first}: leave such calls out of the training, or check with --allow-nan if they are meant"
            )
    return problems, counted
