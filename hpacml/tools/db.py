"""`hpacml db`: what databases hold, whether they are whole, and other forms of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hpacml.errors import DatabaseError, plain
from hpacml.runtime.databases.reader import Region, open_database
from hpacml.runtime.databases.schema import units_text
from hpacml.tools.check import Numbers, check_region
from hpacml.tools.console import Table, echo, show

databases = typer.Typer(help="Databases of collected data.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A database, which is an HDF5 file.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Databases, which are HDF5 files.")]
Where = Annotated[
    str | None, typer.Option(metavar="CONDITION", help="Only calls whose numbers meet this, such as 'step >= 100'.")
]
Label = Annotated[str, typer.Argument(metavar="LABEL", help="The label of a region.")]


@databases.command("ls")
def list_regions(files: Files) -> None:
    """List the regions that each FILE holds data of."""
    for file in files:
        table = Table("label", "calls", "inputs", "outputs", "mean runtime")
        with open_database(file) as database:
            for region in database.values():
                counts = (region.calls, len(region.inputs), len(region.outputs))
                table.add_row(region.label, *map(str, counts), _mean_runtime(region))
        show(f"regions in {file}: {table.row_count}", table)


@databases.command("info")
def describe(files: Files, where: Where = None) -> None:
    """Show the datasets, the numbers of calls, the maps and the runs of each region in each FILE."""
    for file in files:
        with open_database(file) as database:
            for region in database.values():
                _describe(region, where)


def _describe(region: Region, where: str | None) -> None:
    table = Table("dataset", "shape", "dtype")
    for tensor in region.tensors:
        sizes = ("varies" if size is None else str(size) for size in tensor.shape)
        table.add_row(tensor.name, " x ".join(sizes), tensor.dtype.name)
    show(f"{region.label}, calls: {region.calls}", table)
    if region.meta:
        _show_numbers(region, where)
    if region.schema is None:
        echo(f"{'written by HPAC-ML' if region.writer else 'not written by hpacml'}: it does not tell its maps\n")
    else:
        maps = "".join(f"  {text}\n" for text in region.schema.maps)
        units = f", {units_text(region.schema)}" if region.units else ""
        truth = "".join(f"  {text}\n" for text in region.truth)
        outputs = f"with the truth, in the place of the outputs\n{truth}" if truth else ""
        echo(f"{region.schema}, by {region.writer}{units}, of the maps\n{maps}{outputs}")
    if region.runs:
        _show_runs(region)


def _show_numbers(region: Region, where: str | None) -> None:
    chosen = np.ones(region.calls, bool) if where is None else region.calls_where(where)
    table = Table("number", "from", "to")
    for name, numbers in region.meta.items():
        values = numbers[:][chosen]
        values = values[np.isfinite(values)]
        table.add_row(name, *(f"{each:.15g}" for each in (values.min(), values.max())) if len(values) else ("", ""))
    show(f"{region.label}, numbers of {'all calls' if where is None else f'{chosen.sum()} calls where {where}'}", table)


def _show_runs(region: Region) -> None:
    # Not one of rich's tables, which breaks commands.
    echo("runs:")
    ends = [*(run.first_call for run in region.runs[1:]), region.calls]
    for run, end in zip(region.runs, ends, strict=True):
        rank = "" if run.rank is None else f", rank {run.rank}"
        versions = f"hpacml {run.hpacml}, Torch {run.torch}, Python {run.python}"
        lines = [f"  calls {run.first_call} to {end - 1}: {run.start}, {run.user} on {run.host}{rank}, {versions}"]
        lines.append(f"    {run.command}")
        if run.sample is not None:
            lines.append(f"    sampled by {run.sample}")
        echo("\n".join(plain(line, line=True) for line in lines))
    echo()


@databases.command("check")
def check(
    files: Files,
    allow_nan: Annotated[bool, typer.Option("--allow-nan", help="NaN and infinities are no problems.")] = False,
) -> None:
    """Read all of each FILE: are calls complete, attributes true, numbers finite? The exit status is 1 if not."""
    found = sum(_check(file, allow_nan) for file in files)
    if found:
        echo(f"problems: {found}", err=True)
        raise typer.Exit(1)


def _check(file: Path, allow_nan: bool) -> int:
    table = Table("label", "dataset", "calls", "NaN", "infinite", "first in call")
    problems: list[str] = []
    try:
        with open_database(file) as database:
            for region in database.values():
                wrong, counted = check_region(database, region, allow_nan)
                problems += [f"{region.label}: {problem}" for problem in wrong]
                for name, numbers in counted.items():
                    table.add_row(region.label, name, str(region.calls), *_cells(numbers))
    except DatabaseError as error:
        problems.append(str(error))
    show(f"{file}: {'problems: ' + str(len(problems)) if problems else 'no problems'}", table)
    for problem in problems:
        echo(f"error: {file}: {problem}", err=True)
    return len(problems)


def _cells(numbers: Numbers) -> tuple[str, str, str]:
    return str(numbers.nan), str(numbers.inf), "" if numbers.first is None else str(numbers.first)


@databases.command("merge")
def merge_files(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The database to write; it must not be there.")],
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="Databases with the same maps.")],
    virtual: Annotated[bool, typer.Option("--virtual", help="Refer to the data in IN..., by relative paths.")] = False,
) -> None:
    """Write one database with the calls of several, one after the other."""
    from hpacml.tools.merge import merge

    regions = merge(out, sources, virtual)
    merged = ", ".join(f"{region.label}, calls: {region.calls}" for region in regions)
    echo(plain(f"{out}: {merged}", line=True))


@databases.command("export")
def export_region(
    file: File,
    label: Label,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new file, .npz (NumPy) or .pt (Torch).")],
) -> None:
    """Write the data of one region as a file of NumPy or of Torch."""
    from hpacml.tools.export import export

    with open_database(file) as database:
        export(database[label], out)
    echo(f"{out}: {label}")


@databases.command("plot")
def plot_region(
    file: File,
    label: Label,
    out: Annotated[Path, typer.Option(help="The picture to write, PNG.")],
    features: Annotated[int, typer.Option(min=1, help="As many histograms at most.")] = 64,
    where: Where = None,
) -> None:
    """Draw a histogram for each feature of the inputs and outputs of one region, and of the numbers of its calls."""
    from hpacml.tools.plot import plot

    with open_database(file) as database:
        total = plot(database[label], out, features, where)
    echo(f"{out}: {min(total, features)} of {total} features")


def _mean_runtime(region: Region) -> str:
    runtime = region.runtime
    if runtime is None or not len(runtime):
        return ""
    return f"{sum(float(runtime[block].sum()) for block in runtime.blocks) / len(runtime):.3g} ms"
