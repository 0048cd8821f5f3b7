"""`hpacml cache`: the compiled code on disk."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hpacml import environment
from hpacml.disk import cache
from hpacml.tools.console import Table, echo, show

code = typer.Typer(help="Compiled code on disk, which processes share.", no_args_is_help=True)

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@code.command("ls")
def list_entries() -> None:
    """List what the cache holds, those entries first that have been used last."""
    folder, now = cache.require_directory(), time.time()
    table, total = Table("kind", "name", "size", "age", "last used"), 0
    for entry in reversed(cache.entries()):
        total += entry.size
        ages = (_duration(now - entry.made), _duration(now - entry.used))
        table.add_row(entry.kind or "older", entry.label or entry.name[-64:][:12], _bytes(entry.size), *ages)
    limit = _bytes(environment.CACHE_SIZE.number())
    show(f"compiled code in {folder}: {table.row_count} entries of {_bytes(total)}, at most {limit}", table)


@code.command("clear")
def clear(
    unused_for: Annotated[
        float, typer.Option("--unused-for", metavar="DAYS", min=0, help="Only what nothing has used for so many days.")
    ] = 0,
) -> None:
    """Remove what the cache holds. Programs that run go on; those that start compile anew what they need."""
    folder, before = cache.require_directory(), time.time() - 86400 * unused_for
    those = [entry for entry in cache.entries() if entry.used <= before]
    removed = cache.remove(those)
    echo(f"removed {removed} entries of {_bytes(sum(entry.size for entry in those))} from {folder}")


def _duration(seconds: float) -> str:
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
