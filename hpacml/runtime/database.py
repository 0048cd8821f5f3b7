"""The database of collected data: one HDF5 group per region, one dataset per tensor, one entry per call.

    /heat           maps, maps_sha256, input_dtypes, output_dtypes, hpacml_version (attributes)
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
import hashlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpacml.errors import DatabaseError
from hpacml.runtime.hdf5 import FAILURES, Array, Column, first_line, h5py, open_file
from hpacml.version import version

FLUSH_SECONDS = 1.0

_RUNTIME_DTYPE = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class Schema:
    """What a region collects: the texts of its functors and maps, and the dtypes of its tensors.

    The dtypes have the names of `hpacml.runtime.memref`. HDF5 has no bf16; such tensors are stored as float32.
    """

    maps: tuple[str, ...]
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The names of the tensors' datasets, inputs first."""
        kinds = (("input", self.input_dtypes), ("output", self.output_dtypes))
        return [f"{kind}_{i}" if i else kind for kind, dtypes in kinds for i in range(len(dtypes))]

    @property
    def sha256(self) -> str:
        """The digest of the maps."""
        return hashlib.sha256("\n".join(self.maps).encode()).hexdigest()

    @staticmethod
    def read(group: Any) -> Schema | None:
        """The schema that a group's attributes hold, None if they do not."""
        texts = [group.attrs.get(name) for name in ("maps", "input_dtypes", "output_dtypes")]
        return None if any(text is None for text in texts) else Schema(*(tuple(map(str, text)) for text in texts))

    def write(self, group: Any) -> None:
        """Make attributes of it, for `read`."""
        attributes = {
            "maps": list(self.maps),
            "maps_sha256": self.sha256,
            "input_dtypes": list(self.input_dtypes),
            "output_dtypes": list(self.output_dtypes),
            "hpacml_version": version(),
        }
        for name, value in attributes.items():
            group.attrs.create(name, value, dtype=h5py().string_dtype())

    def __str__(self) -> str:
        return f"({', '.join(self.input_dtypes)}) -> ({', '.join(self.output_dtypes)})"


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a database holds of one tensor, or the runtimes: `shape` counts the calls first."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Region:
    """What a database holds of one region. `schema` and `version` are None if hpacml did not write it."""

    label: str
    schema: Schema | None
    version: str | None
    datasets: tuple[Dataset, ...]
    mean_ms: float | None

    @property
    def calls(self) -> int:
        return max((dataset.shape[0] for dataset in self.datasets if dataset.shape), default=0)


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


def regions(path: str) -> list[Region]:
    """What the database at `path` holds. Raises DatabaseError."""
    flush()
    path = os.path.realpath(path)
    if not os.path.exists(path):
        raise DatabaseError(f"the database '{path}' does not exist")
    with open_file(path, "r") as file:
        try:
            return [_region(label, item) for label, item in file.items() if isinstance(item, h5py().Group)]
        except (*FAILURES, TypeError) as error:  # the latter for datasets and attributes of other kinds
            raise DatabaseError(
                f"cannot read '{path}' as a database of regions: {first_line(error)}; hpacml did not write it so"
            ) from error


def _region(label: str, group: Any) -> Region:
    items = {name: item for name, item in group.items() if isinstance(item, h5py().Dataset)}
    runtime = items.get("runtime")
    return Region(
        label,
        Schema.read(group),
        group.attrs.get("hpacml_version"),
        tuple(Dataset(name, item.shape or (), str(item.dtype)) for name, item in items.items()),
        float(runtime[()].mean()) if runtime is not None and runtime.size else None,
    )


class _Group:
    """The datasets of one region, which have one entry per call each."""

    def __init__(self, file: Any, label: str, schema: Schema, tensors: Sequence[Array]) -> None:
        if label in ("", ".") or "/" in label:
            raise DatabaseError(f"'{label}' cannot be a region's label: it names one group, so it has no '/'")
        self._label = label
        self._schema = schema
        columns = self._find(file[label]) if label in file else self._create(file, tensors)
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
        return {name: Column(group[name]) for name in names}

    def _require_same(self, found: Schema, given: Schema) -> None:
        if found.maps != given.maps:
            raise DatabaseError(
                f"the group '{self._label}' holds data of other maps:\n{_indented(found.maps)}\n"
                f"The region has\n{_indented(given.maps)}\nUse another label or another file"
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
