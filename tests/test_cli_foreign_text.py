"""Text of files that somebody else has made is shown as it is: it commands no terminal, and is no markup."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import hpacml
from hpacml.errors import DatabaseError, HpacmlError, plain
from tests.command import run_hpacml

HOSTILE = "a\x1b]0;title\x07\x1b[2J[/red][bold]$\\frac{$ \x9b31m\u202e\r\n\u2028error: none"
LABEL = HOSTILE.replace("/", "")
SHOWN = "a\\x1b]0;title\\x07\\x1b[2J[red][bold]$\\frac{$ \\x9b31m\\u202e\\r"
FUNCTORS = "tensor functor(f: [i, 0:1] = ([i]))"


def controls(text: str) -> set[str]:
    """The characters of a text that are not shown."""
    return {c for c in text if not c.isprintable() and c not in "\n\t"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "d.h5"

    @hpacml.region(f"{FUNCTORS} ml(collect) in(f(a[0:n])) out(f(b[0:n])) database('{path}') label('r')")
    def region(a: Any, b: Any, n: int) -> None:
        b[:] = 2 * a

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", HOSTILE])
        region(np.arange(3.0), np.zeros(3), 3)
        hpacml.flush()
    with h5py.File(path, "r+") as file:
        file["r"].attrs["hpacml_version"] = HOSTILE
        file.move("r", LABEL)
    return path


@pytest.mark.parametrize("command", ["ls", "info", "check", "merge", "export", "plot"])
def test_databases(command: str, database: Path, tmp_path: Path, monkeypatch: Any, capsys: Any):
    arguments = {
        "merge": [str(tmp_path / "out.h5"), str(database)],
        "export": [str(database), LABEL, str(tmp_path / "out.npz")],
        "plot": [str(database), LABEL, "--out", str(tmp_path / "out.png")],
    }.get(command, [str(database)])
    _, out, errors = run_hpacml(monkeypatch, capsys, "db", command, *arguments)
    assert not controls(out + errors)
    assert SHOWN in out + errors or (tmp_path / "out.png").exists()
    assert "Traceback" not in errors


def test_errors_of_programs(database: Path):
    with hpacml.open_database(database) as opened, pytest.raises(DatabaseError) as error:
        opened["other"]
    assert not controls(str(error.value))
    assert SHOWN in str(error.value)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    hpacml.save_model(nn.Sequential(nn.Linear(2, 1)), path, example=torch.zeros(1, 2), metadata={HOSTILE: HOSTILE})
    with safe_open(path, "pt") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors, path, {name: f"{value} " for name, value in metadata.items()} | {HOSTILE: HOSTILE})
    return path


@pytest.mark.parametrize("command", ["info", "verify"])
def test_models(command: str, model: Path, monkeypatch: Any, capsys: Any):
    _, out, errors = run_hpacml(monkeypatch, capsys, "model", command, str(model))
    assert not controls(out + errors)
    assert "Traceback" not in errors


def test_models_by_name(tmp_path: Path, monkeypatch: Any, capsys: Any):
    status, _, errors = run_hpacml(monkeypatch, capsys, "model", "info", str(tmp_path / "\x1b[2J[/red]"))
    assert (status, controls(errors)) == (1, set())
    assert "\\x1b[2J[/red]' does not exist" in errors


def test_ir(tmp_path: Path):
    file = tmp_path / "m.mlir"
    file.write_text(f"builtin.module {{ // {HOSTILE}\n  nothing \x1b[2J }}")
    program = "import sys; from hpacml.tools import hpacml_opt; sys.argv[1:] = [sys.argv[1]]; hpacml_opt.main()"
    result = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert not controls(result.stdout + result.stderr)


@pytest.mark.parametrize(
    ("text", "shown", "line"),
    [
        ("plain é 😀", "plain é 😀", "plain é 😀"),
        ("a\tb\nc", "a\tb\nc", "a\tb\\nc"),
        ("\x00\x7f\x85\u2029\udcff", "\\x00\\x7f\\x85\\u2029\\udcff", "\\x00\\x7f\\x85\\u2029\\udcff"),
    ],
)
def test_plain_text(text: str, shown: str, line: str):
    assert plain(text) == shown == str(HpacmlError(text))
    assert plain(text, line=True) == line
