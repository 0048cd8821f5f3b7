"""Ranks of a real MPI: each collects into a shard and infers, and one that is killed costs the others nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hpacml

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

pytest.importorskip("mpi4py", reason="no mpi4py", exc_type=ImportError)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec, which the package mpich has")]

PROGRAM = """
import os, signal, sys, time
import numpy as np, hpacml
from mpi4py import MPI

@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(predicated: learned) in(f(x[0:n])) out(f(y[0:n])) database("d.h5") model(net) label("r")
''')
def double(x, y, n, learned, net):
    y[:] = 2 * x

@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(collect) in(f(x[0:4])) out(f(y[0:4])) database("ring.h5")
''')
def from_neighbour(x, y, waits):
    requests.append(world.Irecv(y, source=(rank - 1) % 4))
    if waits:
        world.Send(x, dest=(rank + 1) % 4)
        requests[-1].Wait()
    return requests

world, requests = MPI.COMM_WORLD, []
rank, victim = world.Get_rank(), int(sys.argv[1])
x, y, whole = np.zeros(4), np.zeros(4), np.zeros(4)
for step in range(3):
    x[:] = 10.0 * rank + step
    double(x, y, 4, False, None)
    world.Allreduce(y, whole)
    assert whole[0] == 2 * (60 + 4 * step), whole
hpacml.flush()
world.Barrier()
if victim >= 0:
    double(x, y, 4, False, None)  # which is not flushed
    if rank == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the launcher ends the others
try:
    from_neighbour(x, y, False)
except hpacml.DirectiveError as error:
    assert "whose work is still to be done" in str(error)
world.Barrier()
world.Send(x, dest=(rank + 1) % 4)
requests.pop().Wait()
from_neighbour(x, y, True)
import torch
net = torch.nn.Linear(1, 1).double()
with torch.no_grad():
    net.weight[:], net.bias[:] = 2.0, 1.0
double(x, y, 4, True, net)
world.Allreduce(y, whole)
assert whole[0] == 2 * (60 + 4 * 2) + 4, whole
assert len(requests) == 1
open(f"{rank}.done", "w").close()
"""


def launch(folder: Path, victim: int) -> subprocess.CompletedProcess[str]:
    """Run the program in four ranks, of which the victim kills itself."""
    (folder / "program.py").write_text(PROGRAM)
    command = [str(MPIEXEC), "-n", "4", sys.executable, "program.py", str(victim)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def merged(folder: Path, name: str) -> str:
    shards = sorted(str(path) for path in folder.glob(f"{name}.rank*.h5"))
    assert [Path(path).name for path in shards] == [f"{name}.rank000{rank}.h5" for rank in range(4)]
    target = str(folder / f"{name}.merged.h5")
    command = [Path(sys.executable).parent / "hpacml", "db", "merge", target, *shards]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


def test_ranks_collect_merge_and_infer(tmp_path: Path) -> None:
    """Also what a rank receives from another one, once the request is done; before, the body is refused."""
    ended = launch(tmp_path, victim=-1)
    assert ended.returncode == 0, ended.stderr
    assert len([*tmp_path.glob("*.done")]) == 4
    with hpacml.open_database(merged(tmp_path, "d")) as database:
        region = database["r"]
        assert region.inputs[0][:, 0, 0].tolist() == [10 * rank + step for rank in range(4) for step in range(3)]
        np.testing.assert_array_equal(region.outputs[0][:], 2 * region.inputs[0][:])
        assert [run.rank for run in region.runs] == [0, 1, 2, 3]
    with hpacml.open_database(merged(tmp_path, "ring")) as database:
        region = database["from_neighbour"]
        assert region.outputs[0][:, 0, 0].tolist() == np.roll(region.inputs[0][:, 0, 0], 1).tolist()


def test_a_rank_that_is_killed(tmp_path: Path) -> None:
    """The launcher ends the others, too. What was flushed can be read and merged, of all of them."""
    assert launch(tmp_path, victim=2).returncode != 0
    with hpacml.open_database(merged(tmp_path, "d")) as database:
        region = database["r"]
        inputs = region.inputs[0][:, 0, 0].tolist()
        np.testing.assert_array_equal(region.outputs[0][:], 2 * region.inputs[0][:])
    for rank in range(4):
        assert [value for value in inputs if value // 10 == rank][:3] == [10 * rank + step for step in range(3)]
