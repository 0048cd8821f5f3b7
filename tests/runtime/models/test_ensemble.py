"""Ensembles: means, and how far their members are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.models.model import load

X = torch.linspace(-1, 1, 30).reshape(10, 3)


def nets(count: int = 3, outputs: int = 2) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, outputs)) for _ in range(count)]


class Two(nn.Module):
    def __init__(self, seed: int, named: bool = False) -> None:
        super().__init__()
        self.named = named
        self.scale = nn.Parameter(torch.tensor(1.0 + seed))

    def forward(self, x: torch.Tensor) -> object:
        y = x * self.scale, 10 * x[:, 0] * self.scale
        return dict(zip("ab", y, strict=True)) if self.named else y


def test_means_and_spreads() -> None:
    members = nets()
    mean, spread = hpacml.Ensemble(members)(X)
    each = np.stack([net(X).detach().numpy() for net in members])
    np.testing.assert_allclose(mean.detach(), each.mean(0), rtol=1e-6)
    np.testing.assert_allclose(spread.detach(), each.std(0).max(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("named", [False, True])
def test_the_spread_is_that_of_the_worst_output(named: bool) -> None:
    given = hpacml.Ensemble([Two(0, named), Two(2, named)])(X)
    a, b, spread = (given[key] for key in ("a", "b", "uncertainty")) if named else given
    np.testing.assert_allclose(a.detach(), 2 * X)
    np.testing.assert_allclose(b.detach(), 20 * X[:, 0])
    worst = torch.maximum(X.abs().amax(1), 10 * X[:, 0].abs())[:, None]
    np.testing.assert_allclose(spread.detach(), worst, rtol=1e-6)


@pytest.mark.parametrize("name", ["e.pt", "e.pt2"])
def test_files_hold_ensembles(name: str, tmp_path: Path) -> None:
    ensemble = hpacml.Ensemble(nets())
    path = hpacml.save_model(ensemble, tmp_path / name, example=X)
    found: Any = load(str(path)).network.run(X[:7])
    for one, other in zip(found, ensemble(X[:7]), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("suffix", ["pt", "pt2", "safetensors"])
def test_members_are_files(suffix: str, tmp_path: Path) -> None:
    members = nets()
    paths = [hpacml.save_model(net, tmp_path / f"{k}.{suffix}", example=X) for k, net in enumerate(members)]
    for one, other in zip(hpacml.Ensemble(paths)(X), hpacml.Ensemble(members)(X), strict=True):
        torch.testing.assert_close(one, other)


class Disagreeing(nn.Module):
    """Members of these agree where the first feature is negative."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1) + self.slope * x[:, 0].clamp(min=0.0)


@pytest.mark.parametrize("name", ["", "e.pt2"])
def test_the_original_code_makes_points_of_which_members_disagree(name: str, tmp_path: Path) -> None:
    @hpacml.region("""
        tensor functor(row: [i, 0:2] = ([i, 0:2])) tensor functor(one: [i] = ([i]))
        ml(infer) in(row(x[0:n, 0:2])) out(one(y[0:n])) model(net) guard(below: 0.01)
    """)
    def agreed(x: Any, y: Any, n: int, net: Any) -> None:
        y[:] = 7

    x, y = np.random.default_rng(0).normal(size=(50, 2)), np.zeros(50)
    x[:, 0] += np.sign(x[:, 0])
    net: Any = hpacml.Ensemble([Disagreeing(-1.0), Disagreeing(1.0)])
    if name:
        net = str(hpacml.save_model(net, tmp_path / name, example=x[:3]))
    agreed(x, y, 50, net)
    np.testing.assert_array_equal(y, np.where(x[:, 0] < 0, x.sum(1), 7))


def test_no_points() -> None:
    mean, spread = hpacml.Ensemble(nets())(X[:0])
    assert (mean.shape, spread.shape) == ((0, 2), (0, 1))


def test_members_are_copies() -> None:
    members = nets()
    ensemble = hpacml.Ensemble(members)
    before = ensemble(X)[0].detach().clone()
    with torch.no_grad():
        members[0][0].weight.zero_()
    torch.testing.assert_close(ensemble(X)[0].detach(), before)
    assert all(net.training for net in members)


def test_a_region_with_one_more_output_gets_the_spread() -> None:
    @hpacml.region("""
        tensor functor(row: [i, 0:3] = ([i, 0:3])) tensor functor(two: [i, 0:2] = ([i, 0:2]))
        tensor functor(one: [i, 0:1] = ([i]))
        ml(infer) in(row(x[0:n, 0:3])) out(two(y[0:n, 0:2]), one(u[0:n])) model(net)
    """)
    def apart(x: Any, y: Any, u: Any, n: int, net: Any) -> None:
        raise NotImplementedError

    ensemble, y, u = hpacml.Ensemble(nets()), np.zeros((10, 2)), np.zeros(10)
    apart(X.numpy(), y, u, 10, ensemble)
    np.testing.assert_allclose(u, ensemble(X)[1].detach()[:, 0])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "two members or more"),
        (nets(1), "two members or more"),
        ("net.pt", "two members or more"),
        (nn.ModuleList(nets()), "two members or more"),
        ([nets(1)[0], 7], "and no 7"),
        (["none.pt", "none.pt"], "none.pt"),
    ],
)
def test_others_are_refused(members: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        hpacml.Ensemble(members)


def test_outputs_of_other_points_are_refused() -> None:
    class Odd(Two):
        def forward(self, x: torch.Tensor) -> object:
            return x, x[:2]

    with pytest.raises(ValueError, match=r"float32\[10, 3\], float32\[2, 3\] of an ensemble have not the same points"):
        hpacml.Ensemble([Odd(0), Odd(1)])(X)


def test_data_formats_recommend_another(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="format='export', which holds it"):
        hpacml.save_model(hpacml.Ensemble(nets()), tmp_path / "e.safetensors", example=X)
