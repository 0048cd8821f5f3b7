"""The example of an ignition front: its chemistry, its line, which cells the guard leaves to Cantera, and its command."""

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import hpacml

ct = pytest.importorskip("cantera", reason="needs Cantera: pip install 'hpacml[chemistry]'")

from examples.ignition import front  # noqa: E402 (these need Cantera)
from examples.ignition.gas import MIXTURE, REACTING, Gas  # noqa: E402

PRESSURE = 101325.0


@pytest.fixture(scope="module")
def gas():
    return Gas()


@pytest.fixture
def cells(gas):
    """Temperatures and mass fractions of cells before, in and behind the front."""
    t, y = front.start(gas, 950.0, 1500.0, 0.6)
    t, y, _ = front.simulate(gas, t, y, 4, lambda t, y: gas.burn(t, y, front.PRESSURE, front.STEP))
    return t[-1, ::8].copy(), y[-1, ::8].copy()


def state(t, y):
    """Cantera's gas of one cell."""
    found = ct.Solution("h2o2.yaml")
    found.TPY = t, PRESSURE, np.concatenate([y, [0.0, 1.0 - y.sum()]])
    return found


def test_enthalpies_are_those_of_cantera_and_temperatures_belong_to_them(gas, cells):
    t, y = cells
    h = gas.enthalpy(t, y)
    np.testing.assert_allclose(h, [state(*cell).enthalpy_mass for cell in zip(t, y, strict=True)], rtol=1e-6)
    np.testing.assert_allclose(gas.temperature(h, y, t + 100.0), t, rtol=1e-9)


def test_cells_burn_as_in_reactors_of_their_own(gas, cells):
    t, y = cells
    after = y.copy()
    gas.burn(t, after, np.full(len(t), PRESSURE), front.STEP)
    for k in range(0, len(t), 6):
        alone = state(t[k], y[k])
        ct.ReactorNet([ct.IdealGasConstPressureReactor(alone, clone=False)]).advance(front.STEP)
        np.testing.assert_allclose(after[k], alone.Y[:REACTING], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(gas.nearest(after), after, rtol=1e-9, atol=1e-15)  # all atoms are there


def test_no_cell_depends_on_others(gas, cells):
    t, y = cells
    whole, some = y.copy(), y[::3].copy()
    gas.burn(t, whole, front.PRESSURE[: len(t)], front.STEP)
    gas.burn(t[::3], some, front.PRESSURE[: len(some)], front.STEP)
    np.testing.assert_array_equal(some, whole[::3])


def test_atoms_are_conserved_and_nothing_becomes_negative(gas):
    random = np.random.default_rng(0)
    disturbed = gas.fresh * np.exp(0.3 * random.standard_normal((20, REACTING))) - 1e-6
    found = gas.nearest(disturbed)
    mixture = ct.Solution("h2o2.yaml")
    mixture.TPX = 300.0, PRESSURE, MIXTURE
    for y in found:
        for element in "HO":
            assert state(1000.0, y).elemental_mass_fraction(element) == pytest.approx(
                mixture.elemental_mass_fraction(element), rel=1e-9
            )
    assert (found >= 0.0).all()
    assert abs(found - disturbed).max() < 0.2


def test_diffusion_keeps_the_sum_and_levels():
    f = np.random.default_rng(0).random((30, 2))
    later = front.diffuse(f)
    np.testing.assert_allclose(later.sum(0), f.sum(0))
    assert (later.std(0) < f.std(0)).all()


def test_the_guard_leaves_cells_that_have_not_ignited_to_cantera(gas, cells, tmp_path, monkeypatch):
    """A network that changes nothing, which knows all states above a temperature."""
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    t, y = cells
    hot = t >= front.HOT
    assert 0 < hot.sum() < len(t)
    same = torch.nn.Linear(REACTING + 2, REACTING).double()
    with torch.no_grad():
        same.weight.copy_(torch.eye(REACTING + 2)[1:-1])
        same.bias.zero_()
    known = torch.from_numpy(np.column_stack([t, y, np.full(len(t), PRESSURE)])[hot])
    net = hpacml.save_model(same, tmp_path / "same.pt2", example=known, domain=known)
    truth, found = y.copy(), y.copy()
    p = np.full(len(t), PRESSURE)
    gas.burn(t, truth, p, front.STEP)
    front.guarded(gas, gas.conserve, t, found, p, len(t), True, net)
    np.testing.assert_array_equal(found[~hot], truth[~hot])
    np.testing.assert_allclose(found[hot], y[hot], rtol=1e-9, atol=1e-15)
    other = y.copy()
    front.guarded(gas, gas.conserve, t, other, 2 * p, len(t), True, net)  # a pressure that it does not know
    gas.burn(t, truth := y.copy(), 2 * p, front.STEP)
    np.testing.assert_array_equal(other, truth)


@pytest.mark.slow
def test_the_command_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    from examples.ignition.__main__ import main

    app = typer.Typer()
    app.command()(main)
    options = ["--steps", "12", "--learned", "12", "--fronts", "2", "--epochs", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert result.exit_code == 0
    assert "unguarded" in result.output
    assert "nan" not in result.output
    for name in ("temperature.png", "errors.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
