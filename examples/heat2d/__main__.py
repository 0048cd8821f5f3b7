"""`python -m examples.heat2d`: collect from some plates, train, and simulate another with the surrogate."""

import contextlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import hpacml

from . import plot
from .heat import random_plate, simulate

EXACT = 4
CONFIG = Path(__file__).resolve().with_name("train.yaml")


def make_model(size: int, console: Console) -> None:
    """Collect from some plates, and train `heat.pt2` with that."""
    with console.status("collecting"):
        Path("heat.h5").unlink(missing_ok=True)
        for seed in range(3):
            simulate(random_plate(size, seed), steps=20)
        hpacml.flush()
    hpacml.train("heat.h5", "heat", config=CONFIG, out="heat.pt2")


def main(
    size: Annotated[int, typer.Option(min=3, help="Points along each side of the plate.")] = 130,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulation.")] = 400,
    out: Annotated[Path, typer.Option(help="Folder for database, model and pictures.")] = Path("out/heat2d"),
) -> None:
    """Simulate a plate that the training has not seen: accurately, by the surrogate, and by both in turn."""
    torch.set_num_threads(1)
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(out):
        make_model(size, console)
        plate = random_plate(size, seed=100)
        runs = {
            "accurate": simulate(plate, steps, exact_every=1),
            "surrogate": simulate(plate, steps, use_model=True),
            f"every {EXACT}th step exact": simulate(plate, steps, use_model=True, exact_every=EXACT),
            "nothing ever changes": np.repeat(plate[None], steps + 1, axis=0),
        }
        accurate = runs.pop("accurate")
        errors = {name: np.sqrt(np.mean((run - accurate) ** 2, axis=(1, 2))) for name, run in runs.items()}
        plot.fields(accurate[-1], runs["surrogate"][-1])
        plot.errors(errors)

    milestones = [step for step in (1, 10, 100, steps) if step <= steps]
    console.print(f"RMSE of the temperature, plate of {size} x {size} points", highlight=False)
    table = Table()
    table.add_column()
    for step in milestones:
        table.add_column(f"step {step}", justify="right")
    for name, error in errors.items():
        table.add_row(name, *(f"{error[step]:.1e}" for step in milestones))
    console.print(table)
    console.print(f"pictures: {out / 'fields.png'}, {out / 'errors.png'}")


if __name__ == "__main__":
    typer.run(main)
