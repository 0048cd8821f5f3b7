"""The domain of the model of a call, which compiled code asks for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.models.survey import surveyed

X = np.random.default_rng(0).normal(size=(100, 3))


def fill(clauses: str = 'model "net.pt"', distance: bool = True) -> Any:
    near = "distance(%mean, %whitening : memref<?xf64>, memref<?x?xf64>)" if distance else ""
    return hpacml.compile(
        f"""
func.func @fill(%low: memref<?xf64>, %high: memref<?xf64>, %mean: memref<?xf64>, %whitening: memref<?x?xf64>) -> i1 {{
  %known = hpacml.domain "fill" {clauses} into(%low, %high : memref<?xf64>, memref<?xf64>) {near}
  func.return %known : i1
}}
""",
        "fill",
    )


def memory(features: int = 3) -> list[np.ndarray[Any, Any]]:
    return [*(np.full(features, -7.0) for _ in range(3)), np.full((features, features), -7.0)]


def save(x: Any = X, path: str = "net.pt", **more: Any) -> None:
    hpacml.save_model(nn.Linear(x.shape[1], 1), path, example=torch.zeros(2, x.shape[1]), **{"domain": x, **more})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_domain_of_a_file_comes_to_compiled_code() -> None:
    save()
    low, high, mean, whitening = memory()
    assert fill('model "net.pt" margin 0.5')(low, high, mean, whitening)
    wanted = surveyed([torch.from_numpy(X)], ())
    half = 0.5 * (X.max(0) - X.min(0))
    np.testing.assert_array_equal(low, X.min(0) - half)
    np.testing.assert_array_equal(high, X.max(0) + half)
    np.testing.assert_array_equal(mean, wanted.mean)
    np.testing.assert_array_equal(whitening, wanted.whitening)


def test_ends_in_single_precision_are_the_outermost_inside() -> None:
    x = np.array([[0.1, -0.3, 2.0, 1e39, 1e-60], [0.3, 0.1, 2.0, 1e40, 1e-50]])
    save(x)
    call = hpacml.compile(
        """
func.func @fill(%low: memref<?xf32>, %high: memref<?xf32>) -> i1 {
  %known = hpacml.domain "fill" model "net.pt" into(%low, %high : memref<?xf32>, memref<?xf32>)
  func.return %known : i1
}
""",
        "fill",
    )
    low, high = (np.zeros(5, np.float32) for _ in range(2))
    assert call(low, high)
    for found, end, lies_inside, outward in (
        (low, x[0], np.greater_equal, -np.inf),
        (high, x[1], np.less_equal, np.inf),
    ):
        assert lies_inside(found.astype(np.float64), end).all()
        with np.errstate(over="ignore", under="ignore"):
            beyond = np.nextafter(found, np.float32(outward))
        assert not lies_inside(beyond.astype(np.float64), end).any()


def test_ranges_alone_leave_the_rest() -> None:
    save()
    low, high, mean, whitening = memory()
    assert fill(distance=False)(low, high, mean, whitening)
    np.testing.assert_array_equal(low, X.min(0))
    assert (mean == -7).all()
    assert (whitening == -7).all()


def test_a_new_file_has_a_new_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    call, (low, *rest) = fill(), memory()
    call(low, *rest)
    save(X - 5)
    call(low, *rest)
    np.testing.assert_array_equal(low, (X - 5).min(0))
    save(X + 5, "other.pt")
    os.replace("other.pt", "net.pt")
    monkeypatch.setenv("HPACML_MODEL_RELOAD", "1")
    call(low, *rest)
    np.testing.assert_array_equal(low, (X + 5).min(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: save(domain=None), "the model '.*net.pt' has no domain: train it by hpacml train, or"),
        (lambda: save(X[:, :2]), r"region 'fill' has 3 features .* '.*net.pt' has 2: train it by"),
        (lambda: None, "net.pt"),
    ],
)
def test_models_without_such_a_domain_are_refused(make: Any, message: str) -> None:
    make()
    given = memory()
    with pytest.raises(ModelError, match=message):
        fill()(*given)
    assert all((each == -7).all() for each in given)


@pytest.mark.parametrize("distance", [True, False])
def test_the_original_code_runs_in_place_of_models_without_domain(distance: bool) -> None:
    save(domain=None)
    low, high, mean, whitening = memory()
    before = hpacml.fallbacks().get("fill", 0)
    assert not fill('model "net.pt" on_error "accurate"', distance)(low, high, mean, whitening)
    assert (low == np.inf).all()
    assert (high == -np.inf).all()
    assert np.isnan(whitening).all() == distance
    assert hpacml.fallbacks()["fill"] == before + 1


def test_a_domain_without_distances_has_ranges() -> None:
    save(np.random.default_rng(0).normal(size=(4, 600)))
    with pytest.raises(ModelError, match=r"tells no distances, since its inputs have 600 features, of up to 512"):
        fill()(*memory(600))
    assert fill(distance=False)(*memory(600))


def test_regions_without_models_have_no_domain() -> None:
    source = """
func.func @f(%low: memref<?xf64>, %high: memref<?xf64>) {
  %known = hpacml.domain "passed" into(%low, %high : memref<?xf64>, memref<?xf64>)
  func.return
}
"""
    with pytest.raises(ModelError, match="the region 'passed' has no model"):
        hpacml.compile(source, "f")(np.zeros(3), np.zeros(3))
