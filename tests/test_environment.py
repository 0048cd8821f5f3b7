"""The table of environment variables."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import hpacml
from hpacml import environment
from hpacml.environment import VARIABLES, Switch, Variable

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
    assert not elsewhere
    read = {name for text in SOURCES.values() for name in re.findall(r"\benvironment\.([A-Z0-9_]+)\b", text)}
    rows = {name: row for name, row in vars(environment).items() if isinstance(row, Variable)}
    assert rows.keys() - read == {"XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    assert len({row.name for row in VARIABLES}) == len(rows)
    assert all(name in (row.name, row.name.removeprefix("HPACML_")) for name, row in rows.items())
