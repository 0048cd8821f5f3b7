"""A region's group in a database that is being collected into."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np

from hpacml.clauses import label_fault
from hpacml.directives.meaning import is_same
from hpacml.errors import DatabaseError
from hpacml.runtime.databases import origins
from hpacml.runtime.databases.hdf5 import Array, Column, h5py, require_filters
from hpacml.runtime.databases.own_objects import growing_group
from hpacml.runtime.databases.runs import Run, add_run, read_runs
from hpacml.runtime.databases.schema import META, Schema, collected_text, units_text
from hpacml.runtime.databases.settings import Storage
from hpacml.runtime.databases.sweeps import misfit, sweeps_of
from hpacml.runtime.databases.varying import Calls, Layout, VaryingCalls, layouts_of


class CallShape(NamedTuple):
    """Shape and dtype of what one call gives to a dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


_log = logging.getLogger("hpacml")

_told: set[tuple[str, Schema]] = set()
"""The regions of whose points the log has told already."""

RUNTIME = CallShape((), np.dtype(np.float32))


class Group:
    """The datasets of one region, each with one entry per call; `call_shapes` are those of the tensors.

    Calls that differ in their points from those before, and all calls after these, go to a group in it (`varying.py`).
    """

    def __init__(self, file: Any, label: str, schema: Schema, call_shapes: Sequence[CallShape]) -> None:
        if (fault := label_fault(label)) is not None:
            raise DatabaseError(fault)
        self._label = label
        self._names = schema.columns
        columns = (
            self._find(growing_group(file, label), schema) if label in file else self._create(file, schema, call_shapes)
        )
        self._group = file[label]
        self.origin = origins.settle(self._group, label, schema.origin)
        """The function whose calls the group holds."""
        self._recorded: set[str | None] = set()
        self._columns = list(columns.values())
        stored = [CallShape(column.shape, column.dtype) for column in self._columns]
        self.layouts = layouts_of(schema.maps_of_columns, [each.shape for each in stored[:-1]])
        """How the tensors of calls become points."""
        self._varying = VaryingCalls.find(self._group, self._names, self.layouts)
        self.calls = self._require_complete({name: column.calls for name, column in columns.items()})
        """The number of calls that the group has."""
        self.call_shapes = [CallShape(has.shape, gives.dtype) for has, gives in zip(stored, call_shapes, strict=False)]
        """The shapes and dtypes of one call's tensors, as long as calls do not differ."""
        self.dtypes = [each.dtype for each in stored]
        """The dtypes of the datasets: those of the schema's columns, then the runtime's."""
        for name, has, gives in zip(columns, stored, (*call_shapes, RUNTIME), strict=True):
            if has.dtype not in (gives.dtype, _single(gives.dtype)):
                raise other_shape(label, name, has, gives)
        require_points(label, self._names, self.call_shapes, call_shapes, self.layouts)
        _tell_misfit(label, schema, [each.shape for each in call_shapes])

    @property
    def runs(self) -> tuple[Run, ...]:
        """Who collected the calls."""
        return read_runs(self._group)

    @property
    def varies(self) -> bool:
        """Whether calls have begun to differ in their points."""
        return self._varying is not None

    def write(self, columns: Sequence[Array | Calls], samples: Iterable[str | None]) -> None:
        """Append calls: `columns` are arrays [calls, *shape], one per dataset, `samples` the clauses that took them.

        Those of the tensors of calls that differ are `Calls`; after these come no others.
        """
        for sample in samples:
            if sample not in self._recorded:
                add_run(self._group, self.calls, sample)
                self._recorded.add(sample)
        *tensors, runtimes = columns
        varying = [tensor for tensor in tensors if isinstance(tensor, Calls)]
        if varying:
            if self._varying is None:
                points = [len(each.points) // len(each) for each in varying]
                self._varying = VaryingCalls.create(self._group, self._names, self.layouts, points)
            self._varying.append(varying)
        for column, entries in zip(self._columns, tensors, strict=False):
            if not isinstance(entries, Calls):
                column.append(entries)
        self._columns[-1].append(cast(Array, runtimes))
        self.calls += len(runtimes)

    def _require_complete(self, counts: dict[str, int]) -> int:
        """The number of calls. Raises DatabaseError if datasets have different ones."""
        later = 0 if self._varying is None else self._varying.calls
        complete = {name: count + later * (name != "runtime") for name, count in counts.items()}
        if len(set(complete.values())) > 1:
            told = ", ".join(f"{name}: {count}" for name, count in complete.items())
            raise DatabaseError(
                f"the group '{self._label}' has different numbers of calls in its datasets ({told}): "
                f"resize them to {min(complete.values())} calls, or use another file"
            )
        return complete["runtime"]

    def _create(self, file: Any, schema: Schema, call_shapes: Sequence[CallShape]) -> dict[str, Column]:
        storage = Storage.of_environment()
        group = file.create_group(self._label)
        try:
            columns: dict[str, Column] = {}
            for name, each in zip(schema.columns, call_shapes, strict=True):
                single = storage.single and not name.startswith(META)
                dtype = _single(each.dtype) if single else each.dtype
                columns[name] = Column.create(group, name, each.shape, dtype, storage.filters)
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
        datasets = {name: group[name] for name in names}
        if odd := [name for name, each in datasets.items() if not isinstance(each, h5py().Dataset)]:
            kind = type(datasets[odd[0]]).__name__.lower()
            raise DatabaseError(f"'{self._label}/{odd[0]}' is no dataset, but a {kind}: use another file")
        if fixed := [name for name, each in datasets.items() if (each.maxshape or ())[:1] != (None,)]:
            raise DatabaseError(
                f"the dataset '{self._label}/{fixed[0]}' cannot grow, as those of `hpacml db merge --virtual`: collect "
                "into another file, or merge without --virtual"
            )
        for each in datasets.values():
            require_filters(each)
        read_runs(group)  # which nobody could read with ours behind them, were they malformed
        return {name: Column(each) for name, each in datasets.items()}


def require_same(label: str, found: Schema, given: Schema) -> None:
    """Raise DatabaseError unless a group with the schema `found` may have calls with the schema `given`."""
    if not is_same(found.maps, given.maps):
        raise DatabaseError(
            f"the group '{label}' holds data of other maps:\n{_indented(found.maps)}\n"
            f"The region has\n{_indented(given.maps)}\nUse another label or another file"
        )
    if found.units != given.units:
        raise DatabaseError(
            f"the group '{label}' holds data {units_text(found)}, but the region gives data "
            f"{units_text(given)}: make the clause units say the same, or use another label or another file"
        )
    if (found.meta, found.truth, found.reasons) != (given.meta, given.truth, given.reasons):
        raise DatabaseError(
            f"the group '{label}' holds data {collected_text(found)}, but the region gives data "
            f"{collected_text(given)}: make the clauses meta and truth say the same, or use another label or file"
        )
    if found != replace(given, maps=found.maps):
        raise DatabaseError(
            f"the group '{label}' holds tensors of {found}, but the region has {given}: "
            "use another label or another file"
        )


def require_points(
    label: str,
    names: Sequence[str],
    has: Sequence[CallShape],
    gives: Sequence[CallShape],
    layouts: Sequence[Layout],
) -> None:
    """Raise DatabaseError unless the tensors of a call are like those of others but for the number of points."""
    for name, own, given, layout in zip(names, has, gives, layouts, strict=True):
        if own.dtype != given.dtype or (own.shape != given.shape and not layout.takes(given.shape)):
            raise other_shape(label, name, own, given)


def _tell_misfit(label: str, schema: Schema, shapes: Sequence[tuple[int, ...]]) -> None:
    """Log, once for a region, that its tensors have no points in common."""
    shapes = shapes[: len(schema.maps)]
    sweeps = sweeps_of(schema.maps_of_columns[: len(shapes)], [len(shape) for shape in shapes])
    if (
        sweeps is None
        or (label, schema) in _told
        or (points := misfit(sweeps, shapes, schema.columns[: len(shapes)])) is None
    ):
        return
    _told.add((label, schema))
    _log.warning(
        "the tensors of the region '%s' have no points in common, so that its data can be read by calls, but not by "
        "points: the sweeps of its functors have %s points; if one of their symbols numbers features, declare these as "
        "a range, such as [i, 0:5] = ([i, 0:5]) in place of [i, k] = ([i, k])",
        label,
        points,
    )


def other_shape(label: str, name: str, has: CallShape, gives: CallShape) -> DatabaseError:
    """The error that a call gives something else to a dataset than it holds."""
    return DatabaseError(
        f"'{label}/{name}' holds {has} per call, but this call gives {gives}: collect it under another label, or into "
        "another file (calls of a region may differ in the points of their sweeps, and in nothing else)"
    )


def _single(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return RUNTIME.dtype if dtype == np.float64 else dtype


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
