"""The command `hpacml`: trains models, manages their files, databases and compiled code, and shows the environment."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from hpacml.errors import HpacmlError
from hpacml.tools.build_library import build_library, show_flags
from hpacml.tools.compiled_code import code
from hpacml.tools.db import databases
from hpacml.tools.env import show_environment
from hpacml.tools.models import models
from hpacml.tools.search import run_search
from hpacml.tools.show_report import show_report
from hpacml.tools.train_model import train_model
from hpacml.version import version

app = typer.Typer(
    help="Train the models of regions, and look after their files, databases, compiled code and settings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models, name="model")
app.add_typer(databases, name="db")
app.add_typer(code, name="cache")
app.command("build")(build_library)
app.command("config")(show_flags)
app.command("env")(show_environment)
app.command("report")(show_report)
app.command("train")(train_model)
app.command("search")(run_search)


def main() -> None:
    """The console script. An error meant for users is printed without a traceback, and the exit status is 1."""
    try:
        app(prog_name="hpacml")
    except HpacmlError as error:
        Console(stderr=True).print(Text(f"error: {error}", "red"), soft_wrap=True)
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hpacml {version()}")
        raise typer.Exit


@app.callback()
def root(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options before a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # files may have names that the terminal cannot show
