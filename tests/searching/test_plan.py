"""What a search is told is checked before it begins."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import hpacml
from hpacml.networks import FAMILIES
from hpacml.searching import plan as plans
from hpacml.searching.domain import Domain, key
from hpacml.searching.plan import Choice, Fixed, Range
from tests.searching import toy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trails": {}}, "'trails' is unknown; there are database, region, model"),
        ({"trials": {"outer": 0}}, "trials.outer = 0: Input should be greater than 0"),
        ({"trials": {"outr": 3}}, "'trials.outr' is unknown; there are outer, inner, patience, parallel"),
        ({"architecture": {"a": {"range": [5, 1]}}}, "architecture.a = {'range': [5, 1]}: Value error, the range [5, 1] is empty"),
        ({"architecture": {"a": {"range": [0, 1.0], "log": True}}}, "a logarithmic range begins above 0, not at 0"),
        ({"architecture": {"a": {"choice": [1, "x"]}}}, "the values [1, 'x'] are of several types: int, str"),
        ({"architecture": {"a": {"rnge": [1, 2]}}}, "use {range: [low, high]}, {choice: [values]}, or a value"),
        ({"application": "app.py"}, "'app.py' is no place such as package.module:name"),
        ({"constraints": ["a < b"]}, "the constraint 'a < b' is no comparison by <= or >="),
        ({"constraints": ["a * b <= 3"]}, "the constraint 'a * b <= 3' is not linear"),
        ({"constraints": ["c <= 3"]}, "names 'c', which is no parameter: there are a, b"),
        ({"constraints": ["a >= 41"]}, "no point of the space fulfils the constraints 'a >= 41'"),
        ({"preset": "bond"}, "there is no preset 'bond': there are binomial, bonds"),
    ],
)  # fmt: skip
def test_bad_plan(plan: dict[str, Any], here: None, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(hpacml.ConfigError) as caught:
        hpacml.search({**plan, **changes}, quiet=True, evaluate=_never, measure=_never)
    assert message in str(caught.value)


def _never(*_: object) -> dict[str, Any]:
    raise AssertionError


def test_what_a_plan_names_is_checked(plan: dict[str, Any]) -> None:
    with pytest.raises(hpacml.ConfigError, match=r"'optimizer.rate' is unknown"):
        hpacml.search({**plan, "hyperparameters": {"optimizer.rate": {"range": [1e-4, 1e-2]}}})
    with pytest.raises(hpacml.DatabaseError, match=r"none.h5' does not exist"):
        hpacml.search({**plan, "architecture": {"hidden1": 8}, "constraints": [], "hyperparameters": {}})


def test_yaml_and_presets(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("preset: binomial\ndatabase: o.h5\ntrain: {epochs: 10}\narchitecture: {hidden1: 8}\n")
    read = plans.read(path)
    assert read.train == {
        "batch": 32,
        "epochs": 10,
        "early_stop": {"patience": 5, "min_delta": "1%"},
        "clamp": {"min": 0},
    }
    assert read.architecture == {"hidden1": Fixed(value=8), "hidden2": Range(range=(0, 512))}
    twice = "trials: {outer: 1, outer: 2}"
    for text, message in [
        ("a: [", "is not YAML"),
        ("- a", "has no names and values"),
        (twice, "'outer' stands there twice"),
    ]:
        path.write_text(text)
        with pytest.raises(hpacml.ConfigError, match=message):
            plans.read(path)
    with pytest.raises(hpacml.ConfigError, match="cannot read"):
        plans.read(tmp_path / "none.yaml")
    with pytest.raises(hpacml.ConfigError, match=r"a mapping or the path of a file, and this is \['s.yaml'\]"):
        plans.read(["s.yaml"])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", plans.presets())
def test_preset(name: str) -> None:
    """The presets search the ranges of the paper, which the families tell, and trainings take their settings."""
    preset = plans.read({"preset": name, "database": "d.h5"})
    family = FAMILIES[preset.model.partition(":")[2]]
    ranges = {each.name: each.searched for each in family.hyperparameters if each.searched}
    for parameter, value in preset.architecture.items():
        if parameter in ranges:
            ends = value.range if isinstance(value, Range) else (min(value.choice), max(value.choice))
            assert ends == ranges[parameter]
    assert set(preset.constraints) == set(family.constraints)
    domain, settings = Domain(preset.architecture, preset.constraints), Domain(preset.hyperparameters)
    from hpacml.training import config

    for k in range(5):
        numbers = random.Random(k)
        point, changes = domain.draw(numbers), settings.draw(numbers)
        family.read(domain.values(point))
        config.read({**preset.train, "network": {}}, changes)


def test_domain_draws_what_holds_and_is_new() -> None:
    parameters = {
        "a": Range(range=(1, 4)),
        "b": Choice(choice=[1, 2, 8]),
        "c": Fixed(value=3),
        "d": Range(range=(2, 2)),
    }
    domain = Domain(parameters, ["a + b <= 2*c"])
    assert domain.fixed == {"c": 3, "d": 2}
    seen: list[dict[str, Any]] = []
    while (point := domain.draw(random.Random(len(seen)), seen)) is not None:
        seen.append(point)
    assert {key(point) for point in seen} == {(("a", a), ("b", b)) for a in range(1, 5) for b in (1, 2) if a + b <= 6}


def test_domain_finds_a_needle() -> None:
    domain = Domain({"a": Range(range=(0, 10**6)), "b": Range(range=(0.0, 1.0))}, ["a >= 1000000", "a + b <= 1000000"])
    assert domain.middle() == {"a": 10**6, "b": 0.0}


def test_a_search_begins_where_trainings_do(plan: dict[str, Any], here: None) -> None:
    """With the settings of `train`, else the defaults of trainings and families, and else the middle of a range."""
    architecture = {
        "layers": {"range": [2, 12]},
        "feature_multiplier": {"range": [0.6, 0.8]},
        "hidden1": {"choice": [64, 128]},
    }
    hyperparameters = {
        "optimizer.lr": {"range": [1e-4, 1e-2], "log": True},
        "network.dropout": {"range": [0.0, 0.5]},
        "batch": {"range": [1, 64]},
    }
    found = hpacml.search(
        {**plan, "model": "hpacml.networks:tapered", "train": {"network": {"hidden1": 128}}, "constraints": [],
         "architecture": architecture, "hyperparameters": hyperparameters,
         "trials": {"outer": 1, "inner": 1}}, quiet=True, evaluate=_empty, measure=toy.measure,
    )  # fmt: skip
    assert found.front[0]["architecture"] == {"layers": 4, "feature_multiplier": 0.7, "hidden1": 128}
    assert found.front[0]["hyperparameters"] == {"optimizer.lr": 1e-3, "network.dropout": 0.0, "batch": 33}


@pytest.mark.parametrize(
    ("network", "first"), [({}, (64, 32)), ({"hidden1": 100}, (100, 0)), ({"dropout": 0.1}, (64, 32))]
)
def test_a_search_of_two_layers_begins_with_the_default_network(
    plan: dict[str, Any], here: None, network: dict[str, Any], first: tuple[int, int]
) -> None:
    found = hpacml.search(
        {**plan, "model": "hpacml.networks:mlp", "train": {"network": network}, "constraints": [], "hyperparameters": {},
         "architecture": {"hidden1": {"range": [5, 512]}, "hidden2": {"range": [0, 512]}},
         "trials": {"outer": 1, "inner": 1}}, quiet=True, evaluate=_empty, measure=toy.measure,
    )  # fmt: skip
    assert found.front[0]["architecture"] == dict(zip(("hidden1", "hidden2"), first, strict=True))


def _empty(_: Any, __: Any, folder: Path) -> dict[str, Any]:
    (folder / "model.pt2").write_text("1")
    return {"error": 1.0, "model": str(folder / "model.pt2")}
