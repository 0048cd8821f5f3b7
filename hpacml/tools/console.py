"""Prints tables with titles, and the progress of long work."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

Piece = TypeVar("Piece")


def show(title: str, table: Table) -> None:
    """Print a table under its title."""
    # Lines are not broken if a program reads them.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(table)


def progress(pieces: Iterable[Piece], what: str, count: int) -> Iterator[Piece]:
    """Yield `count` pieces, and show a bar on stderr meanwhile, if that is a terminal."""
    console = Console(stderr=True)
    yield from track(pieces, what, count, console=console, transient=True, disable=not console.is_terminal)
