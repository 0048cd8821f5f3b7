"""`python -m examples.ignition`: collect from some fronts, train, and simulate another with and without a guard."""

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
from .front import PRESSURE, STEP, collect, guarded, simulate, start, unguarded
from .gas import Gas

CONFIG = Path(__file__).resolve().with_name("train.yaml")
PROFILES = ((1000, 1250, 0.4), (980, 1350, 0.6), (1030, 1300, 0.5), (960, 1200, 0.7))
"""Of the training: the temperatures of the cold and of the hot end, in K, and the width of the hot one."""
UNSEEN = (950, 1280, 0.6)
COMPARED = 100
"""Steps after which speeds are compared, while the front is on its way."""


def main(
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulations that are compared.")] = 1000,
    learned: Annotated[int, typer.Option(min=1, help="Steps of each front that is collected from.")] = 120,
    fronts: Annotated[int, typer.Option(min=1, max=len(PROFILES), help="Fronts to collect from.")] = len(PROFILES),
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the training.")] = 40,
    out: Annotated[Path, typer.Option(help="Folder for database, model and pictures.")] = Path("out/ignition"),
) -> None:
    """Simulate a front that the training has not seen: by Cantera, by a guarded network, by it alone."""
    torch.set_num_threads(1)
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    gas = Gas()
    with contextlib.chdir(out):
        with console.status("collecting"):
            Path("ignition.h5").unlink(missing_ok=True)
            collect(gas, PROFILES[:fronts], learned)
        hpacml.train("ignition.h5", config=CONFIG, changes={"epochs": epochs}, out="ignition.pt2")

        with hpacml.open_database("ignition.h5") as database:
            known = database["reaction"].inputs[0][0]

        def by(region: Callable[..., None]) -> Callable[[np.ndarray, np.ndarray], None]:
            def react(t: np.ndarray, y: np.ndarray) -> None:
                region(gas, gas.conserve, t, y, PRESSURE[: len(t)], len(t), True, "ignition.pt2")

            react(known[:, 0].copy(), known[:, 1:-1].copy())  # so that no time is that of a compilation
            return react

        ways = {
            "Cantera": lambda t, y: gas.burn(t, y, PRESSURE, STEP),
            "guarded": by(guarded),
            "unguarded": by(unguarded),
        }
        hpacml.report(reset=True)
        with console.status("simulating"):
            runs = {name: simulate(gas, *start(gas, *UNSEEN), steps, react) for name, react in ways.items()}
        truth, _, seconds = runs["Cantera"]
        errors = {name: np.sqrt(((run[0] - truth) ** 2).mean(1)) for name, run in runs.items() if name != "Cantera"}
        shown = min(steps, 2 * COMPARED)
        plot.temperatures({name: run[0][: shown + 1] for name, run in runs.items()}, Path("temperature.png"))
        plot.errors(errors, Path("errors.png"))

    compared = min(steps, COMPARED)
    milestones = [step for step in (1, 10, 100, 1000) if step <= steps]
    console.print("RMSE of the temperature after so many steps, in K, and time of the processor", highlight=False)
    table = Table(Column(no_wrap=True), *(f"{step}" for step in milestones), f"{compared} steps", "speed-up")
    for name, run in runs.items():
        error = [f"{errors[name][step]:.2f}" for step in milestones] if name in errors else [""] * len(milestones)
        took = run[2][compared]
        table.add_row(name, *error, f"{took:.2f} s", f"{seconds[compared] / took:.1f}x")
    console.print(table)
    console.print(hpacml.report())
    console.print(f"pictures: {out / 'temperature.png'}, {out / 'errors.png'}")


if __name__ == "__main__":
    typer.run(main)
