"""Persistence: the elements that a region writes are found among those that it reads, by what maps mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.directives.elements import elements_of
from hpacml.training.baselines import Unchanged
from hpacml.training.region_table import table
from hpacml.training.unchanged import unchanged

LAPLACE = "tensor functor(star: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j], [i, j - 1], [i, j + 1]))"
CELL = "tensor functor(cell: [k, l, 0:1] = ([k, l]))"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield
    hpacml.flush()


def collect(directives: str, calls: int = 12) -> None:
    """Heat that flows in a square, of which two arrays are there."""

    @hpacml.region(f"{directives} database('heat.h5') label('heat')")
    def step(t: Any, s: Any, dt: Any, n: Any) -> None:
        inner = t[1:-1, 1:-1]
        inner += dt * (t[2:, 1:-1] + t[:-2, 1:-1] + t[1:-1, 2:] + t[1:-1, :-2] - 4 * inner)
        s[1:-1, 1:-1] = inner

    rng = np.random.default_rng(0)
    t, s = rng.normal(size=(9, 9)), np.zeros((9, 9))
    for _ in range(calls):
        step(t, s, 0.05, 9)
    hpacml.flush()


def found(directives: str, kind: Any = None) -> list[Unchanged]:
    collect(directives, 1)
    with hpacml.open_database("heat.h5") as database:
        return unchanged(table(database["heat"], kind))


def test_a_stencil_that_is_trained_without_a_residual() -> None:
    collect(f"{LAPLACE} {CELL} ml(collect) in(star(t[1:n-1, 1:n-1])) out(cell(t[1:n-1, 1:n-1]))")
    with hpacml.open_database("heat.h5") as database:
        region = database["heat"]
        x, y = (each.reshape(-1, each.shape[-1]) for each in (region.inputs[0][10:], region.outputs[0][10:]))
    trained = hpacml.train("heat.h5", quiet=True, config={"epochs": 1, "pictures": False, "threads": 1})
    errors = trained.metrics["test"]
    assert errors["persistence"]["rmse"] == pytest.approx(np.sqrt(((x[:, 2:3] - y) ** 2).mean()))
    assert errors["persistence"]["rmse"] < errors["mean"]["rmse"]


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ("in(star(t[1:n-1, 1:n-1])) out(cell(t[1:n-1, 1:n-1]))", [Unchanged(0, 0, ((2, 0),))]),
        ("in(star(t[1:n-1, 1:n-1])) out(cell(s[1:n-1, 1:n-1]))", []),  # another array
        ("in(star(t[1:n-1, 1:n-1])) out(cell(t[2:n, 1:n-1]))", [Unchanged(0, 0, ((1, 0),))]),  # a cell beside it
        ("in(star(t[1:n-2, 1:n-1])) out(cell(t[1:n-1, 1:n-1]))", []),  # which is another sweep
        ("in(cell(s[1:n-1, 1:n-1]), star(t[1:n-1, 1:n-1])) out(cell(s[1:n-1, 1:n-1]))", [Unchanged(0, 0)]),
        (
            "in(cell(s[1:n-1, 1:n-1]), star(t[1:n-1, 1:n-1])) out(both(s[1:n-1, 1:n-1], t[1:n-1, 1:n-1]))",
            [Unchanged(0, 0, ((0, 0),)), Unchanged(1, 0, ((2, 1),))],
        ),
        ("in(star(t[1:n-1, 1:n-1])) out(both(s[1:n-1, 1:n-1], t[1:n-1, 1:n-1]))", [Unchanged(0, 0, ((2, 1),))]),
        ("in(with_dt(t[1:n-1, 1:n-1], dt)) out(cell(t[1:n-1, 1:n-1]))", [Unchanged(0, 0, ((0, 0),))]),
        ("in(window(t[1:n-1, 1:n-1])) out(cell(t[1:n-1, 1:n-1]))", [Unchanged(0, 0, ((4, 0),))]),
        ("in(window(t[1:n//2, 1:n-1])) out(cell(t[1:n//2, 1:n-1]))", [Unchanged(0, 0, ((4, 0),))]),
        ("in(star(t[1:n-1:2, 1:n-1])) out(cell(t[1:n-1:2, 1:n-1]))", [Unchanged(0, 0, ((2, 0),))]),
        ("in(star(t[1:n-1, 1:n-1])) out(turned(t[1:n-1, 1:n-1]))", []),
    ],
)
def test_which_elements(maps: str, expected: list[Unchanged]) -> None:
    functors = """tensor functor(both: [i, j, 0:2] = ([i, j], [i, j])) tensor functor(turned: [i, j, 0:1] = ([j, i]))
        tensor functor(with_dt: [i, j, 0:2] = ([i, j], [i, j]))
        tensor functor(window: [i, j, 0:3, 0:3] = ([i - 1 : i + 2, j - 1 : j + 2]))"""
    assert found(f"{LAPLACE} {CELL} {functors} ml(collect) {maps}") == expected


def test_rows_that_are_calls() -> None:
    maps = "in(star(t[1:n-1, 1:n-1])) out(cell(t[1:n-1, 1:n-1]))"
    assert found(f"{LAPLACE} {CELL} ml(collect) {maps}", "calls") == [Unchanged(0, 0, ((2, 0),), 3)]


@pytest.mark.parametrize(
    "text",
    [
        "no map",
        "to: f: [i] = ([i]) | f(a[idx[0:n]])",  # which elements these are only the call knows
        "to: f: [i, 0:w] = ([i : i + w]) | f(a[0:n])",
        "to: f: [0:2, i] = ([i], [i]) | f(a[0:n])",
        "to: f: [i, 0:9000] = ([i, 0:9000]) | f(a[0:n, 0:9000])",
    ],
)
def test_what_is_not_looked_at(text: str) -> None:
    assert elements_of(text) is None
