"""`hpacml search`: architectures and hyper-parameters, for models that are the best for their speed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run_search(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to search, in YAML.")],
    out: Annotated[Path | None, typer.Option(help="The folder for results, in place of that in FILE.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show nothing while it runs.")] = False,
) -> None:
    """Search for models that are the best for their speed, as FILE says; started again, it goes on where it was."""
    from hpacml.searching.running import search

    found = search(file, out=out, quiet=quiet)
    if not found.front:
        typer.echo(f"error: no trial has a model and its time: {found.folder}/trials.csv has their errors", err=True)
        raise typer.Exit(1)
