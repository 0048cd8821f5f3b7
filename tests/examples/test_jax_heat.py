"""The example in JAX: its fire, the gradients, and the whole of its command line."""

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

jax = pytest.importorskip("jax", reason="needs hpacml[jax]")

import hpacml  # noqa: E402
from examples.jax_heat.__main__ import main  # noqa: E402
from examples.jax_heat.gradients import along, difference, gradient, remainders  # noqa: E402
from examples.jax_heat.plate import FLOW, YIELD, random_plate, simulate  # noqa: E402


@pytest.fixture(autouse=True)
def _wide_numbers():
    with jax.enable_x64(True):
        yield


def test_a_step_is_that_of_the_equations():
    """The fire by an integration of its own, with much smaller steps."""
    heat, fuel = (np.asarray(x) for x in random_plate(9, seed=0))
    heats, fuels = simulate(heat, fuel, 1)
    t = np.pad(heat, 1, mode="edge")
    heat = heat + FLOW * (t[:-2, 1:-1] + t[2:, 1:-1] + t[1:-1, :-2] + t[1:-1, 2:] - 4 * heat)
    for _ in range(20_000):
        burnt = 0.1 / 20_000 * np.exp(3 * (1 - 1 / heat)) * fuel
        heat, fuel = heat + YIELD * burnt, fuel - burnt
    np.testing.assert_allclose(heats[1], heat, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fuels[1], fuel, rtol=0, atol=1e-6)


def test_no_heat_gets_lost():
    heats, fuels = simulate(*random_plate(12, seed=1), 20)
    whole = (heats + YIELD * fuels).sum((1, 2))
    np.testing.assert_allclose(whole, whole[0], rtol=1e-12)
    assert fuels[-1].sum() < 0.99 * fuels[0].sum()


def test_the_gradient_of_the_original_code():
    plate = random_plate(10, seed=2)
    by_gradient, by_difference = along(*plate, 8, None)
    np.testing.assert_allclose(by_gradient, by_difference, rtol=1e-6)
    large, small = remainders(*plate, 8, None, [1e-2, 1e-3])
    assert 50 < large / small < 200


@pytest.mark.slow
def test_collects_trains_and_differentiates(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    app = typer.Typer()
    app.command()(main)
    arguments = ["--size", "24", "--steps", "20", "--plates", "3", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "nan" not in result.output
    for name in ("fields.png", "gradients.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert len(hpacml.open_database(tmp_path / "plate.h5")["burn"]) == 60

    monkeypatch.chdir(tmp_path)
    plate = random_plate(24, seed=100)
    fuel, slope = simulate(*plate, 20)[1][-1], gradient(*plate, 20, None)
    for net in ("burn.safetensors", "burn.jax"):
        surrogate = simulate(*plate, 20, net)[1][-1]
        assert 0 < abs(surrogate - fuel).max() < 0.3 * abs(plate[1] - fuel).max()
        np.testing.assert_allclose(*along(*plate, 20, net), rtol=1e-6)
        assert difference(gradient(*plate, 20, net), slope) < 0.5
