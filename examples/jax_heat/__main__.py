"""`python -m examples.jax_heat`: collect inside of `jax.jit`, train, replace the fire, and differentiate through it."""

import contextlib
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import jax
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import hpacml

from . import plot
from .gradients import along, difference, gradient, remainders
from .network import in_jax
from .plate import random_plate, simulate

CONFIG = Path(__file__).resolve().with_name("train.yaml")
SIZES = np.logspace(-4, -1, 7).tolist()


def milliseconds(run):
    """The median time of five calls behind a first one."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[1:])


def collect(size, steps, plates):
    """Record the fires of `steps` steps on each of some plates, in plate.h5."""
    Path("plate.h5").unlink(missing_ok=True)
    for seed in range(plates):
        simulate(*random_plate(size, seed), steps, record=True)
    hpacml.flush()


def main(
    size: Annotated[int, typer.Option(min=3, help="Points along each side of the plate.")] = 64,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the simulation.")] = 100,
    plates: Annotated[int, typer.Option(min=1, help="Plates to learn from, of as many steps.")] = 4,
    out: Annotated[Path, typer.Option(help="Folder for database, models and pictures.")] = Path("out/jax_heat"),
) -> None:
    """Burn a plate that the training has not seen: by the original code, and by the surrogate in two forms."""
    torch.set_num_threads(1)
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(out), jax.enable_x64(True):
        with console.status("collecting"):
            collect(size, steps, plates)
        hpacml.train("plate.h5", "burn", config=CONFIG, out="burn.safetensors")
        hpacml.save_model(in_jax("burn.safetensors"), "burn.jax", example=np.zeros((3, size, 2)))
        plate = random_plate(size, seed=100)
        nets = {"original code": None, "compiled network": "burn.safetensors", "network in JAX": "burn.jax"}
        with console.status("burning"):
            fuels = {name: simulate(*plate, steps, net)[1] for name, net in nets.items()}
            slopes = {name: gradient(*plate, steps, net) for name, net in nets.items()}
            table = compare(plate, steps, nets, fuels, slopes)
            two = {name: nets[name] for name in ("original code", "compiled network")}
            left = {name: remainders(*plate, steps, net, SIZES) for name, net in two.items()}
        plot.fields(*(fuels[name][-1] for name in two), "fields.png")
        plot.gradients(*(slopes[name] for name in two), SIZES, left, "gradients.png")
    console.print(f"{steps} steps of a plate of {size} x {size} points, float64", highlight=False)
    console.print(table)
    console.print(f"pictures: {out / 'fields.png'}, {out / 'gradients.png'}")


def compare(plate, steps, nets, fuels, slopes):
    """A table of the results, their times, and the gradients of what is left of the fuel by the heat before."""
    table = Table()
    for title in ("", *nets):
        table.add_column(title, justify="right" if title else "left")
    wanted, slope = fuels["original code"][-1], slopes["original code"]
    derivatives = [along(*plate, steps, net) for net in nets.values()]
    times = [milliseconds(partial(simulate, *plate, steps, net)) for net in nets.values()]
    of_slopes = [milliseconds(partial(gradient, *plate, steps, net)) for net in nets.values()]
    rows = {
        "fuel that is left": [f"{fuel[-1].sum() / fuel[0].sum():.4f}" for fuel in fuels.values()],
        "RMSE of the fuel": [f"{((fuel[-1] - wanted) ** 2).mean() ** 0.5:.1e}" for fuel in fuels.values()],
        "milliseconds": [f"{time:.0f}" for time in times],
        "of the gradient": [f"{time:.0f}" for time in of_slopes],
        "derivative by it": [f"{by_gradient:.9f}" for by_gradient, _ in derivatives],
        "by differences": [f"{by_difference:.9f}" for _, by_difference in derivatives],
        "gradient off by": [f"{difference(found, slope):.1%}" for found in slopes.values()],
    }
    for title, cells in rows.items():
        table.add_row(title, *cells)
    return table


if __name__ == "__main__":
    typer.run(main)
