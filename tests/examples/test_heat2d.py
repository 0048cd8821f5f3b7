"""The heat example: its step, the interleaving of model and body, and the whole of its command line."""

import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import hpacml
from examples.heat2d import hot
from examples.heat2d.__main__ import main
from examples.heat2d.heat import random_plate, simulate


def test_a_step_is_that_of_the_formula():
    t = random_plate(9, seed=0)
    new = t.copy()
    around = t[:-2, 1:-1] + t[2:, 1:-1] + t[1:-1, :-2] + t[1:-1, 2:]
    new[1:-1, 1:-1] += 0.1 * (around - 4.0 * t[1:-1, 1:-1])
    np.testing.assert_allclose(simulate(t, 1, exact_every=1)[1], new, rtol=0, atol=1e-6)


def test_nothing_is_recorded_where_every_step_is_exact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate(random_plate(8, seed=1), 3, exact_every=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_collects_trains_and_compares(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    app = typer.Typer()
    app.command()(main)
    arguments = ["--size", "24", "--steps", "12", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "nothing ever changes" in result.output
    assert "nan" not in result.output
    for name in ("fields.png", "errors.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    plate = random_plate(24, seed=100)
    accurate = simulate(plate, 12, exact_every=1)
    surrogate, mixed = (simulate(plate, 12, use_model=True, exact_every=every) for every in (0, 4))
    drift, less, change = (abs(fields[-1] - accurate[-1]).max() for fields in (surrogate, mixed, plate[None]))
    assert 0 < less < drift < 0.5 * change
    np.testing.assert_array_equal(mixed[1], accurate[1])

    app = typer.Typer()
    app.command()(hot.main)
    hpacml.report(reset=True)
    result = CliRunner().invoke(app, ["--size", "24", "--steps", "5", "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "points by the model" in result.output
    before, after = (
        float(re.findall(rf"points by the loops, {which}: ([\d.]+)%", result.output)[0])
        for which in ("another", "another, trained again")
    )
    assert 0 < after < before
    plate = hot.hot_plate(24)
    made, truth = plate.copy(), simulate(plate, 1, exact_every=1)[1]
    hot.guarded(plate, made, "heat.pt2")
    near = np.stack([plate[:-2, 1:-1], plate[2:, 1:-1], plate[1:-1, :-2], plate[1:-1, 1:-1], plate[1:-1, 2:]])
    far = (near > 1.5).any(0)  # no plate of the training is as hot
    assert far.any()
    np.testing.assert_array_equal(made[1:-1, 1:-1][far], truth[1:-1, 1:-1][far])
    assert (made != truth).any()
