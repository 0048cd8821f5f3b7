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
    context: typer.Context,
    options: Options = 40_000,
    steps: Steps = app.STEPS,
    epochs: Epochs = 200,
    out: Out = OUT,
) -> None:
    """Price options on a lattice, train a surrogate with them, and price a quarter as many others with it."""
    if context.invoked_subcommand is None:
        collect(options, steps, out)
        fit(epochs, out)
        run(options // 4, steps, out)


@cli.command()
def collect(options: Options = 40_000, steps: Steps = app.STEPS, out: Out = OUT) -> None:
    """Price options on the lattice, and record what enters and leaves the region."""
    out.mkdir(parents=True, exist_ok=True)
    database = out / DATABASE
    database.unlink(missing_ok=True)
    with console.status(f"pricing {options} options"):
        app.price(*app.random_options(options), steps, database=str(database))
        hpacml.flush()
    console.print(f"{database}: {options} options")


@cli.command("train")
def fit(epochs: Epochs = 200, out: Out = OUT) -> None:
    """Fit a network to the recorded options."""
    torch.set_num_threads(1)  # such small batches gain nothing from more
    errors = train.train(out / DATABASE, out / MODEL, epochs)
    *_, last = track(errors, "training", epochs, console=console, transient=True)
    console.print(f"{out / MODEL}: RMSE {last:.4f} on its own data after {epochs} epochs")


@cli.command()
def run(options: Options = 10_000, steps: Steps = app.STEPS, out: Out = OUT) -> None:
    """Price options that the training has not seen, on the lattice and by the model."""
    torch.set_num_threads(1)  # as many as the lattice has
    x, y = train.load(out / DATABASE)
    S, X, T, R, V = app.random_options(options, first=len(x))
    prepared = app.prepare(T, R, V, steps)
    features = torch.from_numpy(np.stack([S, X, *prepared], axis=1)).float()
    model = str(out / MODEL)
    network = train.Surrogate(x, y).eval()
    network.load_state_dict(torch.export.load(model).state_dict)

    def lattice():
        return app.price_prepared(S, X, *prepared, steps)

    def surrogate():
        return app.price_prepared(S, X, *prepared, steps, model)

    accurate, prices = lattice(), surrogate()
    with torch.inference_mode():
        lattice_time, prepare_time = seconds(lattice, lambda: app.prepare(T, R, V, steps), repeats=3)
        surrogate_time, network_time = seconds(surrogate, lambda: network(features), repeats=31)

    console.print(f"\n{options} options not seen in training, lattice of {steps} steps, 1 thread", highlight=False)
    table = Table()
    table.add_column()
    for column in ("time", "speed-up", "RMSE"):
        table.add_column(column, justify="right")

    def times(name, accurate, approximate, *rest):
        table.add_row(name, milliseconds(approximate), f"{accurate / approximate:.1f}", *rest)

    times("region: lattice", lattice_time, lattice_time)
    times("region: surrogate", lattice_time, surrogate_time, rmse(prices, accurate))
    bridge_time = surrogate_time - network_time
    table.add_row("  its network alone", milliseconds(network_time))
    table.add_row("  its data bridge", milliseconds(bridge_time), f"{bridge_time / surrogate_time:.1%}")
    times("with preparation: lattice", lattice_time + prepare_time, lattice_time + prepare_time)
    times("with preparation: surrogate", lattice_time + prepare_time, surrogate_time + prepare_time)
    table.add_section()
    line = torch.linalg.lstsq(with_one(x), y).solution
    table.add_row("guess: linear regression", "", "", rmse((with_one(features) @ line)[:, 0].numpy(), accurate))
    table.add_row("guess: max(S - X exp(-RT), 0)", "", "", rmse(np.maximum(S - X * np.exp(-R * T), 0.0), accurate))
    table.add_row("guess: mean price", "", "", rmse(y.mean().item(), accurate))
    console.print(table)
    plot.prices(accurate, prices, out / PICTURE)
    console.print(f"{out / PICTURE}: the surrogate's prices and errors")


def seconds(*calls, repeats):
    """The median times of calls, which take turns."""
    times = [[] for _ in calls]
    for _ in range(repeats):
        for call, measured in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            measured.append(time.perf_counter() - start)
    return map(median, times)


def milliseconds(seconds):
    return f"{1000 * seconds:.2f} ms"


def rmse(prices, accurate):
    return f"{np.sqrt(np.mean((prices - accurate) ** 2)):.4f}"


def with_one(x):
    """The features and the constant 1."""
    return torch.nn.functional.pad(x, (0, 1), value=1.0)


if __name__ == "__main__":
    cli()
