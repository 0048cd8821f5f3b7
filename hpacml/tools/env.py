"""`hpacml env`: the environment variables that hpacml reads, what they are set to, and which of that it passes over."""

from __future__ import annotations

import difflib
import json
import os
from typing import Annotated

import typer
from rich.text import Text

from hpacml.environment import VARIABLES, Switch, Variable
from hpacml.tools.console import Table, echo, show

PREFIX = "HPACML_"


def show_environment(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show the environment variables that hpacml reads, and what they are set to; warn of misspelt ones."""
    unknown = {name: _nearest(name) for name in _unknown()}
    if as_json:
        echo(json.dumps({"variables": [*map(_record, VARIABLES)], "unknown": unknown}, indent=2))
    else:
        _show_table()
    for name, nearest in unknown.items():
        hint = f"; did you mean '{nearest}'?" if nearest else ""
        echo(f"warning: {name} is set, and hpacml reads no variable of that name{hint}", err=True)
    for row in VARIABLES:
        text = os.environ.get(row.name, "")
        if isinstance(row, Switch) and not row.understands(text):
            echo(f"warning: {row.name} is '{text}', and takes {_plain(row.takes)}", err=True)


def _show_table() -> None:
    table = Table("variable", "value", "default", "takes", "meaning")
    table.columns[0].no_wrap = True
    for row in VARIABLES:
        value = Text(os.environ.get(row.name, ""), "bold")
        table.add_row(row.name, value, row.default, _plain(row.takes), _plain(row.meaning))
    show(f"environment variables: {table.row_count}, set: {sum(row.name in os.environ for row in VARIABLES)}", table)


def _record(row: Variable) -> dict[str, str | None]:
    return {
        "name": row.name,
        "value": os.environ.get(row.name),
        "default": row.default or None,
        "takes": _plain(row.takes),
        "meaning": _plain(row.meaning),
    }


def _unknown() -> list[str]:
    """The variables that are set and named as those of hpacml are, and that it does not read."""
    return sorted(name for name in os.environ.keys() - {row.name for row in VARIABLES} if name.startswith(PREFIX))


def _nearest(name: str) -> str | None:
    """The variable in the table whose name is most like `name`, if any is; the prefix does not count."""
    names = {row.name.removeprefix(PREFIX): row.name for row in VARIABLES}
    close = difflib.get_close_matches(name.removeprefix(PREFIX).upper(), names, 1)
    return names[close[0]] if close else None


def _plain(markdown: str) -> str:
    return markdown.replace("`", "")
