"""Calls with arrays on a GPU, or with copies there of arrays of the host, against the definition in nested loops."""

from __future__ import annotations

import pytest

from tests import differential
from tests.machines import Machine
from tests.test_oracle import search

WAYS = [way for way in differential.WAYS if way != "functor"]


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 6))])
def test_functors(placed: Machine, part: int) -> None:
    before = differential.tally.copy()
    search(300 + part, 20 if part else 8, "functor", 4)
    assert (differential.tally - before)["valid"] > 8
    assert placed.launched


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_regions_and_kernels(placed: Machine, way: str) -> None:
    search(400 + len(way), 10, way, 3)
    assert placed.launched


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 4))])
def test_functors_with_arrays_of_the_host(transferred: Machine, part: int) -> None:
    search(500 + part, 10, "functor", 4)
    assert transferred.launched


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if not way.endswith("collect")])
def test_regions_and_kernels_with_arrays_of_the_host(transferred: Machine, way: str) -> None:
    search(600 + len(way), 10, way, 3)
    assert transferred.launched
