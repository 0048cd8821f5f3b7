"""The database of collected data: one HDF5 group per region, one dataset per tensor, one entry per call.

    /heat           maps, maps_sha256, input_dtypes, output_dtypes, input_shapes, output_shapes, hpacml_version, runs
                    (attributes; `hpacml.runtime.schema` and `hpacml.runtime.runs`)
    /heat/input     [calls, *shape of the tensor]; further inputs are input_1, input_2, ...
    /heat/output    [calls, *shape of the tensor]; further outputs are output_1, output_2, ...
    /heat/runtime   [calls], float32: the time that the original code took, in milliseconds

The groups and datasets are those of HPAC-ML, the attributes are not. A file stays open for the next call; `flush`
closes all files, and so do the end of the process and a fork. A process that is killed loses what it collected
within its last second.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.hdf5 import FAILURES, Array, Column, first_line, h5py, open_file
from hpacml.runtime.runs import add_run
from hpacml.runtime.schema import Schema, units_text

FLUSH_SECONDS = 1.0

_RUNTIME_DTYPE = np.dtype(np.float32)


_lock = threading.RLock()
_files: dict[str, _File] = {}


def append(path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
    """Append one call of the region `label` to the database at `path`, which is made if it is not there.

    `path` is absolute, `tensors` are the inputs and then the outputs. Raises DatabaseError, and then has appended
    nothing.
    """
    with _lock:
        file = _files.get(path)
        if file is None or file.moved:
            if file is not None:
                _close(path)
            file = _files[path] = _File(path)
        file.append(label, schema, tensors, milliseconds)


def flush() -> None:
    """Return when everything collected so far is in its files, and other processes can read them.

    It closes the databases; the next collection opens them again. Raises DatabaseError.
    """
    with _lock:
        errors: list[DatabaseError] = []
        for path in list(_files):
            try:
                _close(path)
            except DatabaseError as error:
                errors.append(error)
        if errors:
            raise errors[0]


class _Group:
    """The datasets of one region, which have one entry per call each."""

    def __init__(self, file: Any, label: str, schema: Schema, tensors: Sequence[Array]) -> None:
        if label in ("", ".") or "/" in label:
            raise DatabaseError(f"'{label}' cannot be a region's label: it names one group, so it has no '/'")
        self._label = label
        self._schema = schema
        columns = self._find(file[label]) if label in file else self._create(file, tensors)
        self._group = file[label]
        self._recorded: set[str | None] = set()
        self._columns = list(columns.values())
        lengths = {column.calls for column in self._columns}
        if len(lengths) > 1:
            counts = ", ".join(f"{name}: {column.calls}" for name, column in columns.items())
            raise DatabaseError(
                f"the group '{label}' has different numbers of calls in its datasets ({counts}), perhaps since a "
                f"process was killed that collected: resize them to {min(lengths)} calls, or use another file"
            )
        self._calls = lengths.pop()

    def append(self, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
        self._require_same(self._schema, schema)
        entries = (*tensors, np.array(milliseconds, _RUNTIME_DTYPE))
        for name, column, entry in zip((*schema.columns, "runtime"), self._columns, entries, strict=True):
            if column.shape != entry.shape or column.dtype != entry.dtype:
                raise DatabaseError(
                    f"'{self._label}/{name}' holds {column.dtype}{list(column.shape)} per call, but this call gives "
                    f"{entry.dtype}{list(entry.shape)}: collect it under another label, or into another file"
                )
        if schema.sample not in self._recorded:
            add_run(self._group, self._calls, schema.sample)
            self._recorded.add(schema.sample)
        try:
            for column, entry in zip(self._columns, entries, strict=True):
                column.write(self._calls, entry)
        except BaseException:
            for column in self._columns:
                with contextlib.suppress(*FAILURES):
                    column.resize(self._calls)
            raise
        self._calls += 1

    def _create(self, file: Any, tensors: Sequence[Array]) -> dict[str, Column]:
        group = file.create_group(self._label)
        try:
            columns = {
                name: Column.create(group, name, tensor.shape, tensor.dtype)
                for name, tensor in zip(self._schema.columns, tensors, strict=True)
            }
            columns["runtime"] = Column.create(group, "runtime", (), _RUNTIME_DTYPE)
            self._schema.write(group)
        except BaseException:
            del file[self._label]
            raise
        return columns

    def _find(self, group: Any) -> dict[str, Column]:
        found = Schema.read(group) if isinstance(group, h5py().Group) else None
        if found is None:
            raise DatabaseError(
                f"'{self._label}' is there already, and does not say of which maps its data are, so hpacml does not "
                "append to it: use another label or another file"
            )
        self._require_same(found, self._schema)
        names = [*self._schema.columns, "runtime"]
        if missing := [name for name in names if name not in group]:
            raise DatabaseError(f"the group '{self._label}' lacks its dataset '{missing[0]}': use another file")
        if fixed := [name for name in names if group[name].maxshape[:1] != (None,)]:
            raise DatabaseError(
                f"the dataset '{self._label}/{fixed[0]}' cannot grow, as those of `hpacml db merge --virtual`: collect "
                "into another file, or merge without --virtual"
            )
        return {name: Column(group[name]) for name in names}

    def _require_same(self, found: Schema, given: Schema) -> None:
        if found.maps != given.maps:
            raise DatabaseError(
                f"the group '{self._label}' holds data of other maps:\n{_indented(found.maps)}\n"
                f"The region has\n{_indented(given.maps)}\nUse another label or another file"
            )
        if found.units != given.units:
            raise DatabaseError(
                f"the group '{self._label}' holds data {units_text(found)}, but the region gives data "
                f"{units_text(given)}: make the clause units say the same, or use another label or another file"
            )
        if found != given:
            raise DatabaseError(
                f"the group '{self._label}' holds tensors of {found}, but the region has {given}: "
                "use another label or another file"
            )


class _File:
    """An open database."""

    def __init__(self, path: str) -> None:
        _prepare()
        self._path = path
        self._file = open_file(path, "a")
        self._identity = _identity(path)
        self._groups: dict[str, _Group] = {}
        self._flushed = time.monotonic()

    def append(self, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
        try:
            if (group := self._groups.get(label)) is None:
                group = self._groups[label] = _Group(self._file, label, schema, tensors)
            group.append(schema, tensors, milliseconds)
            if (now := time.monotonic()) - self._flushed > FLUSH_SECONDS:
                self._flushed = now
                self._file.flush()
        except DatabaseError as error:
            raise DatabaseError(f"in the database '{self._path}': {error}") from error.__cause__
        except FAILURES as error:
            raise DatabaseError(f"cannot write the database '{self._path}': {first_line(error)}") from error

    @property
    def moved(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        return _identity(self._path) != self._identity

    def close(self) -> None:
        self._file.close()


def _close(path: str) -> None:
    try:
        _files.pop(path).close()
    except FAILURES as error:
        raise DatabaseError(f"cannot write the database '{path}': {first_line(error)}") from error


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@functools.cache
def _register() -> None:
    h5py()  # before the next lines: a fork takes our lock first and h5py's after it, as appending does
    atexit.register(flush)
    os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_lock.release)


@functools.cache
def _flush_at_exit_of(process: int) -> None:
    # A process that multiprocessing made ends without atexit.
    if util := sys.modules.get("multiprocessing.util"):
        util.Finalize(None, flush, exitpriority=0)


def _prepare() -> None:
    _register()
    _flush_at_exit_of(os.getpid())


def _before_fork() -> None:
    """No database is open while the process forks: two processes that continue one would destroy it."""
    _lock.acquire()
    flush()


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
