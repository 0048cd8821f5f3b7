"""`hpacml db merge`: one database of several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import FAILURES, Column, first_line, h5py, open_file
from hpacml.runtime.databases.parts import Fixed, Points
from hpacml.runtime.databases.reader import Region, open_database
from hpacml.runtime.databases.runs import write_runs
from hpacml.runtime.databases.tensors import Tensor
from hpacml.runtime.databases.varying import create_columns, layouts_of, points_of
from hpacml.tools.console import progress
from hpacml.tools.outputs import new_file


def merge(out: Path, sources: list[Path], virtual: bool) -> list[Region]:
    """Write `out` with the calls of `sources` one after the other. Returns the regions, raises DatabaseError.

    With `virtual`, `out` refers to the data in `sources`, by paths relative to its own folder.
    """
    with open_database(sources) as database, new_file(out) as part:
        try:
            with open_file(str(part), "w") as file:
                for region in database.values():
                    _require_all_tensors(region)
                    _write(file.create_group(region.label), region, out if virtual else None)
        except FAILURES as error:
            raise DatabaseError(f"cannot write the database '{out}': {first_line(error)}") from error
        return list(database.values())


def _write(group: Any, region: Region, virtual: Path | None) -> None:
    tensors = region.data
    varies = any(tensor.varies for tensor in tensors)
    stored = [part for tensor in tensors for part in tensor.parts if isinstance(part, Points)]
    if virtual and (varies or stored):
        raise DatabaseError(
            f"the calls of the region '{region.label}' differ in their points, so that a file cannot refer to them in "
            "others: merge without --virtual"
        )
    for tensor in region.tensors:
        if virtual is not None:
            _refer(group, tensor, virtual.absolute().parent)
        elif varies and tensor is not region.runtime:
            Column.create(group, tensor.name, tuple(tensor.shapes[0].tolist()), tensor.dtype)
        else:
            _copy(group, tensor, region.label)
    if varies:
        _copy_points(group, tensors, region)
    if region.schema is not None:
        schemas = [shard.schema for shard in region.shards if shard.schema is not None]
        origins = [schema.origin for schema in schemas if schema.origin is not None]
        replace(region.schema, origin=origins[0].joined(origins) if origins else None).write(group)
    if region.runs:
        write_runs(group, region.runs)


def _copy_points(group: Any, tensors: Sequence[Tensor], region: Region) -> None:
    """Write calls that differ in their points."""
    maps = () if region.schema is None else region.schema.maps_of_columns
    layouts = layouts_of(maps, [tuple(tensor.shapes[0].tolist()) for tensor in tensors])
    most = [int(layout.points(tensor.shapes).max()) for layout, tensor in zip(layouts, tensors, strict=True)]
    columns = create_columns(group, [tensor.name for tensor in tensors], layouts, most)
    for tensor, column, layout in zip(tensors, columns, layouts, strict=True):
        for block in progress(tensor.blocks, f"copying {region.label}/{tensor.name}", len(tensor.blocks)):
            column.append(points_of(tensor[block], layout), layout)


def _require_all_tensors(region: Region) -> None:
    names = [] if region.schema is None else region.schema.columns
    if missing := [name for name in names if name not in region.shards[0].items]:
        raise DatabaseError(
            f"the region '{region.label}' in '{region.shards[0].path}' lacks its dataset '{missing[0]}': use a "
            "copy of the file, or leave it out"
        )


def _copy(group: Any, tensor: Tensor, label: str) -> None:
    column = Column.create(group, tensor.name, tensor.shape[1:], tensor.dtype)
    for block in progress(tensor.blocks, f"copying {label}/{tensor.name}", len(tensor.blocks)):
        column.append(tensor[block])


def _refer(group: Any, tensor: Tensor, folder: Path) -> None:
    layout = h5py().VirtualLayout(tensor.shape, tensor.dtype)
    start = 0
    for part in (part for part in tensor.parts if isinstance(part, Fixed)):
        shape = (*[1] * part.leading, part.calls, *tensor.shape[1:])
        source = h5py().VirtualSource(os.path.relpath(part.path, os.path.realpath(folder)), part.name, shape)
        if part.calls:
            layout[start : start + part.calls] = source[0] if part.leading else source
        start += part.calls
    group.create_virtual_dataset(tensor.name, layout)
