"""The options example: reference prices, the random numbers of the CUDA program, and the whole of its command line."""

import numpy as np
import pytest
from typer.testing import CliRunner

from examples import glibc
from examples.binomial_options import app
from examples.binomial_options.__main__ import cli
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
    np.testing.assert_array_equal(glibc.rand(len(values["values"]), int(values["seed"])), values["values"])


def test_later_options_continue_the_sequence():
    S, X, T, _, _ = app.random_options(20)
    for whole, rest in zip((S, X, T), app.random_options(12, first=8)[:3], strict=True):
        np.testing.assert_array_equal(whole[8:], rest)
    assert S.min() >= 5
    assert S.max() <= 30


@pytest.mark.slow
def test_collects_trains_and_compares(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    arguments = ["--options", "2000", "--steps", "64", "--epochs", "20", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "500 unseen options" in result.output
    assert "nan" not in result.output
    assert "inf" not in result.output
    assert (tmp_path / "prices.png").read_bytes().startswith(b"\x89PNG")
    options = app.random_options(500, first=2000)
    errors = app.price(*options, 64, model=str(tmp_path / "surrogate.pt2")) - app.accurate(*options, 64)
    assert np.sqrt(np.mean(errors**2)) < 1.0  # that of the mean price is 5
