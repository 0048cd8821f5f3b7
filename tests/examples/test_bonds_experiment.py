"""Bonds: the paper's networks, the way from collecting to measuring, and the program on a simulated GPU."""

import json

import numpy as np
import pytest
import torch

import hpacml
from examples.bonds import app, model
from examples.bonds.experiment import EXPERIMENT, TRAINING, UNSEEN
from examples.experiment import Setup
from tests.examples.gpu import assembled, on_gpu
from tests.examples.references import loaded, oracle


def test_the_paper_s_network_gives_what_it_gave():
    """That of Binomial Options, which has the same layers and other features."""
    saved = oracle("net_binomial_h20_h0.npz")
    built = model.build(json.loads(str(saved["config"])), features=5)
    expected = saved["y"]
    np.testing.assert_allclose(loaded(built, saved), expected, rtol=0, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize("second", [0, 3])
def test_the_paper_s_network_is_that_of_the_description(second):
    torch.manual_seed(0)
    config = {"multiplier": 2, "hidden1_features": 4, "hidden2_features": second, "dropout": 0.5}
    built = model.build({"class": "BondsNeuralNetwork", **config})
    low, high = torch.rand(1, 18), 2 + torch.rand(1, 18)
    scales = {"ipt_min": low, "ipt_max": high, "opt_min": -torch.ones(1, 2), "opt_max": torch.full((1, 2), 5.0)}
    spread = {name: torch.randn_like(each) for name, each in built.state_dict().items() if name.startswith("layers")}
    built.load_state_dict({**spread, **scales})
    weights = {name: each.double().numpy() for name, each in built.state_dict().items()}
    x = 3 * torch.rand(50, 18)
    y = ((x - low) / (high - low)).double().numpy()
    sizes = [(8, 18), (6, 8), (2, 6)] if second else [(8, 18), (2, 8)]
    for layer, size in zip(("0", "2", "5")[: len(sizes)], sizes, strict=True):
        assert weights[f"layers.{layer}.weight"].shape == size
        y = y @ weights[f"layers.{layer}.weight"].T + weights[f"layers.{layer}.bias"]
        if size[0] > 2:
            y = np.where(y < 0, 0.01 * y, y)
    expected = np.maximum(y, 0) * 6 - 1
    assert (expected == -1).any()
    assert (expected > -1).any()
    np.testing.assert_allclose(built(x).detach().numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden3": 20}, "has no 'hidden3': it has multiplier, hidden1_features, hidden2_features, dropout"),
        ({"hidden1": 20, "hidden1_features": 20}, "has hidden1_features twice"),
        ({"hidden1_features": 2.5}, "has a wrong hidden1_features: it is an integer"),
    ],
)
def test_configurations_that_are_wrong(config, message):
    with pytest.raises(hpacml.ModelError, match=message):
        model.build(config)


def test_networks_fit_the_region():
    for m in (1, 4):
        for config in EXPERIMENT.networks.values():
            net = model.network(config, [(9 * m,)], [(m,)])
            assert net(torch.zeros(7, 9 * m)).shape == (7, m)


def test_collects_trains_and_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    monkeypatch.setitem(TRAINING, "small", range(400))
    monkeypatch.setitem(UNSEEN, "small", range(400, 500))
    setup, database = Setup(), tmp_path / "data.h5"
    EXPERIMENT.collect(setup, database)
    hpacml.flush()
    settings = {**EXPERIMENT.settings(setup), "network": EXPERIMENT.networks["64"], "epochs": 2, "pictures": False}
    trained = hpacml.train(database, model=EXPERIMENT.factory, config=settings, out=tmp_path / "m.pt2", quiet=True)
    run = EXPERIMENT.program(setup)
    accurate, found = run(), run(str(trained.path))
    rates, issues, maturities = app.random_bonds(100, first=400)
    np.testing.assert_array_equal(accurate, app.accurate(rates, issues, maturities)["accrued"])
    x = np.concatenate([rates[:, None], issues, maturities], 1, dtype=np.float32)
    expected = torch.export.load(trained.path).module()(torch.from_numpy(x))[:, 0].detach()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2)
    errors = {name: abs(each() - accurate).max() for name, each in EXPERIMENT.baselines(setup, database).items()}
    assert list(errors) == ["least squares on the rate", "100 * rate * 179 / 360"]
    assert max(errors.values()) < 1e-3 < abs(found - accurate).max()
    (picture,) = EXPERIMENT.figures(setup, tmp_path, {"m": trained.path})
    assert picture.read_bytes().startswith(b"\x89PNG")
    run(database=str(tmp_path / "again.h5"))
    hpacml.flush()
    with hpacml.open_database(tmp_path / "again.h5") as again:
        np.testing.assert_array_equal(again["bonds"].outputs[0][:].reshape(-1), accurate)


def test_values_of_a_gpu_are_those_of_the_cpu(monkeypatch):
    bonds = app.random_bonds(40)
    expected = app.accurate(*bonds)
    with on_gpu(monkeypatch) as machine:
        results = {name: np.zeros(40, np.float32) for name in expected}
        there = [machine.there(each) for each in (*bonds, *results.values())]
        app.value32(*there, 1, False, False, None, None)
    np.testing.assert_array_equal(results["accrued"], expected["accrued"])
    for name, values in expected.items():
        rtol = 1e-3 if name == "forward_yield" else 1e-5  # libdevice's powers
        np.testing.assert_allclose(results[name], values, rtol=rtol)


@pytest.mark.parametrize("kernel", [app.value32, pytest.param(app.value64, marks=pytest.mark.slow)])
def test_code_for_gpus_is_assembled(kernel, tmp_path):
    assembled(kernel, tmp_path)


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(UNSEEN, "small", range(10))
    with pytest.raises(hpacml.DeviceError, match=r"the device is 'cuda', and .*: choose 'cpu'"):
        EXPERIMENT.program(Setup(device="cuda"))
