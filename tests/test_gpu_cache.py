"""Code for GPUs that one machine has compiled, on another that has llvmlite, Torch and a driver, but no MLIR."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

PROGRAM = """
import sys
import numpy as np
import pytest
import torch
from jaxtyping import Float32
import hpacml
from hpacml import approx, prange
from tests.simulated_gpu import OnDevice, simulated

{restriction}

@hpacml.kernel
def double(a: Float32[np.ndarray, "N"], b: Float32[np.ndarray, "N"], net: torch.nn.Module):
    N = a.shape[0]
    approx("tensor functor(pair: [i, 0:2] = ([i], [i]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(pair(a[0:N])) out(one(b[0:N])) model(net)"):
        for i in prange(N):
            b[i] = 2.0 * a[i]

class Sum(torch.nn.Module):
    def forward(self, x):
        return x.sum(-1, keepdim=True)

with pytest.MonkeyPatch.context() as patch, simulated(patch) as (device,):
    a, b = np.arange(600, dtype=np.float32), np.zeros(1200, np.float32)[::2]
    double(OnDevice(a, device), OnDevice(b, device), Sum())
    gathered = hpacml.functor("f: [i, 0:2] = ([i], [i + 1])").gather("a[0:n]", a=OnDevice(a, device), n=599)
    assert (b == 2 * a).all() and (gathered.sum(1).numpy() == 2 * a[:-1] + 1).all()
    print(len(device.launched), sorted(name for name in sys.modules if name.startswith("mlir.")))
"""

NO_MLIR = "sys.modules['mlir'] = None"
ANOTHER = (
    f"{NO_MLIR}\nfrom hpacml.backend import llvm\n"
    "host = llvm.host()._replace(cpu='generic', features='')\nllvm.host = lambda: host"
)
NO_LLVM = f"{NO_MLIR}\nfrom hpacml.backend import llvm\nllvm.emit = llvm.assemble = None"


def run(restriction: str, cache: Path) -> subprocess.CompletedProcess[str]:
    return run_text(PROGRAM.replace("{restriction}", restriction), cache)


def run_text(program: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HPACML_CACHE_DIR": str(cache), "PYTHONPATH": str(REPOSITORY)}
    path = cache / "program.py"
    path.write_text(program)
    return subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_compiled_elsewhere(tmp_path: Path) -> None:
    without = run(NO_MLIR, tmp_path)
    assert "CompileError: compiling needs MLIR" in without.stderr
    first = run("", tmp_path)
    assert first.stderr == ""
    assert first.stdout.startswith("3 ['mlir.")
    for restriction in (NO_MLIR, NO_LLVM, ANOTHER):
        again = run(restriction, tmp_path)
        assert (again.stdout, again.stderr) == ("3 []\n", "")


AHEAD = """
{restriction}
import numpy as np
import pytest
import hpacml
from tests.simulated_gpu import OnDevice, simulated

f = hpacml.functor("f: [i, 0:2] = ([i], [i + 1])")
a = np.arange(600, dtype=np.float32)
{work}
"""
MAKE = "f.ptx('a[0:n]', 'to', 'sm_80', a=a, n=599)"
USE = """
with pytest.MonkeyPatch.context() as patch, simulated(patch) as (device,):
    x = f.gather("a[0:n]", a=OnDevice(a, device), n=599)
    assert (x.sum(1).numpy() == 2 * a[:-1] + 1).all()
"""


@pytest.mark.slow
def test_made_ahead_where_there_is_no_gpu(tmp_path: Path) -> None:
    for restriction, work in (("", MAKE), (f"import sys\n{NO_MLIR}", USE)):
        done = run_text(AHEAD.replace("{restriction}", restriction).replace("{work}", work), tmp_path)
        assert done.stderr == ""
