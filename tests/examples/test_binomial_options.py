"""The options example: reference prices and networks, the random numbers of the CUDA program, and all that it does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hpacml
from examples import glibc
from examples.binomial_options import app, closed_form, experiment, model
from examples.binomial_options.__main__ import cli
from examples.experiment import Setup
from tests.examples.references import oracle


@pytest.mark.parametrize("steps", [128, 1024])
def test_prices_are_those_of_the_original_program(steps):
    values = oracle("binomial.npz")
    prices = app.accurate(*(values[name] for name in "SXTRV"), steps)
    np.testing.assert_allclose(prices, values[f"call_f64_{steps}"], rtol=0, atol=1e-9)


def test_preparation_is_that_of_the_original_program():
    values = oracle("binomial.npz")
    prepared = app.prepare(*(values[name] for name in "TRV"), 1024)
    for name, value in zip(("vDt", "puByDf", "pdByDf"), prepared, strict=True):
        np.testing.assert_allclose(value, values[f"{name}_1024"], rtol=1e-12)


def test_rand_is_that_of_glibc():
    values = oracle("glibc_rand.npz")
    with pytest.raises(ValueError, match="there are no rows 0 to -3"):
        app.random_options(-3)
    np.testing.assert_array_equal(glibc.rand(len(values["values"]), int(values["seed"])), values["values"])


def test_later_options_continue_the_sequence():
    S, X, T, _, _ = app.random_options(20)
    for whole, rest in zip((S, X, T), app.random_options(12, first=8)[:3], strict=True):
        np.testing.assert_array_equal(whole[8:], rest)
    assert S.min() >= 5
    assert S.max() <= 30


def test_regions_see_options_as_the_model_does(tmp_path):
    S, X, *rest = app.random_options(12)
    prepared = app.prepare(*rest, 16)
    prices = app.price_prepared(S, X, *prepared, 16, database=str(tmp_path / "options.h5"), multiplier=4)
    np.testing.assert_array_equal(prices, app.accurate(S, X, *rest, 16))
    hpacml.flush()
    with hpacml.open_database(tmp_path / "options.h5") as data:
        x, y = data["binomial"].dataset(rows="points")[:]
    rows = np.concatenate([each.reshape(3, 4) for each in (S, X, *prepared)], 1)  # S of four options, X of four, ...
    np.testing.assert_array_equal(x, rows)
    np.testing.assert_array_equal(y, prices.reshape(3, 4))
    net = torch.nn.Linear(20, 4).double().requires_grad_(False)
    found = app.price_prepared(S, X, *prepared, 16, model=net, multiplier=4)
    np.testing.assert_allclose(found, net(torch.from_numpy(rows)).ravel())
    with pytest.raises(ValueError, match="12 options are no multiple of multiplier=5"):
        app.price(S, X, *rest, 16, multiplier=5)


def test_the_network_of_the_paper_gives_what_it_gave():
    saved = oracle("net_binomial_h20_h0.npz")
    config = json.loads(str(saved["config"]))
    net = model.build(config)
    assert sum(each.numel() for each in net.parameters()) == config["trainable_params"]
    net.load_state_dict({name[2:]: torch.from_numpy(saved[name]) for name in saved if name.startswith("w:")})
    y = saved["y"]
    np.testing.assert_allclose(net(torch.from_numpy(saved["x"])), y, rtol=0, atol=1e-4 * np.ptp(y))


def test_networks_of_two_hidden_layers_for_several_options():
    config = {"hidden1_features": 6, "hidden_2_features": 3, "multiplier": 2, "dropout": 0.1}
    net = model.build(config)
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes == {
        "ipt_min": (10,),
        "ipt_max": (10,),
        "opt_min": (2,),
        "opt_max": (2,),
        "layers.0.weight": (12, 10),
        "layers.0.bias": (12,),
        "layers.2.weight": (6, 12),
        "layers.2.bias": (6,),
        "layers.5.weight": (2, 6),
        "layers.5.bias": (2,),
    }
    rng = np.random.default_rng(0)
    state = {name: rng.normal(size=(1, *shape) if len(shape) == 1 else shape) for name, shape in shapes.items()}
    state = {name: each.ravel() if "bias" in name else each for name, each in state.items()}
    net.load_state_dict({name: torch.from_numpy(each) for name, each in state.items()})
    x = rng.normal(size=(7, 10))
    y = (x - state["ipt_min"]) / (state["ipt_max"] - state["ipt_min"])
    for layer in (0, 2, 5):
        y = y @ state[f"layers.{layer}.weight"].T + state[f"layers.{layer}.bias"]
        y = np.where(y < 0, (0.0 if layer == 5 else 0.01) * y, y)
    expected = y * (state["opt_max"] - state["opt_min"]) + state["opt_min"]
    np.testing.assert_allclose(net(torch.from_numpy(x)), expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))
    trained = model.network(config, [(10,)], [(2,)])
    assert [tuple(each.shape) for each in trained.parameters()] == list(shapes.values())[4:]


def test_configurations_that_are_none_are_refused():
    with pytest.raises(hpacml.ModelError, match=r"has no 'hiden1_features': it has hidden1_features, .*; did you"):
        model.build({"hiden1_features": 5})
    with pytest.raises(hpacml.ModelError, match="has hidden1_features twice: leave out hidden1"):
        model.build({"hidden1_features": 5, "hidden1": 6})
    with pytest.raises(hpacml.ModelError, match="has multiplier = 2, and the data has rows of 1 options"):
        model.network({"multiplier": 2}, [(5,)], [(1,)])


def test_prices_in_closed_form_are_those_of_the_original_program():
    values = oracle("binomial.npz")
    S, X, T, R, V = (values[name] for name in "SXTRV")
    prices, without_volatility = (call() for call in closed_form.of_options(S, X, T, R, V).values())
    np.testing.assert_allclose(prices, values["black_scholes"], rtol=0, atol=1e-6)
    inputs = np.stack([S, X, *app.prepare(T, R, V, 1024)], 1)
    found = [baseline(inputs) for baseline in closed_form.by_inputs(1024).values()]
    np.testing.assert_allclose(found, [prices, without_volatility], rtol=0, atol=1e-9)


def test_the_experiment_from_data_to_prices_by_a_model(tmp_path, monkeypatch):
    monkeypatch.setitem(experiment.SIZES, "small", experiment.Size(training=300, first=300, options=50, steps=32))
    setup, this, data = Setup(), experiment.EXPERIMENT, tmp_path / "data.h5"
    this.collect(setup, data)
    settings = {**this.settings(setup), "epochs": 2, "network": this.networks["5-16-8-1"], "pictures": False}
    trained = hpacml.train(data, model=this.factory, config=settings, out=tmp_path / "net.pt2", quiet=True)
    run = this.program(setup)
    accurate, found = run(), run(model=str(trained.path))
    options = app.random_options(350)
    np.testing.assert_array_equal(accurate, app.accurate(*options, 32)[300:])
    assert found.shape == (50,)
    assert np.ptp(found) > 0
    assert (found >= 0).all()
    simple = {name: call() for name, call in this.baselines(setup, data).items()}
    assert abs(simple["Black-Scholes"] - accurate).max() < 0.2
    assert (simple["max(S - X exp(-RT), 0)"] <= simple["Black-Scholes"] + 1e-6).all()
    pictures = this.figures(setup, tmp_path, {"net": trained.path})
    assert [each.read_bytes()[:4] for each in pictures] == [b"\x89PNG"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(hpacml.DeviceError, match=r"the device is 'cuda', and .*: choose 'cpu', or install a Torch"):
        experiment.EXPERIMENT.program(Setup(device="cuda"))
    with pytest.raises(hpacml.DeviceError, match="the device is 'cuda'"):
        experiment.EXPERIMENT.collect(Setup(device="cuda"), Path("never.h5"))


@pytest.mark.slow
def test_collects_trains_and_compares(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    arguments = ["--options", "2000", "--steps", "64", "--epochs", "20", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "500 unseen options" in result.output
    for row in ("surrogate (torch)", "surrogate (compiled)", "Black-Scholes"):
        assert row in result.output
    assert "nan" not in result.output
    assert "inf" not in result.output
    assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")
    options = app.random_options(500, first=2000)
    errors = app.price(*options, 64, model=str(tmp_path / "surrogate.pt2")) - app.accurate(*options, 64)
    assert np.sqrt(np.mean(errors**2)) < 1.0  # that of the mean price is 5
