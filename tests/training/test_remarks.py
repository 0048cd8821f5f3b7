"""What a training says of its data and its networks, and what it takes though it is written in another way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    hpacml.flush()


def small(**settings: Any) -> dict[str, Any]:
    return {"network": {"hidden": [8]}, "epochs": 2, "batch": 64, "threads": 1, "pictures": False, **settings}


def region(body: str = "x.sum(1)", output: str = "[i]", engine: str = "torch") -> Any:
    """A region that is written anew with another body, as in a script that is edited."""
    names: dict[str, Any] = {"np": np}
    exec(f"def total(x, y, n, use): y[:] = {body}", names)
    clauses = f"in(f(x[0:n, 0:3])) out(g(y[0:n])) model('net.pt2') database('d.h5') label('total') engine({engine})"
    functors = f"tensor functor(f: [i, 0:3] = ([i, 0:3])) tensor functor(g: {output} = ([i]))"
    return hpacml.region(f"{functors} ml(predicated: use) {clauses}")(names["total"])


def collect(run: Any, calls: int = 10) -> None:
    rng = np.random.default_rng(0)
    for _ in range(calls):
        run(rng.normal(size=(50, 3)), np.zeros(50), 50, False)
    hpacml.flush()


def test_linear_layers_of_one_number_fit_outputs_without_features() -> None:
    collect(region())
    trained = hpacml.train(
        "d.h5", model=lambda *_: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), config=small(epochs=4),
        out="net.pt2", quiet=True,
    )  # fmt: skip
    x, found = np.random.default_rng(1).normal(size=(50, 3)), np.zeros((2, 50))
    for y, engine in zip(found, ("torch", "compiled"), strict=True):
        region(engine=engine)(x, y, 50, True)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert found[0].std() > 0
    assert trained.metrics["test"]["network"]["per_output"][0]["name"] == "y"
    by_the_family = hpacml.train("d.h5", config=small(), quiet=True)
    assert by_the_family.metrics["test"]["mean"] == trained.metrics["test"]["mean"]


def test_several_outputs_without_features_say_what_to_write() -> None:
    @hpacml.region("""tensor functor(f: [i, 0:1] = ([i])) tensor functor(g: [i] = ([i]))
        ml(collect) in(f(x[0:n])) out(g(y[0:n]), g(z[0:n])) database('two.h5')""")
    def two(x: Any, y: Any, z: Any, n: Any) -> None:
        y[:], z[:] = x, -x

    for _ in range(10):
        two(np.random.default_rng(0).random(9), np.zeros(9), np.zeros(9), 9)

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.one(x), self.other(x)

    with pytest.raises(ModelError, match=r"return y\.squeeze\(-1\) of such an output y"):
        hpacml.train("two.h5", model=lambda *_: Heads(), config=small(), quiet=True)


def test_a_number_is_named_as_such() -> None:
    """It stands in a row beside an element of an array, of which it is none."""

    @hpacml.region("""tensor functor(row: [i, 0:2] = ([i], [0])) tensor functor(one: [i, 0:1] = ([i]))
        ml(collect) in(row(x[0:n], dt)) out(one(y[0:n])) database('number.h5')""")
    def timed(x: Any, dt: Any, y: Any, n: Any) -> None:
        y[:n] = 3 * dt

    for step in range(12):
        timed(np.random.default_rng(step).random(9), float(step), np.zeros(9), 9)
    test = hpacml.train("number.h5", config=small(), quiet=True).metrics["test"]
    assert [name for name in test if "least squares" in name][:2] == ["least squares on dt", "least squares on x"]


def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, but for what comes behind the last epoch."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hpacml.training.train.deployed", stop)
        with pytest.raises(KeyboardInterrupt):
            hpacml.train("d.h5", config=small(), quiet=True)


def test_a_training_with_other_settings_says_that_it_begins_anew(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(region())
    interrupted(monkeypatch)
    hpacml.train("d.h5", config=small(epochs=3))
    out = capsys.readouterr().out
    assert "beginning anew: the training in" in out
    assert "which was not finished, had other settings or data" in out
    hpacml.train("d.h5", config=small(epochs=3))
    assert "beginning anew" not in capsys.readouterr().out


def test_a_save_that_is_torn_begins_anew(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect(region())
    interrupted(monkeypatch)
    save = folder / "model.train" / "last.ckpt"
    save.write_bytes(save.read_bytes()[:2000])
    hpacml.train("d.h5", config=small())
    out = capsys.readouterr().out.replace("\n", " ")
    assert "beginning anew: something has torn the save of the training" in out
    assert "going on" not in out


def test_two_versions_of_a_function_are_said() -> None:
    collect(region())
    assert not said("versions of")
    collect(region("x.sum(1)  # as before"))
    assert not said("versions of")
    collect(region("2 * x.sum(1)"))
    assert said("rows come from 2 versions of ")


def said(text: str) -> bool:
    remarks = hpacml.train("d.h5", config=small(epochs=1), quiet=True).metrics["remarks"]
    return any(text in each for each in remarks)


def test_each_feature_by_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has the best, the files have all."""
    monkeypatch.setenv("COLUMNS", "250")
    functors = "tensor functor(f: [i, 0:5] = ([i, 0:5])) tensor functor(g: [i, 0:2] = ([i, 0:2]))"

    @hpacml.region(f"{functors} ml(collect) in(f(x[0:n, 0:5])) out(g(y[0:n, 0:2])) database('d.h5')")
    def weighted(x: Any, y: Any, n: Any) -> None:
        y[:, 0], y[:, 1] = x @ np.array([1, 2, 5, 4, 3]) * np.sin(x[:, 0]), 1e-3 * x[:, 4]

    rng = np.random.default_rng(0)
    for _ in range(10):
        weighted(rng.normal(size=(50, 5)), np.zeros((50, 2)), 50)
    trained = hpacml.train("d.h5", config=small(epochs=30, optimizer={"lr": 1e-2}))
    names = [f"least squares on x[{k}]" for k in range(5)]
    assert set(names) <= set(trained.metrics["test"])
    out = capsys.readouterr().out
    assert sum(name in out.partition("RMSE of each output")[0] for name in names) == 3
    with open(folder / "model.train" / "test.csv") as file:
        rows = {(row["predictor"], row["output"]): float(row["rmse"]) for row in csv.DictReader(file)}
    assert rows["least squares on x[4]", "y[1]"] < 1e-12
    assert rows["network", "all"] == trained.metrics["test"]["network"]["rmse"]
    assert "the network is the best over all outputs, but not of each: 'y[1]' by least squares on" in out
