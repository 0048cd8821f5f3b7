"""`python -m examples.heat2d.hot`: a plate with a spot hotter than all of the training.

The model makes the points with temperatures and differences as those that it was trained with, and the loops make the
others, which are collected. Trained with these, too, it makes more of the points of another such plate.
"""

import contextlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import hpacml
from hpacml import approx

from .__main__ import CONFIG, make_model
from .heat import Field, random_plate, simulate

PEAK = 4.0
"""The temperature of the hot spot; others are between -1 and 1."""


@hpacml.kernel
def guarded(t: Field, tnew: Field, model: str):
    N, M = t.shape
    approx("tensor functor(ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(ofnctr: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: ifnctr(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: ofnctr(tnew[1:N-1, 1:M-1]))")
    with approx("""ml(infer) in(t) out(tnew) model(model) label("heat") database("hot.h5") sample(every: 5)
                   guard(range, distance: 5, collect)"""):
        for i in hpacml.prange(1, N - 1):
            for j in range(1, M - 1):
                tnew[i, j] = t[i, j] + 0.1 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1] - 4.0 * t[i, j])


def hot_plate(size, seed=100):
    """A plate as those of the training with a hot spot besides, float32[size, size]."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return random_plate(size, seed) + np.float32(PEAK) * np.exp(-25.0 * (x**2 + y**2)).astype(np.float32)


def run_guarded(plate, steps, model):
    """The fields after 0 to `steps` steps with a guarded model, and what part of their points loops made, and why."""
    fields = np.repeat(plate[None], steps + 1, axis=0)
    hpacml.report(reset=True)
    for step in range(steps):
        guarded(fields[step], fields[step + 1], model)
    guards = hpacml.report()["heat"].guards
    why = ", ".join(f"{reason} {count / guards.points:.1%}" for reason, count in sorted(guards.reasons.items()))
    return fields, f"{guards.rejected / guards.points:.1%} ({why})"


def main(
    size: Annotated[int, typer.Option(min=3, help="Points along each side of the plate.")] = 130,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulation.")] = 100,
    out: Annotated[Path, typer.Option(help="Folder with the model.")] = Path("out/heat2d"),
) -> None:
    """Simulate the plate by the loops, by the surrogate, and by the surrogate where it knows the temperatures."""
    torch.set_num_threads(1)
    console = Console()
    plate = hot_plate(size)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(out):
        if not Path("heat.pt2").exists():
            make_model(size, console)
        truth = simulate(plate, steps, exact_every=1)
        alone = simulate(plate, steps, use_model=True)
        Path("hot.h5").unlink(missing_ok=True)
        fields, share = run_guarded(plate, steps, "heat.pt2")
        console.print(hpacml.report())
        hpacml.flush()
        hpacml.train(["heat.h5", "hot.h5"], "heat", rejected=True, more="heat.pt2", config=CONFIG, out="hot.pt2")
        other = hot_plate(size, seed=101)
        shares = [run_guarded(other, steps, model)[1] for model in ("heat.pt2", "hot.pt2")]
    milestones = [step for step in (1, 10, steps) if step <= steps]
    table = Table("RMSE of the temperature", *(f"step {step}" for step in milestones))
    for name, made in {"surrogate": alone, "guarded surrogate": fields}.items():
        table.add_row(name, *(f"{np.sqrt(np.mean((made[step] - truth[step]) ** 2)):.1e}" for step in milestones))
    console.print(table)
    told = {"this plate": share, "another": shares[0], "another, trained again": shares[1]}
    for name, each in told.items():
        console.print(f"points by the loops, {name}: {each}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
