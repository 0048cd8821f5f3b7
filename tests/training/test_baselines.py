"""Predictors without a network, judged by NumPy on all rows at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hpacml.errors import DatabaseError, ModelError
from hpacml.training import baselines, comparison, rows
from hpacml.training.baselines import Unchanged, fit
from hpacml.training.comparison import exceptions, score, verdict
from tests.training.rows import Memory

RNG = np.random.default_rng(3)

ALL = "least squares on all features"


def predictions(train: Memory, name: str, *x: np.ndarray, **settings: Any) -> list[np.ndarray]:
    predict = fit(train, **settings).predictors[name]
    return [each.numpy() for each in predict([torch.tensor(each) for each in x])]


def affine(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """NumPy's least squares of the centred columns."""
    weights, *_ = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-12)
    return lambda given: (given - x.mean(0)) @ weights + y.mean(0)


@pytest.mark.parametrize("piece", [1, 30, 1 << 21])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_each_is_what_numpy_says(block: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PIECE", piece)
    x = [RNG.normal(size=(50, 2, 2)).astype(np.float32), RNG.integers(0, 256, 50, np.uint8)]
    y = [RNG.normal(size=(50, 3)), RNG.integers(-9, 9, (50, 1))]
    flat = np.concatenate([x[0].reshape(50, 4), x[1].reshape(50, 1)], 1, dtype=np.float64)
    truth = np.concatenate(y, 1)
    fitted = fit(Memory(x, y, block))
    assert fitted.notes == ()
    new = [each[:9] for each in x]
    given = [torch.tensor(each) for each in new]
    best = sorted(range(5), key=lambda k: ((affine(flat[:, [k]], truth)(flat[:, [k]]) - truth) ** 2).sum())
    names = ["input0[0, 0]", "input0[0, 1]", "input0[1, 0]", "input0[1, 1]", "input1"]
    expected = {
        "mean": np.tile(truth.mean(0), (9, 1)),
        "median": np.tile(np.median(truth, 0), (9, 1)),
        **{f"least squares on {names[k]}": affine(flat[:, [k]], truth)(flat[:9, [k]]) for k in best},
        ALL: affine(flat, truth)(flat[:9]),
    }
    assert list(fitted.predictors) == list(expected)
    assert fitted.minor == {f"least squares on {names[k]}" for k in best[3:]}
    for name, predict in fitted.predictors.items():
        found = [each.numpy() for each in predict(given)]
        assert [each.shape for each in found] == [(9, 3), (9, 1)]
        np.testing.assert_allclose(np.concatenate(found, 1), expected[name], rtol=1e-10, atol=1e-12)


def test_features_that_are_constant_or_equal_or_more_than_rows() -> None:
    x = RNG.normal(size=(40, 6)) * 10.0 ** np.arange(-9, 9, 3) + 1e6
    x[:, 2] = 0.1
    x[:, 4] = x[:, 3]
    y = x[:, [3]] * 1e-3 + x[:, [0]] * 1e6
    for count in (40, 4, 1):
        found = predictions(Memory([x[:count]], [y[:count]]), ALL, x[:count])[0]
        np.testing.assert_allclose(found, y[:count], atol=1e-6 * y.std())
    wide = RNG.normal(size=(5, 20))
    weights = np.linalg.pinv(wide - wide.mean(0)) @ (y[:5] - y[:5].mean(0))
    new = RNG.normal(size=(3, 20))
    found = predictions(Memory([wide], [y[:5]]), ALL, new)[0]
    np.testing.assert_allclose(found, (new - wide.mean(0)) @ weights + y[:5].mean(0), rtol=1e-9)


def test_ill_conditioned_features() -> None:
    """The normal equations would lose all digits of these."""
    t = np.linspace(0, 1, 300)[:, None]
    x = 1 + 1e-7 * np.concatenate([t, t + 1e-4 * RNG.normal(size=t.shape)], 1)
    y = (x[:, [0]] - x[:, [1]]) * 1e11
    np.testing.assert_allclose(predictions(Memory([x], [y]), ALL, x)[0], y, atol=1e-4)


def test_the_first_of_equal_features_is_named() -> None:
    x = RNG.normal(size=(500, 9))
    x[:, 7] = x[:, 3]
    train = Memory([x], [2 * x[:, [3]] + 0.01 * RNG.normal(size=(500, 1))], 33)
    assert [name for name in fit(train).predictors if "input0" in name][:2] == [
        f"least squares on input0[{k}]" for k in (3, 7)
    ]


def test_of_many_features_the_best_are_fitted() -> None:
    x = RNG.normal(size=(500, 20))
    fitted = fit(Memory([x], [x[:, [7]] + 0.1 * x[:, [2]]]))
    assert list(fitted.predictors)[2:4] == ["least squares on input0[7]", "least squares on input0[2]"]
    assert len(fitted.predictors) == 2 + 3 + 1
    assert not fitted.minor


def test_features_of_one_name() -> None:
    class Twice(Memory):
        names = (["a", "a"], ["b"])

    x = RNG.normal(size=(50, 1)), RNG.normal(size=(50, 1))
    names = list(fit(Twice(x, [x[1]])).predictors)
    assert names[2:4] == ["least squares on a (feature 1)", "least squares on a (feature 0)"]


def test_features_that_do_not_vary() -> None:
    fitted = fit(Memory([np.full((9, 2), 0.1)], [np.arange(9.0)]))
    assert list(fitted.predictors) == ["mean", "median", ALL]
    assert fitted.notes == ("there are no least squares on a single feature: none varies",)
    assert predictions(Memory([np.full((9, 2), 0.1)], [np.arange(9.0)]), ALL, np.ones((2, 2)))[0].tolist() == [4, 4]


@pytest.mark.parametrize(("features", "outputs"), [(513, 1), (2, 20_000), (0, 1)])
def test_without_least_squares(features: int, outputs: int) -> None:
    y = RNG.normal(size=(7, outputs)).astype(np.float32)
    fitted = fit(Memory([RNG.normal(size=(7, features))], [y]))
    assert list(fitted.predictors) == ["mean", "median"]
    limit = f"{features} features and {outputs} numbers of outputs, where each may be 1 to 512"
    assert fitted.notes == (f"there are no least squares, with {limit}",)
    found = fitted.predictors["median"]([torch.zeros(2, features)])[0].numpy()
    np.testing.assert_array_equal(found, np.tile(np.median(y, 0).astype(np.float64), (2, 1)))


def test_numbers_that_are_too_large() -> None:
    x = RNG.choice([-1e308, 1e308], (50, 2))
    fitted = fit(Memory([x], [x[:, 0] * 0.5]))
    assert fitted.notes == ("there are no least squares: numbers are too large for float64",)


def test_a_median_of_many_rows_is_that_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    y = RNG.normal([0, 50], size=(9000, 2))
    monkeypatch.setattr(baselines, "KEPT", 6000)
    fitted = fit(Memory([y], [y], 100))
    kept = int(
        re.fullmatch(r"the median is that of a random sample of (\d+) of the 9000 training rows", fitted.notes[0])[1]
    )
    assert 2700 < kept < 3300
    np.testing.assert_allclose(fitted.predictors["median"]([torch.zeros(1, 2)])[0][0], [0, 50], atol=0.1)
    monkeypatch.setattr(baselines, "KEPT", 1)
    assert "sample of 1 of" in fit(Memory([y], [y])).notes[0]


def test_persistence() -> None:
    x = [RNG.normal(size=(30, 4)), RNG.integers(0, 256, (30, 2), np.uint8)]
    y = [RNG.normal(size=(30, 3)), RNG.integers(0, 256, (30, 2), np.uint8)]
    found = predictions(Memory(x, y), "persistence", *(each[:5] for each in x), persistence=[(1, 1)])
    np.testing.assert_array_equal(found[1], x[1][:5])
    np.testing.assert_allclose(found[0], np.tile(y[0].mean(0), (5, 1)))


def test_elements_that_stay_and_others() -> None:
    x = [RNG.normal(size=(30, 4, 5)), RNG.integers(0, 256, (30, 4), np.uint8)]
    y = [RNG.normal(size=(30, 4, 2)), RNG.normal(size=(30, 4))]
    kept = [Unchanged(0, 0, ((4, 1),), 2), Unchanged(1, 1, ((0, 0),), 2)]
    found = predictions(Memory(x, y), "persistence", *(each[:3] for each in x), persistence=kept)
    np.testing.assert_array_equal(found[0][..., 1], x[0][:3, :, 4])
    np.testing.assert_allclose(found[0][..., 0], np.tile(y[0][..., 0].mean(0), (3, 1)))
    np.testing.assert_array_equal(found[1], x[1][:3])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_functions_are_given_doubles(shape: tuple[int, ...]) -> None:
    """Those of integers would wrap."""
    x = RNG.integers(200, 256, (30, 2), np.uint8)
    total = x.astype(float).sum(1)
    given = {"sum": lambda x: x[:, 0] + x[:, 1]}
    train = Memory([x], [total.reshape(30, *shape)])
    compared = score(fit(train, functions=given), train, lambda x: [torch.zeros(len(x[0]), *shape)])
    assert compared.results["sum"]["max"] == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: 1 / 0, "closed form: the function fails: ZeroDivisionError: division by zero"),
        (lambda x: x.__iadd__(1), "closed form: the function fails: ValueError: output array is read-only"),
        (lambda x: (x, x), "closed form: predictions have the shapes [16, 2], [16, 2], but the outputs are [16, 3]"),
        (lambda x: 3.0, "closed form: predictions have the shapes [], but the outputs are [16, 3]"),
        (lambda x: ["a"], "closed form: the function fails: ValueError: could not convert string to float"),
        ("formula", "the baseline 'closed form' is a str, not a function"),
    ],
)
def test_functions_that_fail(function: Any, message: str) -> None:
    train = Memory([np.ones((30, 2))], [np.ones((30, 3))], 20)
    with pytest.raises(ModelError, match=re.escape(message)):
        fit(train, functions={"closed form": function})
    np.testing.assert_array_equal(train.x[0], 1)


@pytest.mark.parametrize("name", ["mean", ALL, comparison.MODEL])
def test_names_that_are_taken(name: str) -> None:
    train = Memory([np.arange(9.0)], [np.arange(9.0)])
    with pytest.raises(ModelError, match=f"'{name}' is already the name of a baseline"):
        fit(train, functions={name: lambda x: x})


def test_data_that_is_not_finite() -> None:
    good = Memory([np.zeros((25, 2, 3)), np.zeros(25)], [np.zeros((25, 1))])
    for value in (np.nan, np.inf):
        bad = Memory([np.zeros((25, 2, 3)), np.zeros(25)], [np.zeros((25, 1))])
        bad.x[0][23, 1, 2] = value
        with pytest.raises(DatabaseError, match=re.escape(f"input0[1, 2] is {value} in call 2, row 3")):
            fit(bad)
        with pytest.raises(DatabaseError, match=re.escape(f"input0[1, 2] is {value} in call 2, row 3")):
            score(fit(good), bad, lambda x: [torch.zeros(len(x[0]), 1)])


def test_no_rows() -> None:
    some, none = (Memory([np.zeros((count, 2))], [np.zeros((count, 1))]) for count in (3, 0))
    with pytest.raises(DatabaseError, match="the training part has no rows"):
        fit(none)
    with pytest.raises(DatabaseError, match="the test part has no rows"):
        score(fit(some), none, lambda x: [torch.zeros(len(x[0]), 1)])


def test_a_linear_target() -> None:
    x = RNG.normal(size=(200, 5))
    y = 3 * x[:, [3]] - 2
    train, test = (Memory([x[part]], [y[part]]) for part in (slice(150), slice(150, 200)))
    fitted = fit(train)
    compared = score(fitted, test, lambda x: [torch.tensor(np.full((len(x[0]), 1), -2.0))])
    assert [*compared.results][:4] == ["network", "mean", "median", "least squares on input0[3]"]
    assert [*compared.shown] == [name for name in compared.results if name not in fitted.minor]
    assert len(compared.results) == 3 + 5 + 1 == len(compared.shown) + 2
    assert compared.results["network"]["rmse"] == pytest.approx(float((y[150:] + 2).std()), rel=0.2)
    assert compared.results["least squares on input0[3]"]["rmse"] < 1e-13
    found = compared.verdict()
    assert found is not None
    assert re.fullmatch(
        r"least squares on input0\[3\] has RMSE \S+ on the test rows, the network [23](\.\d+)?: use it instead", found
    )
    assert score(fitted, test, lambda x: [x[0][:, 3:4] * 3 - 2]).verdict() is None


def errors(rmse: float, mae: float) -> Any:
    return {"rmse": rmse, "mae": mae}


@pytest.mark.parametrize(
    ("network", "others", "expected"),
    [
        (errors(0.1, 0.1), {"mean": errors(1, 1)}, None),
        (errors(1, 1), {"mean": errors(1, 1)}, "mean has RMSE 1 on the test rows, the network 1: use it instead"),
        (
            errors(0.1, 0.1),
            {"mean": errors(1, 1), "median": errors(1.2, 0.05)},
            "median has MAE 0.05 on the test rows, the network 0.1, which is better by RMSE alone",
        ),
        (
            errors(np.nan, np.nan),
            {"mean": errors(2, 2), "f": errors(np.nan, np.nan), "g": errors(1.001, 1), "h": errors(1, 1)},
            "g has RMSE 1 on the test rows, the network nan: use it instead",
        ),
        (errors(0.1, 0.1), {"mean": errors(1, 1), "f": errors(np.nan, np.nan)}, None),
    ],
)
def test_verdicts(network: Any, others: dict[str, Any], expected: str | None) -> None:
    assert verdict({"network": network, **others}) == expected


def several(*rmse: float) -> Any:
    return {"rmse": max(rmse), "mae": 0.0, "per_output": [{"name": f"y{k}", "rmse": e} for k, e in enumerate(rmse)]}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"network": several(1, 1), "mean": several(2, 2)}, None),
        ({"network": several(1), "mean": several(0.5)}, None),  # of one output, the verdict says it
        ({"network": several(1, 2), "mean": several(0.5, 1)}, None),  # and of all
        ({"network": several(1, 2), "mean": several(3, 3), "f": several(0.5, 9)}, "'y0' by f (RMSE 0.5, not 1); such"),
        (
            {"network": several(1, 1, 1, 1, 9), "mean": several(1, 1, 0, 0, 10)},
            "'y0' by mean (RMSE 1, not 1), 'y1' by mean (RMSE 1, not 1), 'y2' by mean (RMSE 0, not 1) and 1 more; such",
        ),
    ],
)
def test_outputs_of_which_a_baseline_is_better(results: Any, expected: str | None) -> None:
    said = exceptions(results)
    assert (said is None) == (expected is None)
    assert said is None or f"but not of each: {expected} outputs need no network" in said
