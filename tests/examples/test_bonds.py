"""Bonds: against the original program, and against the closed form that their dates allow."""

import numpy as np
import pytest

import hpacml
from examples.bonds import app
from tests.examples.references import oracle

NAMES = {"accrued": "accrued", "dirty": "dirty", "clean": "clean", "forward_yield": "yield"}


@pytest.fixture(scope="module")
def expected():
    return oracle("bonds.npz")


@pytest.fixture(scope="module")
def bonds(expected):
    return tuple(expected[name] for name in ("hpacml_rate", "start_date_mdys", "maturity_date_mdys"))


def test_values_are_those_of_the_original_program(bonds, expected):
    values = app.accurate(*bonds, dtype=np.float64)
    for name, theirs in NAMES.items():
        assert values[name].dtype == np.float64
        np.testing.assert_allclose(values[name], expected[f"hpacml_{theirs}_f64"], rtol=1e-11, atol=1e-11)


def test_values_in_float32_are_those_of_the_original_program(bonds, expected):
    values = app.accurate(*bonds)
    np.testing.assert_array_equal(values["accrued"], expected["hpacml_accrued_f32"])
    for name, theirs in NAMES.items():
        assert values[name].dtype == np.float32
        rtol = 1e-4 if name == "forward_yield" else 1e-5
        np.testing.assert_allclose(values[name], expected[f"hpacml_{theirs}_f32"], rtol=rtol)


def test_random_bonds_are_those_of_the_original_program(bonds):
    for whole, part, theirs in zip(app.random_bonds(256), app.random_bonds(56, first=200), bonds, strict=True):
        np.testing.assert_array_equal(whole, theirs)
        np.testing.assert_array_equal(part, theirs[200:])


def test_values_are_those_of_the_closed_form():
    rates, start, maturity = app.random_bonds(5000, seed=7)
    values = app.accurate(rates, start, maturity, dtype=np.float64)
    accrued = 100 * rates.astype(float) * 179 / 360
    np.testing.assert_allclose(values["accrued"], accrued, rtol=0, atol=1e-10)
    all_of_it, dirty = 100 * (1 + rates.astype(float) / 2), 89.97693786 + accrued
    found = values["forward_yield"] != 0
    assert 0.5 < found.mean() < 0.65
    dirty = np.where(found, dirty, all_of_it)
    exact = np.where(found, 2 * ((all_of_it / dirty) ** 180 - 1), 0.0)
    easy = exact < 1e20  # larger ones take more than the 100 evaluations that the program has
    for part, yields, prices in ((easy, 1e-6, 1e-9), (~easy, 0.5, 1e-2)):
        np.testing.assert_allclose(values["forward_yield"][part], exact[part], rtol=yields, atol=1e-7)
        np.testing.assert_allclose(values["dirty"][part], dirty[part], rtol=prices)
    np.testing.assert_allclose(values["clean"], values["dirty"] - accrued, rtol=0, atol=1e-9)


def test_regions_see_the_bonds_as_the_model_does(tmp_path):
    rates, start, maturity = app.random_bonds(6)
    file = str(tmp_path / "bonds.h5")
    accrued = app.values(rates, start, maturity, multiplier=2, database=file)["accrued"]
    hpacml.flush()
    with hpacml.open_database(file) as data:
        x, y = data["bonds"].dataset(rows="points")[:]
    dates = (each.reshape(3, 8) for each in (start, maturity))
    np.testing.assert_array_equal(x, np.concatenate([rates.reshape(3, 2), *dates], 1))
    np.testing.assert_array_equal(y, accrued.reshape(3, 2))
    with pytest.raises(ValueError, match="6 bonds are no multiple of multiplier=4"):
        app.values(rates, start, maturity, multiplier=4)


def test_a_bond_that_is_due_before_its_issue_is_worth_nothing():
    day = np.array([[2, 1, 2000, 36557]], np.int32)
    values = app.accurate(np.ones(1, np.float32), day, day)
    assert {name: float(value[0]) for name, value in values.items()} == dict.fromkeys(NAMES, 0.0)
