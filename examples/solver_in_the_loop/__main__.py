"""`python -m examples.solver_in_the_loop`: train one network on single steps, and one through the solver; compare."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from . import plot
from .burgers import truth
from .training import errors, train

UNROLL = 10


def main(
    iterations: Annotated[int, typer.Option(min=1, help="Iterations of each training.")] = 1000,
    rows: Annotated[int, typer.Option(min=1, help="Stretches of ten steps in an iteration.")] = 8,
    trajectories: Annotated[int, typer.Option(min=1, help="Fine solutions to learn from.")] = 64,
    steps: Annotated[int, typer.Option(min=UNROLL, help="Coarse steps of the test.")] = 100,
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("out/solver_in_the_loop"),
) -> None:
    """Correct a coarse solver of Burgers' equation by networks that differ in nothing but how they were trained."""
    torch.set_num_threads(1)
    console = Console()
    with console.status("solving on the fine grid"):
        known, unseen = truth(trajectories, 100, seed=0), truth(16, steps, seed=1)
    with console.status("training of single steps"):
        single = train(known, 1, UNROLL * rows, iterations)
    with console.status(f"training through {UNROLL} steps"):
        unrolled = train(known, UNROLL, rows, iterations)
    curves = {
        "coarse solver": errors(unseen),
        "corrected, trained on single steps": errors(unseen, single),
        f"corrected, trained through {UNROLL} steps": errors(unseen, unrolled),
    }
    out.mkdir(parents=True, exist_ok=True)
    plot.errors(curves, out / "errors.png")

    milestones = sorted({1, UNROLL, steps // 4, steps // 2, steps})
    console.print("root mean square error against the fine solution, 16 states that no training has seen")
    table = Table()
    table.add_column()
    for step in milestones:
        table.add_column(f"step {step}", justify="right")
    for name, error in curves.items():
        table.add_row(name, *(f"{error[step - 1]:.4f}" for step in milestones))
    console.print(table)
    console.print(f"picture: {out / 'errors.png'}")


if __name__ == "__main__":
    typer.run(main)
