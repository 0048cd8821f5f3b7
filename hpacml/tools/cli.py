"""The command `hpacml`: which model files this machine trusts, and what databases hold."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpacml.errors import HpacmlError
from hpacml.runtime import database, model, trust
from hpacml.version import version

app = typer.Typer(
    help="Look after the models and the databases of regions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="Model files, and which of them this machine trusts.", no_args_is_help=True)
databases = typer.Typer(help="Databases of collected data.", no_args_is_help=True)
app.add_typer(models, name="model")
app.add_typer(databases, name="db")

ModelFile = Annotated[Path, typer.Argument(metavar="FILE", help="A model file.")]
DatabaseFile = Annotated[Path, typer.Argument(metavar="FILE", help="A database, which is an HDF5 file.")]


def main() -> None:
    """The console script. An error meant for users is printed without a traceback, and the exit status is 1."""
    try:
        app()
    except HpacmlError as error:
        Console(stderr=True).print(Text(f"error: {error}", "red"), soft_wrap=True)
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hpacml {version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before the commands."""


@models.command("trust")
def trust_model(file: ModelFile) -> None:
    """Trust FILE as it is now: programs of this user may load it, and then it can run any code."""
    content = trust.read(file)
    format = model.executable_format(content, file)
    trust.trust_content(content, file.absolute())
    typer.echo(f"trusted the {format} model {file}, SHA-256 {trust.digest(content)}")


@models.command("ls")
def list_models() -> None:
    """List the trusted models."""
    table = Table("model", "SHA-256")
    for entry in trust.entries():
        table.add_row(entry.name, entry.digest)
    _show(f"trusted in {trust.trust_file()}: {table.row_count}", table)


@models.command("info")
def describe_model(file: ModelFile) -> None:
    """Show what FILE is; if it is trusted, it is loaded, to show its inputs too."""
    content = trust.read(file)
    format = model.executable_format(content, file)
    trusted = trust.is_trusted_content(content)
    table = Table(show_header=False)
    table.add_row("format", format)
    table.add_row("size", f"{len(content)} bytes")
    table.add_row("SHA-256", trust.digest(content))
    table.add_row("trusted", "yes" if trusted else f"no; to trust it: hpacml model trust {file}")
    if trusted:
        network = model.load(os.path.realpath(file)).network
        anchor = network.anchor()
        table.add_row("computes in", "not known" if anchor is None else f"{anchor.dtype} on {anchor.device}")
        table.add_row("inputs", network.declaration or "not declared by this format")
    _show(str(file), table)


@databases.command("ls")
def list_regions(file: DatabaseFile) -> None:
    """List the regions that FILE holds data of."""
    table = Table("label", "calls", "inputs", "outputs", "mean runtime")
    for region in database.regions(str(file)):
        names = [dataset.name for dataset in region.datasets]
        counts = [str(sum(name.startswith(kind) for name in names)) for kind in ("input", "output")]
        mean = "" if region.mean_ms is None else f"{region.mean_ms:.3g} ms"
        table.add_row(region.label, str(region.calls), *counts, mean)
    _show(f"regions in {file}: {table.row_count}", table)


@databases.command("info")
def describe_database(file: DatabaseFile) -> None:
    """Show the datasets and the maps of each region in FILE."""
    for region in database.regions(str(file)):
        table = Table("dataset", "shape", "dtype")
        for dataset in region.datasets:
            table.add_row(dataset.name, " x ".join(map(str, dataset.shape)), dataset.dtype)
        _show(f"{region.label}, calls: {region.calls}", table)
        if region.schema is None:
            typer.echo("not written by hpacml: it does not tell its maps\n")
        else:
            maps = "".join(f"  {text}\n" for text in region.schema.maps)
            typer.echo(f"{region.schema}, by hpacml {region.version}, of the maps\n{maps}")


def _show(title: str, table: Table) -> None:
    # Lines that a program reads are not broken.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(table)
