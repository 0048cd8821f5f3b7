"""Parallel runs: each process writes a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.runtime.databases.ranks import VARIABLES, Rank, rank, shard

h5py = pytest.importorskip("h5py")

PROGRAM = """
import sys, numpy as np, hpacml

@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(collect) in(f(x[0:n])) out(f(y[0:n])) database("d.h5") label("r")
''')
def double(x, y, n):
    y[:] = 2 * x

for step in range(3):
    double(np.full(4, 10.0 * int(sys.argv[1]) + step), np.zeros(4), 4)
"""


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in VARIABLES:
        for variable in variables:
            if variable is not None:
                monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.delenv("PMIX_NAMESPACE", raising=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"HPACML_RANK": "3"}, Rank(3, True)),
        ({"HPACML_RANK": "worker/1", "PMI_RANK": "2"}, Rank("worker/1", True)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"}, Rank(0, True)),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}, Rank(0, False)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "SLURM_PROCID": "0"}, Rank(1, True)),
        ({"SLURM_PROCID": "0"}, Rank(0, False)),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}, Rank(5, True)),
        ({"RANK": "5", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "1"}, Rank(5, True)),
        ({"RANK": "5", "WORLD_SIZE": "8", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, Rank(5, True)),
        ({"RANK": "5", "WORLD_SIZE": "8", "PMI_RANK": "1", "PMI_SIZE": "2"}, Rank(5, True)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Rank(0, False)),
        ({"RANK": "sergeant"}, None),
        ({"FLUX_TASK_RANK": "2", "FLUX_JOB_SIZE": "4", "SLURM_PROCID": "0"}, Rank(2, True)),
        ({"FLUX_TASK_RANK": "0", "FLUX_JOB_SIZE": "1"}, Rank(0, False)),
        ({"FLUX_TASK_RANK": "3"}, Rank(3, True)),
        ({"SLURM_PROCID": "2"}, Rank(2, True)),
        ({"PMIX_RANK": "3"}, Rank(3, True)),
        ({"PMIX_RANK": "3", "PMIX_NAMESPACE": "prterun-node-7@1", "SLURM_PROCID": "0"}, Rank(3, True)),
        (
            {"PMIX_RANK": "0", "PMIX_NAMESPACE": "slurm.pmix.7.0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},
            Rank(0, False),
        ),
    ],
)
def test_what_tells_the_rank(environment: dict[str, str], expected: Any, monkeypatch: pytest.MonkeyPatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert rank() == expected


def test_mpi4py_knows_best(monkeypatch: pytest.MonkeyPatch):
    world = SimpleNamespace(Get_rank=lambda: 7, Get_size=lambda: 9)
    mpi = SimpleNamespace(Is_initialized=lambda: True, Is_finalized=lambda: False, COMM_WORLD=world)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", mpi)
    monkeypatch.setenv("PMI_RANK", "1")
    assert rank() == Rank(7, True)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [("12", "/a/d.h5", "/a/d.rank0012.h5"), ("x/y", "/a.b/data", "/a.b/data.rankx_y")],
)
def test_the_names_of_shards(name: str, path: str, expected: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_RANK", name)
    assert shard(path) == expected


@pytest.mark.slow
def test_shards_of_a_parallel_run(tmp_path: Path):
    """Three processes at once; then `hpacml db merge` makes one database of theirs."""
    environment = {**os.environ, "PMI_SIZE": "3"}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(n)], cwd=tmp_path, env={**environment, "PMI_RANK": str(n)})
        for n in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == [f"d.rank000{n}.h5" for n in range(3)]
    with pytest.raises(hpacml.DatabaseError, match=r"does not exist; there are shards of ranks, open '.*d.rank\*.h5'"):
        hpacml.open_database(tmp_path / "d.h5")
    shards = [f"d.rank000{n}.h5" for n in range(3)]
    for options in ([], ["--virtual"]):
        out = f"merged{len(options)}.h5"
        command = [Path(sys.executable).parent / "hpacml", "db", "merge", out, *shards, *options]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
        with hpacml.open_database(tmp_path / out) as database:
            region = database["r"]
            np.testing.assert_array_equal(region.inputs[0][:, 0, 0], [0, 1, 2, 10, 11, 12, 20, 21, 22])
            np.testing.assert_array_equal(region.outputs[0][:], 2 * region.inputs[0][:])
            assert [run.rank for run in region.runs] == [0, 1, 2]
