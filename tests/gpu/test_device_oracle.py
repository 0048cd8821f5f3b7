"""Calls with arrays on a GPU, against the definition in nested loops."""

from __future__ import annotations

import pytest

from tests import differential
from tests.machines import Machine
from tests.test_oracle import search

WAYS = [way for way in differential.WAYS if way != "functor"]


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 6))])
def test_functors(placed: Machine, part: int) -> None:
    before = differential.tally.copy()
    search(300 + part, 20, "functor", 4)
    assert (differential.tally - before)["valid"] > 20
    assert placed.launched


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_regions_and_kernels(placed: Machine, way: str) -> None:
    search(400 + len(way), 10, way, 3)
    assert placed.launched
