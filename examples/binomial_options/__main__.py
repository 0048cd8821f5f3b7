"""`python -m examples.binomial_options` does it all; the commands `collect`, `train` and `run` do one part each."""

import time
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import hpacml

from ..workflow import NAMES
from . import app, plot

Options = Annotated[int, typer.Option(min=8, help="How many options.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of the lattice.")]
Epochs = Annotated[int, typer.Option(min=1, help="How often the training goes through the data.")]
Out = Annotated[Path, typer.Option(help="Folder for database, model and picture.")]

OUT = Path("out/binomial_options")
CONFIG = Path(__file__).resolve().with_name("train.yaml")
DATABASE, MODEL, PICTURE = "options.h5", "surrogate.pt2", "prices.png"

cli = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
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
        fit(steps, epochs, out)
        run(options // 4, steps, out)
        others = ", ".join(name for name in NAMES if name != app.__package__.rpartition(".")[2])
        console.print(
            f"the paper's other applications, {others}: python -m examples NAME evaluate",
            highlight=False,
            soft_wrap=True,
        )


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
def fit(steps: Steps = app.STEPS, epochs: Epochs = 200, out: Out = OUT) -> None:
    """Train a network with the recorded options, and compare it with simpler ways to tell a price."""

    def without_volatility(features):
        S, X, _, pu, pd = features.T  # the sum of the discounted chances is the discount of a step
        return np.maximum(S - X * (pu + pd) ** steps, 0.0)

    hpacml.train(
        out / DATABASE,
        config=CONFIG,
        changes={"epochs": epochs},
        baselines={"max(S - X exp(-RT), 0)": without_volatility},
        out=out / MODEL,
    )


@cli.command()
def run(options: Options = 10_000, steps: Steps = app.STEPS, out: Out = OUT) -> None:
    """Price options that the training has not seen, on the lattice and by the model."""
    torch.set_num_threads(1)  # as many as the lattice has
    with hpacml.open_database(out / DATABASE) as database:
        recorded = len(database["binomial"].dataset(rows="points"))
    S, X, T, R, V = app.random_options(options, first=recorded)
    prepared = app.prepare(T, R, V, steps)

    def region(model=None):
        return app.price_prepared(S, X, *prepared, steps, model)

    model = str(out / MODEL)
    network = Stopwatch(torch.export.load(model).module())
    accurate, prices = region(), region(model)
    lattice, prepare = seconds(region, lambda: app.prepare(T, R, V, steps), repeats=3)
    surrogate, timed_region = seconds(lambda: region(model), lambda: region(network), repeats=31)
    bridge = 1.0 - median(network.seconds) / timed_region

    table = Table(title=f"{options} unseen options, {steps} lattice steps, 1 thread")
    table.add_column()
    for column in ("time", "speed-up", "RMSE"):
        table.add_column(column, justify="right")
    table.add_row("region: lattice", milliseconds(lattice))
    table.add_row("region: surrogate", milliseconds(surrogate), ratio(lattice / surrogate), rmse(prices, accurate))
    table.add_row("    of this data bridge", milliseconds(bridge * surrogate), f"{bridge:.1%}")
    table.add_row("with preparation: lattice", milliseconds(lattice + prepare))
    table.add_row(
        "with preparation: surrogate",
        milliseconds(surrogate + prepare),
        ratio((lattice + prepare) / (surrogate + prepare)),
    )
    console.print(table)
    plot.prices(accurate, prices, out / PICTURE)
    console.print(f"{out / PICTURE}: the surrogate's prices and errors")


class Stopwatch(torch.nn.Module):
    """A network that takes the time of its calls."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seconds = network, []

    def forward(self, x):
        start = time.perf_counter()
        y = self.network(x)
        self.seconds.append(time.perf_counter() - start)
        return y


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


def ratio(speedup):
    return f"{speedup:.0f}x" if speedup >= 10 else f"{speedup:.1f}x"


def rmse(prices, accurate):
    return f"{np.sqrt(np.mean((prices - accurate) ** 2)):.4f}"


if __name__ == "__main__":
    cli()
