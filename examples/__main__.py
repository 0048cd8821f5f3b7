"""The driver of the paper's applications: `python -m examples NAME collect|train|run|evaluate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

import hpacml

from .experiment import Setup
from .workflow import DECK, NAMES, Workflow, experiment, front

RESULTS = Path("benchmarks/results/evaluation")
OUT = Path("out")

cli = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

ALL = "evaluate --all"


Name = Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(NAMES)}; none before evaluate --all.")]
Step = Annotated[str, typer.Argument(metavar="collect|train|run|evaluate")]
Size = Annotated[Literal["small", "paper"], typer.Option(help="How much data to collect and to run.")]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where arrays are.")]
Deck = Annotated[Path | None, typer.Option(help="Folder with a deck of miniBUDE; without, molecules are random.")]
Out = Annotated[Path | None, typer.Option(help="Folder for data, models and measurements; without, out/NAME/SIZE.")]
Networks = Annotated[
    Path | None, typer.Option(help="Folder of an hpacml search, for the models of its front; with --all, of NAME/.")
]
Results = Annotated[Path | None, typer.Option(help=f"Folder for tables and figures; without, in {RESULTS}.")]
All = Annotated[bool, typer.Option("--all", help="All applications: python -m examples evaluate --all.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do this step anew, also where it was done before.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Applications that --all trains at a time; without, cores.")]
Leashed = Annotated[bool, typer.Option("--leashed", hidden=True)]


@cli.command()
def main(
    name: Name,
    step: Step = "",
    size: Size = "small",
    device: Device = "cpu",
    deck: Deck = None,
    out: Out = None,
    networks: Networks = None,
    results: Results = None,
    everything: All = False,
    fresh: Fresh = False,
    jobs: Jobs = None,
    leashed: Leashed = False,
) -> None:
    """Collect data of an application, train networks with it, run it by them, and measure what that is worth.

    Each step does those before it where they are not done. What was done with the same settings is not done again, so
    that the same command goes on after a kill. Tables and figures of `evaluate --all` stand beside the paper's numbers.
    """
    if leashed:
        from .leash import end_with_stdin

        end_with_stdin()
    if everything and (name, step) == ("evaluate", ""):
        name, step = ALL, "evaluate"
    try:
        _require(name, step, device, deck, everything)
        folder = results or RESULTS / _called(size, device, deck, networks)

        def work(each: str, place: Path, searched: Path | None) -> Workflow:
            setup = Setup(size, device, deck if each == "minibude" else None)
            return Workflow(experiment(each), setup, place, searched, console.print)

        if everything:
            places = {each: _place(each, size, deck) if out is None else out / each for each in NAMES}
            works = {each: work(each, place, networks and networks / each) for each, place in places.items()}
            for each in works.values() if networks else ():
                front(each.searched)
            _all(works, folder, jobs, fresh)
        else:
            _STEPS[step](work(name, out or _place(name, size, deck), networks), folder, fresh)
    except (hpacml.HpacmlError, OSError) as error:
        errors.print(f"error: {error}")
        raise typer.Exit(1) from None


def _require(name: str, step: str, device: str, deck: Path | None, everything: bool) -> None:
    """Refuse what cannot be done, before anything is."""
    if everything != (name == ALL):
        raise hpacml.ConfigError("--all goes with no NAME: python -m examples evaluate --all")
    if name != ALL and name not in NAMES:
        raise hpacml.ConfigError(f"there is no application '{name}'; there are {', '.join(NAMES)}")
    if step not in _STEPS:
        raise hpacml.ConfigError(f"the step is {step!r}; there are {', '.join(_STEPS)}")
    if deck is not None:
        if name not in ("minibude", ALL):
            raise hpacml.ConfigError(f"a deck is of minibude, and {name} has none: leave out --deck")
        if missing := [each for each in DECK if not (deck / each).is_file()]:
            raise hpacml.ConfigError(
                f"the deck '{deck}' has no {', '.join(missing)}: give a folder with {', '.join(DECK)}, such as "
                "data/bm2 of miniBUDE's repository"
            )
    if device == "cuda":
        from .devices import require

        require(device)


def _called(size: str, device: str, deck: Path | None, networks: Path | None) -> str:
    """The folder of results. Those of another size, device or deck, or of a search, have one of their own."""
    default = (size, device) == ("small", "cpu")
    return "-".join([*([] if default else [size, device]), *(each.resolve().name for each in (deck, networks) if each)])


def _place(name: str, size: str, deck: Path | None) -> Path:
    """The folder of an application's data, models and measurements, which are others for each deck."""
    return OUT / name / (size if deck is None or name != "minibude" else f"{size}-{deck.resolve().name}")


def _collect(work: Workflow, folder: Path, fresh: bool) -> None:
    work.collect(fresh)


def _train(work: Workflow, folder: Path, fresh: bool) -> None:
    if work.searched is not None:
        raise hpacml.ConfigError(f"the models in '{work.searched}' are trained: leave out --networks, or run them")
    work.models(fresh)


def _run(work: Workflow, folder: Path, fresh: bool) -> None:
    """Run accurately and by each model, behind runs that are not shown: they compile and load models."""
    from .evaluation.measure import Effort, evaluate, rows

    models = work.models()
    evaluation = evaluate(work, models, Effort(trials=2, dropped=1), engines=("auto",))
    table = Table(
        "", "ms", "speed-up", f"{evaluation.metric.upper()} of {work.experiment.quality}", title="one run each"
    )
    for row in rows(evaluation, models):
        numbers = (row.seconds and 1e3 * row.seconds, row.speedup, row.error)
        table.add_row(row.name, *("" if each is None else f"{each:.3g}" for each in numbers))
    console.print(table)
    for line in (*evaluation.verdict().splitlines(), *evaluation.notes):
        console.print(line)
    if all(row.failed for row in evaluation.rows if row.kind == "model"):
        raise typer.Exit(1)


def _evaluate(work: Workflow, folder: Path, fresh: bool) -> None:
    from .evaluation.measure import measure
    from .evaluation.results import write_one

    write_one(measure(work, fresh=fresh), folder)
    console.print((folder / f"{work.experiment.name}.md").read_text())


_STEPS: dict[str, Callable[[Workflow, Path, bool], None]] = {
    "collect": _collect,
    "train": _train,
    "run": _run,
    "evaluate": _evaluate,
}


def _all(works: dict[str, Workflow], folder: Path, jobs: int | None, fresh: bool) -> None:
    from .evaluation.everything import evaluate_all

    lacking = evaluate_all(works, folder, jobs, fresh)
    for each in lacking:
        errors.print(f"missing: {each}")
    console.print(f"{folder / 'tables.md'}: all tables and figures beside the paper's")
    if lacking:
        raise typer.Exit(1)


if __name__ == "__main__":
    cli()
