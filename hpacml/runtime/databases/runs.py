"""Which run of which program collected a call: records in the dataset `runs` of a region's group.

It has one text for each run, which is a JSON object, in the order of their first calls. Older files have those in an
attribute `runs`, a JSON list, which comes before the dataset and stays as it is.
"""

from __future__ import annotations

import functools
import getpass
import json
import os
import platform
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from hpacml.runtime.databases.hdf5 import h5py
from hpacml.runtime.databases.ranks import rank
from hpacml.version import version

RUNS = "runs"
"""The name of the dataset, and of the attribute of old files."""

_CHUNK = 64
"""The runs of a chunk of the dataset, which holds 16 bytes for each; the texts are elsewhere."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process that collected: its calls begin at `first_call` and end where the next run's begin.

    `start` is when it first collected, ISO 8601 in UTC; `rank` is None where nothing tells that there are ranks.
    `sample` is the text of the region's clause, None if it had none; clauses of several regions are joined by "; ",
    where "all" stands for a region without one.
    """

    first_call: int
    start: str
    command: str
    host: str
    user: str
    process: int
    rank: int | str | None
    hpacml: str
    torch: str | None
    python: str
    sample: str | None = None

    def after(self, calls: int) -> Run:
        """The same run, after `calls` calls of others."""
        return replace(self, first_call=self.first_call + calls)


def add_run(group: Any, first_call: int, sample: str | None) -> None:
    """Record in a region's group that this process collects with the clause `sample`.

    It is one record also for several clauses, since calls of regions that share a label alternate.
    """
    last = _last(group)
    this = replace(this_run(), first_call=first_call, sample=sample)
    if last is None or replace(last, first_call=first_call, sample=sample) != this:
        _append(group, [this])
    elif (joined := _joined(last.sample, sample)) != last.sample:
        group[RUNS][-1] = _text(replace(last, sample=joined))


def _last(group: Any) -> Run | None:
    """The last record in the dataset; records in the attribute are of other processes."""
    dataset = group.get(RUNS)
    if dataset is not None and (dataset.maxshape != (None,) or h5py().check_string_dtype(dataset.dtype) is None):
        raise ValueError(f"the dataset '{dataset.name}' is no list of texts that can grow")
    try:
        return None if dataset is None or not len(dataset) else _runs(dataset[-1:])[0]
    except (TypeError, AttributeError) as error:
        raise ValueError(f"its 'runs' are no JSON objects of runs: {error}") from error


def _joined(recorded: str | None, sample: str | None) -> str | None:
    if recorded == sample:
        return sample
    known = (recorded or "all").split("; ")
    return "; ".join(dict.fromkeys((*known, sample or "all")))


def read_runs(group: Any) -> tuple[Run, ...]:
    """Read the records from a region's group. Raises ValueError if they are malformed."""
    dataset = group.get(RUNS)
    try:
        old = tuple(map(_run, json.loads(group.attrs.get(RUNS, "[]"))))
        runs = (*old, *(() if dataset is None else _runs(dataset[()])))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"its 'runs' are no JSON objects of runs: {error}") from error
    firsts = [run.first_call for run in runs]
    if not all(type(first) is int and first >= 0 for first in firsts) or firsts != sorted(firsts):
        raise ValueError(f"its 'runs' tell first calls that are no rising numbers: {firsts}")
    return runs


def write_runs(group: Any, runs: Sequence[Run]) -> None:
    """Write the records into a region's group that has none, for `read_runs`."""
    _append(group, runs)


def _append(group: Any, runs: Sequence[Run]) -> None:
    if RUNS not in group:
        group.create_dataset(RUNS, (0,), maxshape=(None,), chunks=(_CHUNK,), dtype=h5py().string_dtype())
    dataset = group[RUNS]
    first = len(dataset)
    dataset.resize(first + len(runs), 0)
    dataset[first:] = [_text(run) for run in runs]


def _text(run: Run) -> str:
    return json.dumps(asdict(run))


def _runs(texts: Any) -> list[Run]:
    return [_run(json.loads(text)) for text in texts]


def _run(entry: Any) -> Run:
    known = {field.name for field in fields(Run)}
    return Run(**{name: value for name, value in entry.items() if name in known})


def run_of(runs: Sequence[Run], call: int) -> Run | None:
    """The run that collected the call of this number."""
    return next((run for run in reversed(runs) if run.first_call <= call), None)


def this_run() -> Run:
    """The record of this process, whose calls begin at 0."""
    return _adopted[-1] if _adopted else _this_run(os.getpid())


def adopt(run: Run) -> None:
    """Have this process collect in the name of another one."""
    _adopted.append(run)


_adopted: list[Run] = []


@functools.cache
def _this_run(process: int) -> Run:
    return Run(
        first_call=0,
        start=datetime.now(UTC).isoformat(timespec="milliseconds"),
        command=shlex.join(sys.orig_argv),
        host=socket.gethostname(),
        user=_user(),
        process=process,
        rank=None if (own := rank()) is None else own.name,
        hpacml=version(),
        torch=_torch(),
        python=platform.python_version(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # containers have users without a name
        return str(os.getuid())


def _torch() -> str | None:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
