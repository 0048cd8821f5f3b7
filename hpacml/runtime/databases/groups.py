"""A region's group in a database that is being collected into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array, Column, h5py, require_filters
from hpacml.runtime.databases.runs import add_run
from hpacml.runtime.databases.schema import Schema, units_text
from hpacml.runtime.databases.settings import Storage


class CallShape(NamedTuple):
    """Shape and dtype of what one call gives to a dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


RUNTIME = CallShape((), np.dtype(np.float32))


class Group:
    """The datasets of one region, each with one entry per call; `call_shapes` are those of the tensors."""

    def __init__(self, file: Any, label: str, schema: Schema, call_shapes: Sequence[CallShape]) -> None:
        if label in ("", ".") or "/" in label or "\0" in label:
            raise DatabaseError(
                f"{label!r} cannot be a region's label: it names one group, so it has no '/' and no NUL"
            )
        self._label = label
        columns = self._find(file[label], schema) if label in file else self._create(file, schema, call_shapes)
        self._group = file[label]
        self._recorded: set[str | None] = set()
        self._columns = list(columns.values())
        lengths = {column.calls for column in self._columns}
        if len(lengths) > 1:
            counts = ", ".join(f"{name}: {column.calls}" for name, column in columns.items())
            raise DatabaseError(
                f"the group '{label}' has different numbers of calls in its datasets ({counts}): "
                f"resize them to {min(lengths)} calls, or use another file"
            )
        self._calls = lengths.pop()
        stored = [CallShape(column.shape, column.dtype) for column in self._columns]
        for name, has, gives in zip(columns, stored, (*call_shapes, RUNTIME), strict=True):
            if has.shape != gives.shape or has.dtype not in (gives.dtype, _single(gives.dtype)):
                raise other_shape(label, name, has, gives)
        self.dtypes = [each.dtype for each in stored]
        """The dtypes of the datasets: those of the schema's columns, then the runtime's."""

    def write(self, columns: Sequence[Array], samples: Iterable[str | None]) -> None:
        """Append calls: `columns` are arrays [calls, *shape], one per dataset, `samples` the clauses that took them."""
        for sample in samples:
            if sample not in self._recorded:
                add_run(self._group, self._calls, sample)
                self._recorded.add(sample)
        for column, entries in zip(self._columns, columns, strict=True):
            column.append(entries)
        self._calls += len(columns[-1])

    def _create(self, file: Any, schema: Schema, call_shapes: Sequence[CallShape]) -> dict[str, Column]:
        storage = Storage.of_environment()
        group = file.create_group(self._label)
        try:
            columns = {
                name: Column.create(
                    group, name, each.shape, _single(each.dtype) if storage.single else each.dtype, storage.filters
                )
                for name, each in zip(schema.columns, call_shapes, strict=True)
            }
            columns["runtime"] = Column.create(group, "runtime", *RUNTIME)
            schema.write(group)
        except BaseException:
            del file[self._label]
            raise
        return columns

    def _find(self, group: Any, schema: Schema) -> dict[str, Column]:
        found = Schema.read(group) if isinstance(group, h5py().Group) else None
        if found is None:
            raise DatabaseError(
                f"'{self._label}' is there already, and does not say of which maps its data are, so hpacml does not "
                "append to it: use another label or another file"
            )
        require_same(self._label, found, schema)
        names = [*schema.columns, "runtime"]
        if missing := [name for name in names if name not in group]:
            raise DatabaseError(f"the group '{self._label}' lacks its dataset '{missing[0]}': use another file")
        if fixed := [name for name in names if (getattr(group[name], "maxshape", None) or ())[:1] != (None,)]:
            raise DatabaseError(
                f"the dataset '{self._label}/{fixed[0]}' cannot grow, as those of `hpacml db merge --virtual`: collect "
                "into another file, or merge without --virtual"
            )
        for name in names:
            require_filters(group[name])
        return {name: Column(group[name]) for name in names}


def require_same(label: str, found: Schema, given: Schema) -> None:
    """Raise DatabaseError unless a group with the schema `found` may have calls with the schema `given`."""
    if found.maps != given.maps:
        raise DatabaseError(
            f"the group '{label}' holds data of other maps:\n{_indented(found.maps)}\n"
            f"The region has\n{_indented(given.maps)}\nUse another label or another file"
        )
    if found.units != given.units:
        raise DatabaseError(
            f"the group '{label}' holds data {units_text(found)}, but the region gives data "
            f"{units_text(given)}: make the clause units say the same, or use another label or another file"
        )
    if found != given:
        raise DatabaseError(
            f"the group '{label}' holds tensors of {found}, but the region has {given}: "
            "use another label or another file"
        )


def other_shape(label: str, name: str, has: CallShape, gives: CallShape) -> DatabaseError:
    """The error that a call gives something else to a dataset than it holds."""
    return DatabaseError(
        f"'{label}/{name}' holds {has} per call, but this call gives {gives}: "
        "collect it under another label, or into another file"
    )


def _single(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return RUNTIME.dtype if dtype == np.float64 else dtype


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
