"""`python -m examples.binomial_options` does it all; the commands `collect`, `train` and `run` do one part each."""

import time
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import hpacml

from . import app, plot, train

Options = Annotated[int, typer.Option(min=8, help="How many options.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of the lattice.")]
Epochs = Annotated[int, typer.Option(min=1, help="How often the training goes through the data.")]
Out = Annotated[Path, typer.Option(help="Folder for database, model and picture.")]

OUT = Path("out/binomial_options")
DATABASE, MODEL, PICTURE = "options.h5", "surrogate.pt2", "prices.png"

cli = typer.Typer(add_completion=False)
console = Console()


@cli.callback(invoke_without_command=True)
def everything(
    context: typer.Context, options: Options = 40_000, steps: Steps = app.STEPS, epochs: Epochs = 300, out: Out = OUT
):
    """Price options on a lattice, train a surrogate with them, and price a quarter as many others with it."""
    if context.invoked_subcommand is None:
        collect(options, steps, out)
        fit(epochs, out)
        run(options // 4, steps, out)


@cli.command()
def collect(options: Options = 40_000, steps: Steps = app.STEPS, out: Out = OUT):
    """Price options on the lattice and record what enters and leaves the region."""
    out.mkdir(parents=True, exist_ok=True)
    database = out / DATABASE
    database.unlink(missing_ok=True)
    with console.status(f"pricing {options} options"):
        app.price(*app.random_options(options), steps, database=str(database))
        hpacml.flush()
    console.print(f"{database}: {options} options")


@cli.command("train")
def fit(epochs: Epochs = 300, out: Out = OUT):
    """Fit a network to the recorded options."""
    torch.set_num_threads(1)  # batches are too small for more
    errors = train.train(out / DATABASE, out / MODEL, epochs)
    for error in track(errors, "training", epochs, console=console, transient=True):
        last = error
    console.print(f"{out / MODEL}: RMSE {last:.4f} on its own data after {epochs} epochs")


@cli.command()
def run(options: Options = 10_000, steps: Steps = app.STEPS, out: Out = OUT):
    """Price options that the training has not seen, on the lattice and by the model."""
    torch.set_num_threads(1)  # as many as the lattice uses
    x, y = (tensor.double().numpy() for tensor in train.load(out / DATABASE))
    S, X, T, R, V = app.random_options(options, first=len(x))
    model = str(out / MODEL)
    network = torch.export.load(out / MODEL).module()

    prepared, prepare_time = timed(lambda: app.prepare(T, R, V, steps))
    accurate, accurate_time = timed(lambda: app.price_prepared(S, X, *prepared, steps), repeats=3)
    surrogate, surrogate_time = timed(lambda: app.price_prepared(S, X, *prepared, steps, model))
    inputs = np.stack([S, X, *prepared], axis=1)
    with torch.inference_mode():
        _, model_time = timed(lambda rows=torch.from_numpy(inputs).float(): network(rows))

    def rmse(prices):
        return f"{np.sqrt(np.mean((prices - accurate) ** 2)):.4f}"

    table = Table(title=f"{options} unseen options, lattice of N = {steps} steps, 1 thread")
    for column in ("", "time", "speed-up", "RMSE"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("lattice", ms(accurate_time), "1.0", "0")
    table.add_row("surrogate", ms(surrogate_time), f"{accurate_time / surrogate_time:.1f}", rmse(surrogate))
    ...
    console.print(table)
    plot.prices(accurate, surrogate, out / PICTURE)
