"""The example of a stiff reaction on a plate: its kinetics, its plate, which points the guard leaves, and its command."""

import numpy as np
import pytest
import torch
import typer
from scipy.integrate import solve_ivp
from typer.testing import CliRunner

import hpacml
from examples.reaction import robertson


@pytest.fixture
def points():
    """Any amounts of the three, float64[50] each."""
    random = np.random.default_rng(0)
    return [size * random.random(50) for size in (1.0, 1e-5, 1.0)]


def test_the_reaction_is_that_of_robertson():
    """The amounts after a long time, as a solver for stiff equations finds them."""

    def rates(t, u):
        made, lost, back = 0.04 * u[0], 3e7 * u[1] ** 2, 1e4 * u[1] * u[2]
        return [back - made, made - back - lost, lost]

    truth = solve_ivp(rates, (0.0, 40.0), [1.0, 0.0, 0.0], method="Radau", rtol=1e-8, atol=1e-12).y[:, -1]
    found = [np.array([amount]) for amount in (1.0, 0.0, 0.0)]
    for _ in range(40):
        robertson.advance(*found)
    np.testing.assert_allclose(np.concatenate(found), truth, rtol=2e-3)  # the implicit Euler method's own error
    assert found[0][0] == pytest.approx(0.7158, rel=2e-3)  # what the literature has at 40


def test_no_point_depends_on_others(points):
    whole, some = [each.copy() for each in points], [each[::7].copy() for each in points]
    robertson.advance(*whole)
    robertson.advance(*some)
    for one, other in zip(some, whole, strict=True):
        np.testing.assert_array_equal(one, other[::7])


def test_nothing_gets_lost(points):
    before = sum(points)
    robertson.advance(*points)
    np.testing.assert_allclose(sum(points), before, rtol=1e-14)


def test_what_does_not_converge_is_an_error():
    with pytest.raises(ArithmeticError, match="not converged"):
        robertson.advance(*np.full((3, 4), np.nan))


def test_the_guard_leaves_points_out_of_the_range_to_newton(points, tmp_path, monkeypatch):
    """A network that changes nothing, which knows points with little of `a`."""
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    known = torch.from_numpy(np.column_stack([each[points[0] < 0.5] for each in points]))
    net = hpacml.save_model(_same(), tmp_path / "same.pt2", example=known, domain=known)
    inside = (
        (np.column_stack(points) >= known.numpy().min(0)) & (np.column_stack(points) <= known.numpy().max(0))
    ).all(1)
    assert 0 < inside.sum() < 50
    truth, found = [each.copy() for each in points], [each.copy() for each in points]
    robertson.advance(*truth)
    robertson.guarded(*found, 50, robertson.conserve, True, net)
    for before, after, right in zip(points, found, truth, strict=True):
        np.testing.assert_allclose(after[inside], before[inside], rtol=1e-12)
        np.testing.assert_array_equal(after[~inside], right[~inside])


def _same():
    same = torch.nn.Linear(3, 3).double()
    with torch.no_grad():
        same.weight.copy_(torch.eye(3))
        same.bias.zero_()
    return same


def test_the_plate_keeps_what_it_is_fed():
    pytest.importorskip("pde", reason="needs py-pde: pip install 'hpacml[pde]'")
    from examples.reaction.plate import simulate

    fields, seconds = simulate(16, 5, 0, robertson.advance)
    amount = fields.sum((1, 2, 3))
    assert fields.shape == (6, 3, 16, 16)
    assert seconds > 0
    np.testing.assert_allclose(np.diff(amount), amount[1] - amount[0], rtol=1e-9)
    assert amount[1] > amount[0] > 0


@pytest.mark.slow
def test_the_command_trains_and_draws(tmp_path, monkeypatch):
    pytest.importorskip("pde", reason="needs py-pde: pip install 'hpacml[pde]'")
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    from examples.reaction.__main__ import main

    app = typer.Typer()
    app.command()(main)
    options = ["--size", "24", "--collected", "16", "--learned", "5", "--epochs", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert result.exit_code == 0
    assert "unguarded" in result.output
    assert "nan" not in result.output
    for name in ("fields.png", "errors.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
