"""`python -m examples.stencil_dsl`: compile a stencil program, collect, train, and simulate with the surrogate."""

import contextlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import hpacml

from .compiler import Simulation
from .reference import gray_scott, spots

HERE = Path(__file__).resolve().parent
SMALL = 48
UNSEEN = {"feed": 0.037, "kill": 0.061}


def collect(simulate: Simulation, runs: int) -> None:
    """Collect two steps at each of four moments of small runs, whose parameters are drawn."""
    rng = np.random.default_rng(0)
    Path("gray_scott.h5").unlink(missing_ok=True)
    for seed in range(runs):
        params = {"feed": rng.uniform(0.03, 0.05), "kill": rng.uniform(0.058, 0.064)}
        fields = spots(SMALL, seed)
        for pause in (0, 20, 40, 60):
            fields = simulate(*fields, steps=pause, **params)
            simulate(*fields, steps=2, mode="collect", **params)
    hpacml.flush()


def main(
    size: Annotated[int, typer.Option(min=3, help="Points along each side.")] = 96,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulation.")] = 200,
    runs: Annotated[int, typer.Option(min=1, help="Small runs to collect from.")] = 20,
    out: Annotated[Path, typer.Option(help="Folder for database and model.")] = Path("out/stencil_dsl"),
) -> None:
    """Simulate a reaction whose parameters the training has not seen, by the original code and by the surrogate."""
    torch.set_num_threads(1)
    console = Console(highlight=False)
    simulate = Simulation(HERE / "gray_scott.stencil")
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(out):
        with console.status("collecting"):
            collect(simulate, runs)
        hpacml.train("gray_scott.h5", "gray_scott", config=HERE / "train.yaml", out="gray_scott.pt2")
        start = spots(size, seed=100)
        milestones = sorted({step for step in (1, 10, 100, steps) if step <= steps})
        errors = {"surrogate": [], "nothing changes": []}
        for step in milestones:
            accurate = simulate(*start, steps=step, **UNSEEN)
            numpy = gray_scott(*start, step, **UNSEEN)
            if not all(map(np.array_equal, accurate, numpy)):
                raise SystemExit(f"step {step} differs from NumPy's")
            surrogate = simulate(*start, steps=step, mode="infer", **UNSEEN)
            for name, (_, v) in {"surrogate": surrogate, "nothing changes": start}.items():
                errors[name].append(np.sqrt(np.mean((v - accurate[1]) ** 2)))
    console.print(f"RMSE of v, {size} x {size} points")
    table = Table()
    for column in ["", *(f"step {step}" for step in milestones)]:
        table.add_column(column, justify="right" if column else "left")
    for name, found in errors.items():
        table.add_row(name, *(f"{error:.1e}" for error in found))
    console.print(table)
    kernels = simulate.compiled((size, size)).ptx("sm_90").count(".entry")
    console.print("accurate steps equal those of NumPy to the last bit")
    console.print(f"for a GPU (sm_90) the program is {kernels} kernels")


if __name__ == "__main__":
    typer.run(main)
