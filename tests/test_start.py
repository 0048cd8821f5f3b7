"""The first calls of processes whose code is in the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
import numpy as np
from jaxtyping import Float64
import hpacml

@hpacml.kernel
def run(a: Float64[np.ndarray, "N"], b: Float64[np.ndarray, "N"]):
    for i in range(a.shape[0]):
        b[i] = 2.0 * a[i]

a, b = np.arange(5.0), np.zeros(5)
run(a, b)
assert (b == 2.0 * a).all()
"""


def run(program: str, folder: Path, **variables: str) -> object:
    """What a program prints last, as JSON; its file and its cache are in the folder."""
    (folder / "program.py").write_text(program)
    environment = {**os.environ, "HPACML_CACHE_DIR": str(folder / "cache"), **variables}
    command = [sys.executable, "-W", "error", str(folder / "program.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded(program: str, folder: Path) -> list[str]:
    """The modules that a program loads whose code is in the cache."""
    program += "import json, sys\nprint(json.dumps(sorted(sys.modules)))\n"
    run(program, folder)
    modules = run(program, folder)
    assert isinstance(modules, list)
    return modules


UNUSED = [
    "torch",
    "h5py",
    "mlir",
    "hpacml.runtime.gpu",
    "hpacml.runtime.mapcheck",
    "hpacml.runtime.databases.writer",
    "hpacml.runtime.models.inference",
]
"""What a call of a kernel without a region does not need."""


def test_a_cached_call_loads_only_what_it_needs(tmp_path: Path) -> None:
    modules = loaded(KERNEL, tmp_path)
    assert not [name for name in modules for unused in UNUSED if f"{name}.".startswith(f"{unused}.")]
