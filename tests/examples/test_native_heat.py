"""The plate in C and in Fortran: the whole of both command lines."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import hpacml
from examples.c_heat import driver
from examples.c_heat.__main__ import main as in_c
from examples.c_heat.driver import numpy_steps
from examples.fortran_heat.__main__ import main as in_fortran
from examples.heat2d.heat import random_plate
from hpacml.tools.cli import app as hpacml_app
from tests.compilers import needs_cc, needs_gfortran, run


def run_here(words: list[str], **options) -> subprocess.CompletedProcess[str]:
    """Run a command as `subprocess.run`, but that of hpacml in this process, which has loaded what it needs."""
    if Path(words[0]).name != "hpacml":
        return subprocess.run(words, **options)
    result = CliRunner().invoke(hpacml_app, words[1:], catch_exceptions=False)
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("main", "order"),
    [pytest.param(in_c, "C", marks=needs_cc), pytest.param(in_fortran, "F", marks=needs_gfortran)],
    ids=["C", "Fortran"],
)
def test_collects_trains_and_deploys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main, order) -> None:
    if main is in_fortran:  # in C all commands are processes
        monkeypatch.setattr(driver, "subprocess", SimpleNamespace(run=run_here, PIPE=subprocess.PIPE))
    app = typer.Typer()
    app.command()(main)
    arguments = ["--size", "24", "--steps", "12", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    region = hpacml.open_database(tmp_path / "heat.h5")["heat"]
    assert len(region) == 60
    plate, accurate = random_plate(24, seed=100), numpy_steps(random_plate(24, seed=100), 12)

    def simulate(mode: str) -> np.ndarray:
        run("./heat", mode, "24", "12", "start.f32", "end.f32", cwd=tmp_path)
        return np.fromfile(tmp_path / "end.f32", np.float32).reshape((24, 24), order=order)

    np.testing.assert_array_equal(simulate("accurate"), accurate)
    surrogate = simulate("surrogate")
    assert 0 < abs(surrogate - accurate).max() < 0.5 * abs(plate - accurate).max()
    (tmp_path / "heat.pt2").unlink()
    failed = run("./heat", "surrogate", "24", "12", "start.f32", "end.f32", cwd=tmp_path, check=False)
    assert failed.returncode == 1
    assert "heat.pt2' does not exist" in failed.stderr
