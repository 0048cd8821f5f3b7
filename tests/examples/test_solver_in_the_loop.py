"""The example of a training through a solver: its solver, and the whole of its command line."""

import pytest
import torch
import typer
from typer.testing import CliRunner

import hpacml
from examples.solver_in_the_loop.__main__ import main
from examples.solver_in_the_loop.burgers import COARSE, Correction, simulate, truth
from examples.solver_in_the_loop.training import errors, train


def test_a_network_before_training_corrects_nothing():
    u = truth(3, 0, seed=0)[:, 0]
    torch.testing.assert_close(simulate(u.clone(), 5, Correction(0)).detach(), simulate(u.clone(), 5))


def test_the_solver_keeps_what_flows():
    states, net = truth(4, 20, seed=2), Correction(0)
    torch.nn.init.normal_(net.mlp[-1].weight, std=0.1)
    assert states.shape == (4, 21, COARSE)
    for found in (states, simulate(states[:, 0], 20, net).detach()):
        torch.testing.assert_close(found.sum(-1), states[:, :1].sum(-1).expand(found.shape[:2]), rtol=1e-4, atol=1e-3)


def test_gradients_are_those_of_torch_alone():
    """The loop by hand: the network on windows that `unfold` makes."""
    u, net = truth(2, 0, seed=3)[:, 0], Correction(0)
    torch.nn.init.normal_(net.mlp[-1].weight, std=0.1)

    def by_hand(ring, flux, rows, n, net):
        flux.copy_(net(ring.unfold(1, 6, 1)[:, :n])[..., 0])

    with hpacml.differentiable():
        found = torch.autograd.grad(simulate(u, 4, net).square().sum(), net.parameters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("examples.solver_in_the_loop.burgers.correct", by_hand)
        expected = torch.autograd.grad(simulate(u, 4, net).square().sum(), net.parameters())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_training_through_the_solver_is_the_better_one():
    known, unseen = truth(8, 60, seed=0), truth(8, 60, seed=1)
    single, unrolled = (train(known, unroll, 40 // unroll, 60) for unroll in (1, 10))
    assert errors(unseen, unrolled)[-1] < errors(unseen, single)[-1]


def test_the_command_draws_the_picture(tmp_path):
    app = typer.Typer()
    app.command()(main)
    options = ["--iterations", "2", "--rows", "2", "--trajectories", "2", "--steps", "12", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert result.exit_code == 0
    assert "coarse solver" in result.output
    assert "nan" not in result.output
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")
