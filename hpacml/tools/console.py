"""Prints lines, tables with titles, and the progress of long work. All text is shown as it is: none is markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import typer
from rich import table
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.text import Text

from hpacml.errors import plain

Piece = TypeVar("Piece")


class Table(table.Table):
    """Shows its cells as they are, each in one line."""

    def add_row(self, *cells: str | Text) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add a row of plain text, or of text with a style."""
        super().add_row(*(Text(plain(cell, line=True)) if isinstance(cell, str) else cell for cell in cells))


def show(title: str, shown: Table) -> None:
    """Print a table under its title."""
    # Lines are not broken if a program reads them.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(Text(plain(title, line=True), "bold"), soft_wrap=True)
    console.print(shown)


def echo(text: str = "", *, err: bool = False) -> None:
    """Print plain text."""
    typer.echo(plain(text), err=err)


def progress(pieces: Iterable[Piece], what: str, count: int) -> Iterator[Piece]:
    """Yield `count` pieces, and show a bar on stderr meanwhile, if that is a terminal."""
    console, title = Console(stderr=True), escape(plain(what, line=True))
    yield from track(pieces, title, count, console=console, transient=True, disable=not console.is_terminal)
