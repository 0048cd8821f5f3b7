"""Guards of regions with arrays on a GPU: what the runtime is asked there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.runtime.reports import guarded
from tests.machines import Machine

Array = Float64[np.ndarray, "n"]

FIND = """
func.func @find(%mask: memref<?x?xi8>, %at: memref<?xi64>) -> index {
  %rejected = hpacml.count_points "points" %mask : memref<?x?xi8> positions %at : memref<?xi64>
  func.return %rejected : index
}
"""


@pytest.fixture(autouse=True)
def begun_anew() -> Iterator[None]:
    guarded.read(reset=True)
    yield
    guarded.read(reset=True)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rejected_points_on_a_device(machine: Machine, share: float) -> None:
    rng = np.random.default_rng(0)
    mask = (rng.integers(1, 16, (7, 9)) * (rng.random((7, 9)) < share)).astype(np.uint8)
    at = machine.there(np.full(63, -7))
    rejected = hpacml.compile(FIND, "find")(machine.there(mask), at)
    where = np.flatnonzero(mask)
    assert rejected == len(where)
    np.testing.assert_array_equal(machine.host(at)[:rejected], where)
    assert (machine.host(at)[rejected:] == -7).all()
    found = guarded.read()["points"]
    assert (found.points, found.rejected) == (63, len(where))


DOMAIN = """
func.func @fill(%low: memref<?xf64>, %high: memref<?xf64>, %mean: memref<?xf64>, %whitening: memref<?x?xf64>) -> i1 {
  %known = hpacml.domain "domain" model "PATH" on_error "accurate" into(%low, %high : memref<?xf64>, memref<?xf64>)
    distance(%mean, %whitening : memref<?xf64>, memref<?x?xf64>)
  func.return %known : i1
}
"""


@pytest.mark.parametrize("has_domain", [True, False])
def test_the_domain_of_a_model_on_a_device(machine: Machine, has_domain: bool, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    path = tmp_path / "net.pt"
    example = torch.zeros(2, 3)
    hpacml.save_model(torch.nn.Linear(3, 1), path, example=example, domain=x if has_domain else None)
    shapes = (3,), (3,), (3,), (3, 3)
    low, high, mean, whitening = (machine.there(np.full(shape, -7.0)) for shape in shapes)
    known = hpacml.compile(DOMAIN.replace("PATH", str(path)), "fill")(low, high, mean, whitening)
    assert known == has_domain
    np.testing.assert_array_equal(machine.host(low), x.min(0) if has_domain else np.full(3, np.inf))
    np.testing.assert_allclose(machine.host(mean), x.mean(0) if has_domain else np.full(3, np.nan))
    offset = x - x.mean(0)
    if has_domain:
        np.testing.assert_allclose(np.cov((offset @ machine.host(whitening).T).T, bias=True), np.eye(3), atol=1e-6)


VERIFY = """
func.func @due() -> i1 {
  %due, %open = hpacml.count_inference "checks" <every: 2, tolerance: 0.1>
  func.return %due : i1
}
func.func @good(%y: memref<?x?xf32>, %truth: memref<?x?xf32>, %mask: memref<?xi8>) -> i1 {
  %good = hpacml.verify "checks" <every: 2, tolerance: 0.1, metric: max> ins(%y : memref<?x?xf32>)
    against(%truth : memref<?x?xf32>) where(%mask : memref<?xi8>)
  func.return %good : i1
}
"""


def test_checks_on_a_device(machine: Machine) -> None:
    due, good = (hpacml.compile(VERIFY, name) for name in ("due", "good"))
    assert [due() for _ in range(4)] == [True, False, True, False]
    truth = np.zeros((3, 2), np.float32)
    made = truth.copy()
    made[1] = np.nan
    there = machine.there(truth)
    assert good(machine.there(made), there, machine.there(np.array([0, 1, 0], np.uint8)))
    assert not good(machine.there(made), there, machine.there(np.array([1, 0, 1], np.uint8)))
    made[1] = 0.05
    mask = machine.there(np.zeros(3, np.uint8))
    assert [good(machine.there(made), there, mask) for _ in range(3)] == [False, False, True]
    checks = guarded.read()["checks"].checks
    assert (checks.count, checks.opened, checks.closed) == (5, 1, 1)
    assert checks.last is not None
    np.testing.assert_allclose(checks.last.errors["0"], 0.05, rtol=1e-6)


@hpacml.kernel
def corrected(x: Array, y: Array, net: Any, fix: Any):
    n = len(x)
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(x[0:n])) out(one(y[0:n])) model(net) clip(0.25 : 0.65) project(fix)"):
        for i in range(n):
            y[i] = x[i]


def test_outputs_on_a_device_are_corrected(machine: Machine) -> None:
    kinds: list[type] = []

    def fix(outputs: dict[str, Any], inputs: dict[str, Any]) -> None:
        kinds.append(type(outputs["y"]))
        outputs["y"] -= 1

    given = np.linspace(0, 1, 11)
    x, y = machine.there(given), machine.there(np.zeros(11))
    net = torch.nn.Linear(1, 1).double()
    with torch.no_grad():
        net.weight.fill_(1.0)
        net.bias.zero_()
    net = machine.network(net)
    for _ in range(2):
        corrected(x, y, net, fix)
    np.testing.assert_allclose(machine.host(y), np.clip(given, 0.25, 0.65) - 1, rtol=1e-12)
    assert all(issubclass(kind, torch.Tensor) for kind in kinds)
    assert guarded.read()["corrected"].clipped == {"y": 14}
