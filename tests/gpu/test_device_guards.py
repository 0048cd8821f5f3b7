"""Guards of regions with arrays on a GPU: what the runtime is asked there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import hpacml
from hpacml.runtime.reports import guarded
from tests.machines import Machine

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
