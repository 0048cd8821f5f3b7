"""`python -m examples.binomial_options` does it all; the commands `collect`, `train` and `run` do one part each."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import hpacml

from ..workflow import NAMES
from . import app, closed_form, plot

Options = Annotated[int, typer.Option(min=8, help="How many options.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of the lattice.")]
Epochs = Annotated[int, typer.Option(min=1, help="How often the training goes through the data.")]
Out = Annotated[Path, typer.Option(help="Folder for database, model and picture.")]

OUT = Path("out/binomial_options")
CONFIG = Path(__file__).resolve().with_name("train.yaml")
DATABASE, MODEL, PICTURE = "options.h5", "surrogate.pt2", "prices.png"
TRIALS = 12

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
    hpacml.train(
        out / DATABASE,
        config=CONFIG,
        changes={"epochs": epochs},
        baselines=closed_form.by_inputs(steps),
        out=out / MODEL,
    )


@cli.command()
def run(options: Options = 10_000, steps: Steps = app.STEPS, out: Out = OUT) -> None:
    """Price options that the training has not seen: on the lattice, by the model, and by what needs none."""
    with hpacml.open_database(out / DATABASE) as database:
        recorded = len(database["binomial"].dataset(rows="points"))
    given = app.random_options(options, first=recorded)

    def prices(model=None):
        return app.price(*given, steps, model)

    model = str(out / MODEL)
    with console.status(f"pricing {options} others"):
        evaluation = hpacml.evaluate(
            prices,
            {"surrogate": model},
            baselines=closed_form.of_options(*given),
            trials=TRIALS,
            out=out / "evaluation",
        )
    console.print(table_of(evaluation, f"{options} unseen options, {steps} lattice steps, 1 thread"))
    for line in (evaluation.verdict(), *evaluation.notes):
        console.print(line, markup=False)
    plot.prices(prices(), prices(model), out / PICTURE)
    console.print(f"{out / PICTURE}: the surrogate's prices and errors")


def table_of(evaluation, title):
    """Times of the whole program, with the preparation, and of them what gathers and scatters."""
    table = Table(title=title)
    table.add_column()
    for column in ("time", "speed-up", "RMSE", "bridge"):
        table.add_column(column, justify="right")
    for row in evaluation.rows:
        if row.failed is not None:  # the notes say why
            table.add_row(row.title, "failed")
            continue
        table.add_row(
            row.title,
            f"{1000 * row.wall_spread.median:.2f} ms",
            f"{row.paired.median:,.0f}x" if row.paired else "",
            f"{row.errors['rmse']:.4f}" if row.errors else "",
            f"{row.shares['gather'] + row.shares['scatter']:.1%}" if row.kind == "model" else "",
        )
    return table


if __name__ == "__main__":
    cli()
