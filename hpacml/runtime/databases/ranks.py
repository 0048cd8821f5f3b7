"""Which process of a parallel run this is, and which file it therefore collects into."""

from __future__ import annotations

import functools
import glob
import os
import re
import sys
from typing import NamedTuple

from hpacml import environment

VARIABLES = (
    (environment.RANK, None),
    # Before the others, as it is a launcher inside of theirs, one per machine.
    (environment.WORLD_RANK, environment.WORLD_SIZE),
    (environment.OMPI_COMM_WORLD_RANK, environment.OMPI_COMM_WORLD_SIZE),
    (environment.MV2_COMM_WORLD_RANK, environment.MV2_COMM_WORLD_SIZE),
    # Before Slurm, which may have started Flux.
    (environment.FLUX_TASK_RANK, environment.FLUX_JOB_SIZE),
    (environment.PMI_RANK, environment.PMI_SIZE),
    (environment.PMIX_RANK, None),
    # The latter only within srun, and not in the script of a job.
    (environment.SLURM_PROCID, environment.SLURM_STEP_NUM_TASKS),
)
"""What tells the rank, and what the number of processes: if that is 1, the process is no part of a parallel run."""


class Rank(NamedTuple):
    """The rank of a process; `parallel` if there are others."""

    name: int | str
    parallel: bool


def rank() -> Rank | None:
    """The rank of this process, None if nothing tells that there is one. mpi4py, if it is in use, knows best."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        return Rank(mpi.COMM_WORLD.Get_rank(), mpi.COMM_WORLD.Get_size() > 1)
    for variable, sizes in VARIABLES:
        size = "2" if sizes is None else sizes.text()
        if (name := variable.text()) and size and not _tells_less(variable):
            number = int(name) if name.isdecimal() else None
            return Rank(name if number is None else number, size != "1" or bool(number))  # 3 is not alone
    return None


def _tells_less(variable: environment.Variable) -> bool:
    """Whether a launcher tells the rank again, and the number of processes too."""
    return variable is environment.PMIX_RANK and environment.PMIX_NAMESPACE.text().startswith("slurm.")


def shard(path: str) -> str:
    """The database that this process writes when the program names `path`: its own, if there are several processes.

    So rank 3 writes `d.rank0003.h5` in place of `d.h5`. It is decided when the process first collects.
    """
    return _shard(path, os.getpid())


@functools.lru_cache
def _shard(path: str, process: int) -> str:
    own = rank()
    if own is None or not own.parallel:
        return path
    name = f"{own.name:04d}" if isinstance(own.name, int) else re.sub(r"[^\w-]", "_", own.name)
    stem, suffix = os.path.splitext(path)
    return f"{stem}.rank{name}{suffix}"


def shards(path: str) -> str:
    """A pattern of the files that the ranks write for `path`."""
    stem, suffix = os.path.splitext(path)
    return f"{glob.escape(stem)}.rank*{glob.escape(suffix)}"
