"""Models that take derivatives themselves, as potentials do for their forces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from typer.testing import CliRunner

import hpacml
from hpacml.runtime.models import torchscript
from hpacml.runtime.models.model import passed
from hpacml.tools.cli import app

NET = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def energy(x: torch.Tensor) -> torch.Tensor:
    return NET(x).sum()


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = NET

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_(True)
        found = torch.autograd.grad([self.net(x).sum()], [x])[0]
        assert found is not None
        return -found


def scripted() -> torch.jit.ScriptModule:
    with torchscript.jit() as jit:
        return jit.script(Scripted())


def by_grad(x: torch.Tensor) -> torch.Tensor:
    x.requires_grad_()
    return -torch.autograd.grad(energy(x), x)[0]


def by_backward(x: torch.Tensor) -> torch.Tensor:
    x = x.requires_grad_()
    energy(x).backward(inputs=[x])
    return -x.grad


def by_grad_where_it_is_turned_on(x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        return by_grad(x.detach())


def outside_of_inference_mode(x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        return by_grad(x.clone())


def by_forward_mode(x: torch.Tensor) -> torch.Tensor:
    columns: list[torch.Tensor] = []
    for column in torch.eye(3, dtype=x.dtype):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.detach(), column.expand_as(x).contiguous())
            columns.append(-forward_ad.unpack_dual(NET(dual)).tangent)
    return torch.cat(columns, 1)


WAYS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    by_grad,
    by_backward,
    by_grad_where_it_is_turned_on,
    outside_of_inference_mode,
    by_forward_mode,
    lambda x: -torch.func.grad(energy)(x),
    lambda x: -torch.autograd.functional.jacobian(energy, x),
    lambda x: -torch.vmap(torch.func.grad(energy))(x),
]


class Potential(nn.Module):
    def __init__(self, forces: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net, self.forces = NET, forces

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forces(x)


@hpacml.region("tensor functor(f: [i, 0:3] = ([i, 0:3])) ml(infer) in(f(a[0:n, 0:3])) out(f(y[0:n, 0:3])) model(net)")
def region(a, y, n, net):
    raise AssertionError


@hpacml.region(
    """tensor functor(f: [i, 0:3] = ([i, 0:3])) tensor functor(p: [i, 0:3] = ([i, 2:-1:-1])) tensor functor(e: [i, 0:1] = ([i]))
    ml(infer) in(p(a[0:n, 0:3])) out(e(energies[0:n]), f(y[0:n, 0:3])) model(net)""",
)
def reversed_region(a, energies, y, n, net):
    raise AssertionError


def expected(a: np.ndarray) -> np.ndarray:
    return by_grad(torch.from_numpy(a.copy())).numpy()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of Torch's own, for forward mode
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_forces(way: int) -> None:
    """The same arrays each time: gradients of one call are none of the next."""
    a, y = np.zeros((4, 3)), np.zeros((4, 3))
    for model in (Potential(WAYS[way]), WAYS[way]):
        for call in range(4):
            a[:] = np.random.default_rng(call).random((4, 3))
            with torch.inference_mode(call == 3):
                region(a, y, 4, model)
            np.testing.assert_allclose(y, expected(a), rtol=1e-12)
    assert all(p.grad is None for p in NET.parameters())
    assert torch.is_grad_enabled()


def test_energies_and_forces_of_gathered_positions() -> None:
    def net(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x.requires_grad_()
        each = NET(x)
        return each, -torch.autograd.grad(each.sum(), x)[0]

    y, energies = np.zeros((4, 3)), np.zeros(4)
    for call in range(3):
        a = np.random.default_rng(call).random((4, 3))
        reversed_region(a, energies, y, 4, net)
        flipped = np.ascontiguousarray(a[:, ::-1])
        np.testing.assert_allclose(y, expected(flipped), rtol=1e-12)
        np.testing.assert_allclose(energies, NET(torch.from_numpy(flipped)).detach()[:, 0].numpy(), rtol=1e-12)


def test_forces_in_torchscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")

    potential = scripted()
    with torchscript.jit() as jit:
        jit.save(potential, tmp_path / "m.pt")
    a, y = np.random.default_rng(0).random((4, 3)), np.zeros((4, 3))
    for model in (potential, tmp_path / "m.pt"):
        y[:] = 0
        region(a, y, 4, model)
        np.testing.assert_allclose(y, expected(a), rtol=1e-12)


def test_verify_runs_potentials_as_regions_do(tmp_path: Path) -> None:
    file = hpacml.save_model(scripted(), tmp_path / "s.pt", example=torch.zeros(4, 3, dtype=torch.float64))
    result = CliRunner().invoke(app, ["model", "verify", str(file)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "forces",
    [by_grad_where_it_is_turned_on, *WAYS[-3:]],
    ids=["enable_grad", "torch.func.grad", "torch.autograd.functional.jacobian", "torch.vmap"],
)
def test_potentials_that_turn_gradients_on_are_saved(
    forces: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    file = hpacml.save_model(Potential(forces), tmp_path / "m.pt2", example=torch.ones(4, 3, dtype=torch.float64))
    a, y = np.random.default_rng(0).random((7, 3)), np.zeros((7, 3))
    for rows in (7, 1):
        region(a, y, rows, file)
        np.testing.assert_allclose(y[:rows], expected(a[:rows]), rtol=1e-12)


def test_a_model_that_fails_with_gradients_too_says_why() -> None:
    def net(x: torch.Tensor) -> torch.Tensor:
        by_grad(x)
        raise ValueError("no forces today")

    with pytest.raises(hpacml.ModelError, match="ValueError: no forces today"):
        region(np.ones((4, 3)), np.zeros((4, 3)), 4, net)
    assert not passed(net).gradients


def test_other_models_record_no_gradients() -> None:
    modes: list[bool] = []
    region(np.ones((4, 3)), np.zeros((4, 3)), 4, lambda x: (modes.append(torch.is_grad_enabled()), x)[1])
    assert modes == [False]
