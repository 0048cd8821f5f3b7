"""The table of environment variables, and the command that shows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpacml
from hpacml import environment
from hpacml.environment import VARIABLES, Switch, Variable
from tests.command import run_hpacml

PACKAGE = Path(hpacml.__file__).parent
SOURCES = {path: path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "environment.py"}

TEXT = Variable("HPACML_TEST", "a text", "usual", "A test.")
SWITCHES = [
    (Switch("HPACML_TEST", "0", "1", "Off by default."), {"": False, "0": False, "1": True}, "true"),
    (Switch("HPACML_TEST", "1", "0", "On by default."), {"": True, "1": True, "0": False}, "off"),
    (Switch("HPACML_TEST", "", "all", "Off by default."), {"": False, "all": True}, "1"),
]
"""With what its texts mean, and a text that it does not take."""


@pytest.fixture(autouse=True)
def only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HPACML_"):
            monkeypatch.delenv(name)


def test_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TEXT.text() == "usual"
    monkeypatch.setenv("HPACML_TEST", "other")
    assert TEXT.text() == "other"
    monkeypatch.setenv("HPACML_TEST", "")
    assert TEXT.text() == "usual"


@pytest.mark.parametrize("before", [None, "", "other"])
def test_a_text_for_a_while(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if before is not None:
        monkeypatch.setenv("HPACML_TEST", before)
    with pytest.raises(ZeroDivisionError), TEXT.during("meanwhile"):
        assert TEXT.text() == "meanwhile"
        raise ZeroDivisionError
    assert os.environ.get("HPACML_TEST") == before


@pytest.mark.parametrize(("switch", "texts", "other"), SWITCHES)
def test_a_switch(switch: Switch, texts: dict[str, bool], other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert switch.is_on() is texts[""]
    for text, on in texts.items():
        monkeypatch.setenv("HPACML_TEST", text)
        assert switch.understands(text)
        assert switch.is_on() is on
    monkeypatch.setenv("HPACML_TEST", other)
    assert not switch.understands(other)
    assert switch.is_on() is texts[""]


def test_a_wrong_text() -> None:
    error = TEXT.wrong("x", "set it to usual")
    assert type(error) is hpacml.HpacmlError
    assert str(error) == "the environment variable HPACML_TEST is 'x': set it to usual"
    assert type(TEXT.wrong("x", "set it to usual", hpacml.DatabaseError)) is hpacml.DatabaseError


def test_the_table_is_complete() -> None:
    """Variables are read by their rows alone; rows without a reader are those that platformdirs reads."""
    elsewhere = {path for path, text in SOURCES.items() if re.search(r"\benviron(b?)\b(?!\.setdefault)|\bgetenv", text)}
    assert elsewhere == {PACKAGE / "tools" / "env.py"}
    read = {name for text in SOURCES.values() for name in re.findall(r"\benvironment\.([A-Z0-9_]+)\b", text)}
    rows = {name: row for name, row in vars(environment).items() if isinstance(row, Variable)}
    assert rows.keys() - read == {"XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    assert len({row.name for row in VARIABLES}) == len(rows)
    named = {name for name, row in rows.items() if name not in (row.name, row.name.removeprefix("HPACML_"))}
    assert named == {"WORLD_RANK"}, "torchrun's RANK is not HPACML_RANK"


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HPACML_DB_FLUSH", "[red]100 calls")
    status, out, err = run_hpacml(monkeypatch, capsys, "env")
    assert (status, err) == (0, "")
    rows = {
        cells[0]: cells for line in out.splitlines() if len(cells := [c.strip() for c in line.split("│")[1:-1]]) == 5
    }
    assert list(rows) == [row.name for row in VARIABLES]
    assert rows["HPACML_DB_FLUSH"][:4] == [
        "HPACML_DB_FLUSH",
        "[red]100 calls",
        "5",
        "seconds, such as 0.5, or calls, such as 100 calls",
    ]
    assert rows["HPACML_MODEL_RELOAD"][1:4] == ["", "0", "0 or 1"]


MISSPELT = {
    "HPACML_MODEL_RELAOD": "HPACML_MODEL_RELOAD",
    "HPACML_db_flush": "HPACML_DB_FLUSH",
    "HPACML_DB_FILE": "HPAC_DB_FILE",
    "HPACML_SURROGATE_MODEL": "SURROGATE_MODEL",
    "HPACML_XYZ": None,
}


@pytest.mark.parametrize("name", MISSPELT)
def test_the_command_warns_of_a_misspelt_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "1")
    status, _, err = run_hpacml(monkeypatch, capsys, "env")
    hint = f"; did you mean '{MISSPELT[name]}'?" if MISSPELT[name] else ""
    assert (status, err) == (0, f"warning: {name} is set, and hpacml reads no variable of that name{hint}\n")


def test_the_command_warns_of_a_switch_that_does_not_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPACML_CACHE", "off")
    assert run_hpacml(monkeypatch, capsys, "env")[2] == "warning: HPACML_CACHE is 'off', and takes 0 or 1\n"


def test_the_command_as_a_program() -> None:
    """As JSON, in a process that loads neither Torch nor h5py."""
    code = """
import sys
from hpacml.tools.cli import main
try:
    main()
finally:
    assert not {"torch", "h5py"} & sys.modules.keys()
"""
    variables = {**os.environ, "HPACML_CHECK": "finite", "HPACML_CHEK": "sync"}
    command = [sys.executable, "-W", "error", "-c", code, "env", "--json"]
    shown = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    printed = json.loads(shown.stdout)
    assert printed["unknown"] == {"HPACML_CHEK": "HPACML_CHECK"}
    by_name = {row["name"]: row for row in printed["variables"]}
    assert list(by_name) == [row.name for row in VARIABLES]
    assert by_name["HPACML_CHECK"]["value"] == "finite"
    assert by_name["HPACML_DB_BUFFER"].keys() == {"name", "value", "default", "takes", "meaning"}
    assert (by_name["HPACML_DB_BUFFER"]["value"], by_name["HPACML_DB_BUFFER"]["default"]) == (None, "256M")
    assert shown.stderr.startswith("warning: HPACML_CHEK is set")


def test_rows_name_all_that_their_readers_take() -> None:
    from hpacml.clauses import KEYS, POLICIES
    from hpacml.runtime import checks
    from hpacml.runtime.databases.settings import _LEVELS
    from hpacml.runtime.reports.ranges import PROFILERS

    taken = {
        environment.ON_ERROR: POLICIES,
        environment.CHECK: checks.CHECKS,
        environment.RANGES: PROFILERS,
        environment.DB_COMPRESS: _LEVELS,
        environment.SAMPLE: KEYS[:1],
    }
    for row, values in taken.items():
        assert all(value in row.takes for value in values), row.name
