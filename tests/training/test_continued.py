"""Trainings that go on from a model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ConfigError, ModelError
from hpacml.runtime.models.model import load
from hpacml.training.config import Split
from hpacml.training.continued import WEIGHTS
from hpacml.training.splits import split
from tests.command import run_hpacml

ROWS = 64


@hpacml.region(
    """tensor functor(f: [i, 0:2] = ([i, 0:2])) tensor functor(g: [i] = ([i]))
    ml(predicated: use) in(f(x[0:n, 0:2])) out(g(y[0:n])) model(net) database(file)""",
)
def curve(x: Any, y: Any, n: int, use: bool, net: object = None, file: str = "data.h5") -> None:
    y[:] = np.sin(3 * x[:, 0]) + x[:, 1]


def collect(low: float, high: float, calls: int = 12, file: str = "data.h5") -> None:
    rng = np.random.default_rng(int(10 * high))
    for _ in range(calls):
        curve(rng.uniform(low, high, (ROWS, 2)), np.zeros(ROWS), ROWS, False, None, str(Path(file).absolute()))
    hpacml.flush()


def settings(**more: Any) -> dict[str, Any]:
    return {"network": {"hidden": [16]}, "epochs": 3, "batch": 32, "threads": 1, "pictures": False, **more}


def train(config: Mapping[str, Any] | None = None, out: str = "net.safetensors", **more: Any) -> Any:
    return hpacml.train(more.pop("data", "data.h5"), config=config or settings(), out=out, quiet=True, **more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    collect(0.0, 1.0)
    return tmp_path


def mistake(net: str, low: float, high: float) -> float:
    x, y = np.random.default_rng(7).uniform(low, high, (500, 2)), np.zeros(500)
    curve(x, y, 500, True, str(Path(net).absolute()))
    return float(np.sqrt(((y - np.sin(3 * x[:, 0]) - x[:, 1]) ** 2).mean()))


def test_a_model_learns_what_came_since_and_its_domain_is_wider(folder: Path) -> None:
    first = train(settings(epochs=20, optimizer={"lr": 1e-2}))
    before = mistake("net.safetensors", 1.0, 2.0)
    narrow = load(str(first.path)).network.domain
    assert narrow is not None
    collect(1.0, 2.0)
    again = train({"epochs": 20, "threads": 1, "pictures": False}, more=first.path, changes={"optimizer.lr": 1e-2})
    assert again.metrics["split"] == (
        "calls one after the other in each of 2 collections: train 16, validation 4, test 4"
    )
    wide = load(str(again.path)).network.domain
    assert again.path == first.path
    assert wide is not None
    assert narrow.high[0].max() < 1.0 < wide.high[0].min()
    assert wide.points == narrow.points + again.metrics["rows"]["train"]
    np.testing.assert_array_equal(wide.low[0] <= narrow.low[0], True)
    assert mistake("net.safetensors", 1.0, 2.0) < 0.6 * before
    assert again.metrics["more"]["rows"] == first.metrics["rows"]["train"]
    assert again.metrics["config"]["network"] == {"hidden": [16]}


@pytest.mark.parametrize("normalize", [{}, {"inputs": "whiten", "targets": "min-max"}, {"inputs": "none"}])
def test_it_begins_where_the_model_is(folder: Path, normalize: dict[str, str]) -> None:
    """Without a step, and with other data, the model is what it was: its weights and its scalings are."""
    first = train(settings(normalize=normalize))
    collect(5.0, 6.0, file="other.h5")
    still = {"epochs": 1, "optimizer": {"lr": 1e-300, "weight_decay": 0}, "threads": 1, "pictures": False}
    again = train(still, out="again.safetensors", more=first.path, data="other.h5")
    x = torch.rand(20, 2)
    torch.testing.assert_close(*(load(str(each.path)).network.run(x) for each in (first, again)), rtol=0, atol=0)
    test = again.metrics["test"]
    assert test["the model before"]["rmse"] == pytest.approx(test["network"]["rmse"])


def test_calls_stay_on_their_sides(folder: Path) -> None:
    first = train()
    collect(1.0, 2.0, 4)
    again = train(more=first.path, out="again.safetensors")
    collect(2.0, 3.0, 1)
    third = train(more=again.path, out="third.safetensors")
    assert (
        third.metrics["split"] == "calls one after the other in each of 3 collections: train 12, validation 2, test 3"
    )
    collect(2.0, 3.0, 11, "other.h5")
    other = train(more=third.path, data="other.h5")
    assert other.metrics["split"].startswith("calls one after the other: ")


def test_parts_of_collections() -> None:
    counts = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7])
    before, after = split(Split(), counts[:10], 0), split(Split(), counts, 0, [10, 14])
    for part in ("train", "validation", "test"):
        known = getattr(before, part)
        np.testing.assert_array_equal(getattr(after, part)[: len(known)], known)
    everything = np.concatenate([after.train, after.validation, after.test])
    np.testing.assert_array_equal(np.sort(everything), np.arange(counts.sum()))
    assert after.train[-1] >= counts[:10].sum()


def test_networks_of_other_files_go_on_too(folder: Path) -> None:
    first = train(out="net.pt2")
    again = train(out="again.pt2", more="net.pt2")
    third = train(out="third.pt2", more="again.pt2")
    assert third.metrics["more"]["rows"] == first.metrics["rows"]["train"] + again.metrics["rows"]["train"]


def odd(network: Mapping[str, Any], inputs: Any, outputs: Any) -> nn.Module:
    return nn.Linear(2, 1)


def odder(network: Mapping[str, Any], inputs: Any, outputs: Any) -> nn.Module:
    return nn.Linear(2, 1, bias=False)


def test_a_network_whose_last_dimension_is_joined_goes_on(folder: Path) -> None:
    first = train(model=odd)
    assert train(out="again.safetensors", more=first.path, model=odd).path.exists()
    with pytest.raises(ConfigError, match=r"its network is made by .*:odd, and this one by .*:odder"):
        train(out="again.safetensors", more=first.path, model=odder)


def test_another_network_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(model=odd)
    monkeypatch.setattr(odd, "__code__", odder.__code__)
    with pytest.raises(ConfigError, match=r"has other weights by now: Unexpected key.*bias"):
        train(out="again.safetensors", more=first.path, model=odd)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (settings(network={"hidden": [8]}), r"its setting 'network' is .*16.*, and this one .*8"),
        (settings(normalize={"targets": "none"}), "its setting 'normalize' is"),
        (settings(dtype={"deploy": "float64"}), "its setting 'dtype' is"),
        (settings(residual=[1]), "its setting 'residual' is"),
    ],
)
def test_other_settings_of_the_network_are_refused(folder: Path, config: dict[str, Any], message: str) -> None:
    first = train()
    with pytest.raises(ConfigError, match=message):
        train(config, out="again.safetensors", more=first.path)
    assert not Path("again.safetensors").exists()


def test_data_of_other_maps_is_refused(folder: Path) -> None:
    first = train()

    @hpacml.region("""
        tensor functor(f: [i, 0:2] = ([i], [i])) tensor functor(g: [i] = ([i]))
        ml(collect) in(f(a[0:n], b[0:n])) out(g(y[0:n])) database("shifted.h5")
    """)
    def shifted(a: Any, b: Any, y: Any, n: int) -> None:
        y[:] = a + b

    for _ in range(12):
        shifted(np.random.rand(ROWS), np.random.rand(ROWS), np.zeros(ROWS), ROWS)
    hpacml.flush()
    with pytest.raises(ConfigError, match="the data is of other maps"):
        train(out="again.safetensors", more=first.path, data="shifted.h5")


def test_a_model_without_its_folder_is_refused(folder: Path) -> None:
    first = train()
    with pytest.raises(ModelError, match=r"none.pt"):
        train(out="again.pt", more="none.pt")
    shutil.copy(first.path, "copy.safetensors")
    with pytest.raises(ConfigError, match=r"there is no '.*copy.train/weights.pt'"):
        train(out="again.pt", more="copy.safetensors")
    (first.folder / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="is damaged"):
        train(out="again.pt", more=first.path)


def test_the_folder_of_another_training_is_refused(folder: Path) -> None:
    first, other = train(), train(settings(seed=1), out="other.safetensors")
    shutil.copy(first.folder / WEIGHTS, other.folder / WEIGHTS)
    with pytest.raises(ConfigError, match=r"is of another training than the model '.*other.safetensors'"):
        train(out="again.pt", more=other.path)


def test_drawn_rows_of_the_test_may_be_known(folder: Path) -> None:
    first = train()
    again = train(settings(split={"shuffle": True}), out="again.safetensors", more=first.path)
    assert any("rows of the test may be some that the model before" in each for each in again.metrics["remarks"])


def test_the_command_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    train()
    given = "train data.h5 --more net.safetensors --out again.safetensors --epochs 1"
    status, out, errors = run_hpacml(monkeypatch, capsys, *given.split())
    assert status == 0, errors
    assert "going on from" in out
    assert "the model before" in out
