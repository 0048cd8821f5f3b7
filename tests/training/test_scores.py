"""Errors of predictions, judged by NumPy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from hpacml.errors import DatabaseError, ModelError
from hpacml.training.scores import EPSILON, METRICS, Scores, scores, table, table_per_output


def errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    p, t = predicted.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    apart = abs(p - t)
    relative = apart / np.maximum(abs(t), EPSILON)
    return {
        "rmse": float(np.sqrt((apart**2).mean())),
        "mae": float(apart.mean()),
        "mape": float(relative.mean()),
        "max": float(apart.max()),
    }


@settings(deadline=None, max_examples=30)
@given(st.data(), st.sampled_from([(), (1,), (3,), (2, 2), (5, 7)]), st.integers(1, 9), st.integers(1, 4))
def test_errors_of_blocks(data: st.DataObject, shape: tuple[int, ...], rows: int, block: int) -> None:
    numbers = st.floats(-1e6, 1e6, width=32)
    truth = data.draw(arrays(np.float32, (rows, *shape), elements=numbers))
    predicted = data.draw(arrays(np.float64, (rows, *shape), elements=st.floats(-1e6, 1e6)))
    scored = Scores([shape], ["price"])
    for k in range(0, rows, block):
        scored.update([torch.tensor(predicted[k : k + block])], [torch.tensor(truth[k : k + block])])
    result = scored.result()
    assert result["rows"] == rows
    expected = errors(predicted, truth)
    assert {metric: result[metric] for metric in METRICS} == pytest.approx(expected, rel=1e-12)
    several = 1 < np.prod(shape, dtype=int) <= 32
    places = list(np.ndindex(shape)) if several else [None]
    assert [each["name"] for each in result["per_output"]] == [
        f"price{list(place)}" if place is not None else "price" for place in places
    ]
    for each, place in zip(result["per_output"], places, strict=True):
        part = (slice(None), *(place or ()))
        expected = errors(predicted[part], truth[part])
        assert {metric: each[metric] for metric in METRICS} == pytest.approx(expected, rel=1e-12)


def test_outputs_of_several_types() -> None:
    rng = np.random.default_rng(1)
    truth = [rng.integers(0, 256, (40, 3), np.uint8), rng.normal(size=40).astype(np.float32)]
    predicted = [rng.integers(0, 256, (40, 3), np.uint8), rng.normal(size=40)]
    result = scores(predicted, truth, ["image", "x"])
    flat = [np.concatenate([each.ravel().astype(float) for each in side]) for side in (predicted, truth)]
    assert {metric: result[metric] for metric in METRICS} == pytest.approx(errors(*flat))
    assert [each["name"] for each in result["per_output"]] == ["image[0]", "image[1]", "image[2]", "x"]
    assert result["per_output"][1]["max"] == errors(predicted[0][:, 1], truth[0][:, 1])["max"]


def test_float64() -> None:
    truth = 1e9 + np.arange(1000.0)
    assert scores(truth + 0.25, truth)["rmse"] == 0.25


def test_predictions_that_are_nan() -> None:
    result = scores(np.array([[1.0, np.nan], [2, 3], [4, 5]]), np.ones((3, 2)))
    assert all(np.isnan(result[metric]) for metric in METRICS)
    assert result["per_output"][0]["max"] == 3
    assert np.isnan(result["per_output"][1]["max"])


def test_predictions_are_not_broadcast() -> None:
    message = "predictions have the shapes [5], but the outputs are [5, 1]"
    with pytest.raises(ModelError, match=re.escape(message)):
        scores(np.zeros(5), np.zeros((5, 1)))
    with pytest.raises(ModelError, match="do not have the same rows"):
        scores([np.zeros(5), np.zeros(4)], [np.zeros(5), np.zeros(4)])


def test_truths_that_cannot_be_scored() -> None:
    with pytest.raises(DatabaseError, match=re.escape("price[1] is nan in row 2")):
        scores(np.zeros((3, 2)), np.array([[0, 1], [2, 3], [4, np.nan]]), ["price"])
    with pytest.raises(DatabaseError, match="no rows"):
        scores(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(DatabaseError, match="no numbers"):
        scores(np.zeros((3, 0)), np.zeros((3, 0)))


def test_a_default_device_is_not_that_of_scores() -> None:
    truth = np.zeros((3, 2))
    with torch.device("meta"):
        assert scores(truth + 1, truth)["rmse"] == 1


def test_tables_mark_the_winners() -> None:
    truth = np.array([[1.0, 2], [3, 4]])
    predicted = {"network [b]": np.array([[1.5, 2], [3.5, 4]]), "mean": np.array([[1.0, 3], [3, 5]])}
    results = {name: scores(each, truth) for name, each in predicted.items()}
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(results), table_per_output(results))
    lines = [re.sub(r"[│\s]+", " ", line).strip() for line in captured.get().splitlines()]
    assert "network [b] 0.354 * 0.25 * 16.67% * 0.5 *" in lines
    assert "mean 0.707 0.5 18.75% 1" in lines
    assert "output[0] 0.5 0 *" in lines
    assert "output[1] 0 * 1" in lines
