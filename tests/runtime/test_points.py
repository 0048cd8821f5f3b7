"""Rejected points, counted for compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.errors import HpacmlError
from hpacml.runtime.reports import guarded

COUNT = """
func.func @count(%mask: memref<?x?xi8, strided<[?, ?], offset: ?>>) -> index {
  %rejected = hpacml.count_points "points" %mask : memref<?x?xi8, strided<[?, ?], offset: ?>>
  func.return %rejected : index
}
"""

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


@pytest.fixture
def masks() -> Iterator[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return (rng.integers(0, 16, (7, 9)) * (rng.random((7, 9)) < share) for share in (0.0, 0.1, 0.5, 1.0))


def test_points_are_counted_by_reason(masks: Iterator[np.ndarray[Any, Any]]) -> None:
    count = hpacml.compile(COUNT, "count")
    for mask in masks:
        wide = np.zeros((14, 27), np.uint8)
        for given in (mask.astype(np.uint8), wide[::-2, ::3], np.asfortranarray(mask.astype(np.uint8))):
            given[...] = mask
            assert count(given) == np.count_nonzero(mask)
            found = guarded.read(reset=True)["points"]
            assert (found.calls, found.points, found.rejected) == (1, 63, np.count_nonzero(mask))
            by_reason = {name: np.count_nonzero(mask & bit) for bit, name in guarded.REASONS.items()}
            assert found.reasons == {name: number for name, number in by_reason.items() if number}


def test_positions_are_ascending_and_nothing_else_is_written(masks: Iterator[np.ndarray[Any, Any]]) -> None:
    find = hpacml.compile(FIND, "find")
    for mask in masks:
        at = np.full(63, -7)
        rejected = find(mask.astype(np.uint8), at)
        np.testing.assert_array_equal(at[:rejected], np.flatnonzero(mask))
        assert (at[rejected:] == -7).all()


def test_no_points_at_all() -> None:
    assert hpacml.compile(FIND, "find")(np.zeros((0, 3), np.uint8), np.zeros(0, np.int64)) == 0
    found = guarded.read()["points"]
    assert (found.calls, found.points, found.whole_calls) == (1, 0, 0)


def test_an_array_too_short_for_the_positions_is_refused() -> None:
    mask, at = np.ones((3, 4), np.uint8), np.full(11, -7)
    with pytest.raises(HpacmlError, match="12 points are rejected, and the array for their positions has room for 11"):
        hpacml.compile(FIND, "find")(mask, at)
    assert (at == -7).all()
