"""Builds a program for the plate, collects with it, trains, and compares what it computes by kernel and by model."""

import contextlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from examples.heat2d.heat import random_plate

KERNEL = Path(__file__).resolve().parents[1] / "heat2d" / "heat.py"
PLATES, COLLECTED = 3, 20
"""From how many plates, and how many steps of each, data are collected."""

_console = Console()


def run(*command: str | Path) -> str:
    """Show a command, run it in the current folder, and return what it prints. `hpacml` is that of this Python."""
    words = [*map(str, command)]
    _console.print(f"$ {shlex.join(words)}", highlight=False, soft_wrap=True, markup=False)
    if words[0] == "hpacml":
        words[0] = str(Path(sys.executable).with_name("hpacml"))
    result = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{command[0]} has failed with status {result.returncode}")
    return result.stdout


def require(compiler: str) -> None:
    """Stop the example where a compiler is missing."""
    if shutil.which(compiler) is None:
        raise SystemExit(f"this example takes a compiler, and there is no {compiler}")


def numpy_steps(plate: np.ndarray, steps: int) -> np.ndarray:
    """The field after some steps from `plate`, float32[N, N], by NumPy."""
    t = plate.copy()
    for _ in range(steps):
        new = t.copy()
        around = t[:-2, 1:-1] + t[2:, 1:-1] + t[1:-1, :-2] + t[1:-1, 2:]
        new[1:-1, 1:-1] = t[1:-1, 1:-1] + np.float32(0.1) * (around - np.float32(4.0) * t[1:-1, 1:-1])
        t = new
    return t


def compare(build: Callable[[list[str]], None], order: str, size: int, steps: int, out: Path) -> None:
    """Do everything in the folder `out`. `build` makes the program `heat` with these flags of compiler and linker.

    `order` is NumPy's letter for the order of arrays in the program's files.
    """

    def simulate(mode: str, plate: np.ndarray, steps: int) -> np.ndarray:
        Path("start.f32").write_bytes(plate.tobytes(order))
        run("./heat", mode, str(size), str(steps), "start.f32", "end.f32")
        return np.fromfile("end.f32", np.float32).reshape(plate.shape, order=order)

    out.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(out):
        build(shlex.split(run("hpacml", "config", "--cflags", "--libs")))
        Path("heat.h5").unlink(missing_ok=True)
        for seed in range(PLATES):
            simulate("collect", random_plate(size, seed), COLLECTED)
        run("hpacml", "train", "heat.h5", "--config", KERNEL.with_name("train.yaml"), "--out", "heat.pt2")
        plate = random_plate(size, seed=100)
        accurate, surrogate = (simulate(mode, plate, steps) for mode in ("accurate", "surrogate"))
    table = Table("after", "RMSE of the surrogate", "RMSE if nothing changed", "accurate is NumPy's to the last bit")
    errors = [f"{np.sqrt(np.mean((other - accurate) ** 2)):.1e}" for other in (surrogate, plate)]
    same = np.array_equal(accurate, numpy_steps(plate, steps))
    table.add_row(f"{steps} steps", *errors, "yes" if same else "NO")
    _console.print(table)
    if not same:
        raise SystemExit("the program computes something else than NumPy")
