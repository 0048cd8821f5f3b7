"""Which run of which program collected a call: records in the attribute `runs` of a region's group.

The attribute is the text of a JSON list with an object for each run, in the order of their first calls.
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
    """Record in a group's attributes that this process collects with the clause `sample`.

    It is one record also for several clauses, since calls of regions that share a label alternate.
    """
    runs = read_runs(group)
    this = replace(this_run(), first_call=first_call, sample=sample)
    if not runs or replace(runs[-1], first_call=first_call, sample=sample) != this:
        write_runs(group, (*runs, this))
    elif (joined := _joined(runs[-1].sample, sample)) != runs[-1].sample:
        write_runs(group, (*runs[:-1], replace(runs[-1], sample=joined)))


def _joined(recorded: str | None, sample: str | None) -> str | None:
    if recorded == sample:
        return sample
    known = (recorded or "all").split("; ")
    return "; ".join(dict.fromkeys((*known, sample or "all")))


def read_runs(group: Any) -> tuple[Run, ...]:
    """Read the records from a group's attributes. Raises ValueError if they are malformed."""
    known = {field.name for field in fields(Run)}
    try:
        entries = json.loads(group.attrs.get("runs", "[]"))
        runs = tuple(Run(**{name: value for name, value in entry.items() if name in known}) for entry in entries)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the attribute 'runs' is no JSON list of runs: {error}") from error
    firsts = [run.first_call for run in runs]
    if not all(type(first) is int and first >= 0 for first in firsts) or firsts != sorted(firsts):
        raise ValueError(f"the attribute 'runs' tells first calls that are no rising numbers: {firsts}")
    return runs


def write_runs(group: Any, runs: Sequence[Run]) -> None:
    """Write the records as an attribute, for `read_runs`."""
    # One text, since a list of them has to fit 64 KiB.
    group.attrs.create("runs", json.dumps([asdict(run) for run in runs]), dtype=h5py().string_dtype())


def run_of(runs: Sequence[Run], call: int) -> Run | None:
    """The run that collected the call of this number."""
    return next((run for run in reversed(runs) if run.first_call <= call), None)


def this_run() -> Run:
    """The record of this process, whose calls begin at 0."""
    return _this_run(os.getpid())


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
