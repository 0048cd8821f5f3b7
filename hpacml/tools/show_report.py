"""`hpacml report`: what was measured of regions and what their guards have done, of a file, and a picture of checks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpacml.tools.console import echo


def show_report(
    file: Annotated[Path, typer.Argument(help="A file that HPACML_REPORT or hpacml.report().save() has made.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the errors of the checks of models to this new PNG file.")
    ] = None,
) -> None:
    """Show a report: where the time of regions goes, and what their guards and the checks of their models have done."""
    from hpacml.runtime.reports import saved_report

    report, command = saved_report.load(file)
    echo(f"{file}: {command}")
    Console(width=None if sys.stdout.isatty() else 1000).print(report)
    if plot is not None:
        from hpacml.tools.plot_checks import plot_checks

        drawn = plot_checks(report, plot)
        echo(f"{plot}: the checks of {drawn} region{'s' * (drawn > 1)}")
