"""Where the inputs of a training lie: what files keep of it, and what they may say of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.models.domain import Domain
from hpacml.runtime.models.model import load
from hpacml.runtime.models.survey import surveyed
from hpacml.tools.cli import app

POINTS = np.random.default_rng(0).normal([1.0, -2.0, 3.0], [1.0, 0.1, 10.0], (500, 3))


def saved(path: Path, domain: Any = POINTS, **more: Any) -> Domain:
    """The domain that a file gives back."""
    module = nn.Linear(3, 1)
    hpacml.save_model(module, path, example=torch.zeros(2, 3), domain=domain, **more)
    found = load(str(path)).network.domain
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["m.pt", "m.pt2", "m.safetensors"])
def test_each_format_keeps_it_to_the_last_bit(name: str, tmp_path: Path) -> None:
    found, wanted = saved(tmp_path / name), surveyed([torch.from_numpy(POINTS)], ())
    assert found.features == (3,)
    assert found.points == 500
    np.testing.assert_array_equal(found.low[0], POINTS.min(0))
    np.testing.assert_array_equal(found.high[0], POINTS.max(0))
    assert wanted.mean is not None
    assert found.mean is not None
    assert wanted.whitening is not None
    assert found.whitening is not None
    np.testing.assert_array_equal(found.mean, wanted.mean)
    np.testing.assert_array_equal(found.whitening, wanted.whitening)
    assert found.reach == wanted.reach > 0


def test_functions_of_jax_keep_it(tmp_path: Path) -> None:
    jax = pytest.importorskip("jax")
    pytest.importorskip("flatbuffers")
    path = tmp_path / "m.jax"
    hpacml.save_model(jax.jit(lambda x: 2 * x), path, example=np.zeros((2, 3), np.float32), domain=POINTS)
    found = load(str(path)).network.domain
    assert found is not None
    np.testing.assert_array_equal(found.high[0], POINTS.max(0))


def test_the_distance_is_that_of_mahalanobis(tmp_path: Path) -> None:
    turned = POINTS @ np.array([[1.0, 0.3, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    found = saved(tmp_path / "m.pt", turned)
    offset = turned - turned.mean(0)
    inverse = np.linalg.inv(np.cov(turned.T, bias=True))
    wanted = np.sqrt(np.einsum("ni,ij,nj->n", offset, inverse, offset))
    np.testing.assert_allclose(found.distances(turned), wanted, rtol=1e-6)
    assert found.reach == pytest.approx(wanted.max())


def test_a_model_gets_the_domain_of_another(tmp_path: Path) -> None:
    wanted = saved(tmp_path / "one.pt")
    found = saved(tmp_path / "two.safetensors", tmp_path / "one.pt")
    assert found.to_json() == wanted.to_json()
    hpacml.save_model(nn.Linear(3, 1), tmp_path / "none.pt", example=torch.zeros(2, 3))
    with pytest.raises(ModelError, match=r"none.pt', whose domain is wanted, has none"):
        saved(tmp_path / "three.pt", tmp_path / "none.pt")


def test_without_a_domain_there_is_none(tmp_path: Path) -> None:
    path = hpacml.save_model(nn.Linear(3, 1), tmp_path / "m.pt", example=torch.zeros(2, 3))
    assert load(str(path)).network.domain is None


def test_features_may_come_first() -> None:
    """Of an image with channels in front the points are the pixels, as the functor says, also in a batch of images."""
    maps = ["to: f: [0:2, i, j] = ([i, j], [i, j]) | f(a[0:4, 0:5])", "from: g: [i, j] = ([i, j]) | g(b[0:4, 0:5])"]
    images = torch.rand(7, 2, 4, 5, dtype=torch.float64) + torch.tensor([0.0, 10.0])[:, None, None]
    found = surveyed([images], maps)
    assert found.features == (2,)
    assert found.points == 140
    np.testing.assert_array_equal(found.low[0], images.amin((0, 2, 3)).numpy())
    assert surveyed([images[0]], maps).points == 20
    with pytest.raises(ValueError, match="2 dimensions is not that of a map of 3"):
        surveyed([images[0, 0]], maps)
    assert surveyed([images], ()).features == (5,)  # without maps, the last dimension


def test_several_inputs_have_one_distance() -> None:
    rng = torch.manual_seed(0)
    x = torch.randn(200, 2, dtype=torch.float64, generator=rng)
    y = x.sum(1, keepdim=True) + 1e-3 * torch.randn(200, 1, dtype=torch.float64, generator=rng)
    found = surveyed([x, y], ())
    assert found.features == (2, 1)
    apart = found.distances(np.array([[1.0, 1.0, 2.0], [1.0, 1.0, 0.0]]))
    assert apart[0] < 3 < 1000 < apart[1]  # each feature is in its range, and they do not go together
    unshared = surveyed([x, y[:50]], ())
    assert unshared.whitening is None
    assert unshared.features == (2, 1)


def test_integers_are_numbers() -> None:
    found = surveyed([torch.tensor([3, 1, 2], dtype=torch.int32)], ())
    assert found.features == (1,)
    assert (found.low[0][0], found.high[0][0]) == (1.0, 3.0)


def test_constant_features_have_a_distance() -> None:
    x = np.stack([np.linspace(0, 1, 50), np.full(50, 300.0), np.zeros(50)], 1)
    found = surveyed([torch.from_numpy(x)], ())
    assert found.distances(x).max() == pytest.approx(found.reach)
    assert found.reach < 2
    others = np.array([[0.5, 300.0 * (1 + 1e-12), 0.0], [0.5, 301.0, 0.0], [0.5, 300.0, 1e-12]])
    near, *far = found.distances(others)
    assert near < 2
    assert min(far) > 1000


def test_features_that_always_go_together_have_a_distance() -> None:
    x = np.linspace(0, 1, 50)
    found = surveyed([torch.from_numpy(np.stack([x, 3 * x + 1], 1))], ())
    near, far = found.distances(np.array([[0.2, 1.6], [0.2, 3.4]]))
    assert near < 2
    assert far > 1000


def test_one_point_is_a_domain() -> None:
    found = surveyed([torch.tensor([[2.0, 5.0]])], ())
    assert found.points == 1
    assert found.reach == 0
    assert found.distances(np.array([[2.0, 5.0]]))[0] == 0 < 1000 < found.distances(np.array([[2.0, 5.1]]))[0]


def test_points_of_many_features_have_ranges_alone() -> None:
    found = surveyed([torch.rand(4, 600)], ())
    assert found.features == (600,)
    assert found.whitening is None
    again = Domain.parse(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.high[0], found.high[0])


def test_margins_are_parts_of_the_width() -> None:
    found = surveyed([torch.tensor([[0.0, 7.0], [10.0, 7.0]])], ())
    (low,), (high,) = found.with_margin(0.1)
    assert (list(low), list(high)) == ([-1.0, 7.0], [11.0, 7.0])


def test_joined_domains_are_those_of_all_points() -> None:
    x = torch.from_numpy(POINTS)
    whole, parts = surveyed([x], ()), surveyed([x[:100]], ()).joined(surveyed([x[100:]], ()))
    assert parts.points == 500
    np.testing.assert_array_equal(parts.high[0], whole.high[0])
    np.testing.assert_allclose(parts.distances(POINTS), whole.distances(POINTS), rtol=1e-6)
    with pytest.raises(ValueError, match="one has 3 features, and the other 2"):
        whole.joined(surveyed([x[:, :2]], ()))


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (np.zeros((5, 4)), r"a point of the domain float64\[5, 4\] has 4 features, .* float32\[2, 3\] has 3"),
        ((POINTS, POINTS), r"has 3 \+ 3 features"),
        (np.full((5, 3), np.nan), "input 0 has numbers that are complex or not finite"),
        (np.zeros((2, 3), np.complex128), "input 0 has numbers that are complex or not finite"),
        (np.zeros((0, 3)), "has no elements"),
        ("other.pt", "other.pt"),
        ({1.0, 2.0}, "must be a tensor or an array"),
    ],
)
def test_others_than_inputs_are_refused(domain: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with pytest.raises(ModelError, match=message):
        hpacml.save_model(nn.Linear(3, 1), path, example=torch.zeros(2, 3), domain=domain)
    assert not path.exists()


GOOD = {
    "inputs": [{"low": [0.0, 1.0], "high": [1.0, 1.0]}],
    "points": 3,
    "mean": [0.5, 1.0],
    "whitening": [[2.0], [0.0, 1e6]],
    "reach": 1.5,
}
HOSTILE: list[Any] = [
    *(
        [],
        "text",
        7,
        {},
        {**GOOD, "inputs": []},
        {**GOOD, "inputs": [7]},
        {**GOOD, "inputs": [{"low": [], "high": []}]},
    ),
    {**GOOD, "inputs": [{"low": [0.0, 1.0], "high": [1.0]}]},
    {**GOOD, "inputs": [{"low": [0.0, 2.0], "high": [1.0, 1.0]}]},
    {**GOOD, "inputs": [{"low": [0.0, float("nan")], "high": [1.0, 1.0]}]},
    {**GOOD, "inputs": [{"low": [0.0, -float("inf")], "high": [1.0, 1.0]}]},
    {**GOOD, "inputs": [{"low": [True, 1.0], "high": [1.0, 1.0]}]},
    {**GOOD, "inputs": [{"low": ["0", 1.0], "high": [1.0, 1.0]}]},
    {**GOOD, "inputs": [{"low": [0] * 70_000, "high": [0] * 70_000}]},
    {**GOOD, "inputs": [{"low": [-(10**400), 1.0], "high": [1.0, 1.0]}]},
    *({**GOOD, "points": points} for points in (0, -1, 1.5, True, None, 1 << 70)),
    *({**GOOD, "mean": mean} for mean in (None, [0.5], [0.5, None], "mean")),
    *({**GOOD, "reach": reach} for reach in (-1.0, None, float("nan"), float("inf"), "far")),
    *({**GOOD, "whitening": rows} for rows in (7, [], [[2.0]], [[2.0], [0.0, 1.0], []], [[0.0], [0.0, 1.0]])),
    *(
        {**GOOD, "whitening": rows}
        for rows in ([[2.0], [0.0, -1.0]], [[2.0], [float("nan"), 1.0]], [[2.0, 0.0], [1.0]])
    ),
]


def test_a_good_record_is_read() -> None:
    found = Domain.parse(GOOD)
    assert found.features == (2,)
    assert found.reach == 1.5
    assert found.whitening is not None
    np.testing.assert_array_equal(found.whitening, [[2.0, 0.0], [0.0, 1e6]])


@pytest.mark.parametrize("record", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_records_are_refused(record: Any) -> None:
    with pytest.raises(ValueError, match="domain"):
        Domain.parse(record)


def test_model_info_tells_it(tmp_path: Path) -> None:
    saved(tmp_path / "m.safetensors", np.array([[0.0, 1.0, 2.5], [1.0, 1.0, 3.0]]))
    told = CliRunner().invoke(app, ["model", "info", str(tmp_path / "m.safetensors")], env={"COLUMNS": "200"}).output
    assert "2 points of 3 features, in which no distance is beyond 1" in told
    assert "2.5 to 3" in told
