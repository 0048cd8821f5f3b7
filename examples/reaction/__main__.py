"""`python -m examples.reaction`: collect, train, and go on four times as long, with and without a guard."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Column, Table

import hpacml

from . import plot
from .plate import simulate
from .robertson import advance, conserve, guarded, unguarded

CONFIG = Path(__file__).resolve().with_name("train.yaml")
STARTS = ((0.2, 0.0, 0.0), (0.1, 0.0, 0.25), (0.4, 0.0, 0.1), (0.05, 0.0, 0.1))
"""What there is at the beginning of each plate that is collected from; spots are other ones in each."""
UNSEEN = 100
"""The seed of the spots of the plate that is simulated."""
LONGER = 4


def record(a, b, c):
    """The reaction, whose inputs and outputs are collected."""
    unguarded(a, b, c, len(a), conserve, False, None)


def main(
    size: Annotated[int, typer.Option(min=8, help="Points along each side of the plate that is simulated.")] = 128,
    learned: Annotated[int, typer.Option(min=1, help="Steps of each plate that is collected from.")] = 50,
    collected: Annotated[int, typer.Option(min=8, help="Points along each side of these.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the training.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder for database, model and pictures.")] = Path("out/reaction"),
) -> None:
    """Simulate a plate that the training has not seen, four times as long as it knows any."""
    torch.set_num_threads(1)
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    steps = LONGER * learned
    with contextlib.chdir(out):
        with console.status("collecting"):
            Path("reaction.h5").unlink(missing_ok=True)
            for seed, amounts in enumerate(STARTS):
                simulate(collected, learned, seed, record, amounts)
            hpacml.flush()
        hpacml.train("reaction.h5", config=CONFIG, changes={"epochs": epochs}, out="reaction.pt2")

        with hpacml.open_database("reaction.h5") as database:
            known = database["reaction"].inputs[0][-1]

        def by(region: Callable[..., None]) -> Callable[..., None]:
            def react(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
                region(a, b, c, len(a), conserve, True, "reaction.pt2")

            react(*known.T.copy())  # so that no time is that of a compilation
            return react

        ways = {"implicit": advance, "guarded": by(guarded), "unguarded": by(unguarded)}
        hpacml.report(reset=True)
        with console.status("simulating"):
            runs = {name: simulate(size, steps, UNSEEN, react) for name, react in ways.items()}
        truth, seconds = runs.pop("implicit")
        errors = {name: np.sqrt(((found - truth) ** 2).mean((1, 2, 3))) for name, (found, _) in runs.items()}
        plot.fields(truth[-1, 0], {name: found[-1, 0] for name, (found, _) in runs.items()}, "fields.png")
        plot.errors(errors, learned, "errors.png")

    milestones = sorted({1, learned, 2 * learned, steps})
    console.print(f"RMSE of a, b and c after so many steps, of which the training knows {learned}", highlight=False)
    table = Table(Column(no_wrap=True), *(f"{step}" for step in milestones), "reaction", "speed-up")
    table.add_row("implicit", *([""] * len(milestones)), f"{seconds:.2f} s", "")
    for name, (_, took) in runs.items():
        error = (f"{errors[name][step]:.1e}" for step in milestones)
        table.add_row(name, *error, f"{took:.2f} s", f"{seconds / took:.1f}x")
    console.print(table)
    console.print(hpacml.report())
    console.print(f"pictures: {out / 'fields.png'}, {out / 'errors.png'}")


if __name__ == "__main__":
    typer.run(main)
