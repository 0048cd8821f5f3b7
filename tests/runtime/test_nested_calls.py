"""Calls that nest, deeper than Python's stack: they work, or say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

import hpacml
from hpacml.runtime import frame

POINT = "tensor functor(f: [i] = ([i]))"


@hpacml.region(f"{POINT} ml(infer) in(f(a[0:n])) out(f(y[0:n])) model(net) if(on)")
def region(a, y, n, net, on, depth):
    if depth:
        region(a, y, n, net, on, depth - 1)
    else:
        y[:n] = a[:n]


@pytest.fixture
def limit() -> Iterator[None]:
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("depth", [40, 85, 95, 100, 105, 300, 2000])
def test_a_body_that_calls_its_region(depth: int, limit: None) -> None:
    sys.setrecursionlimit(1000)
    for _ in range(2):
        y = np.zeros(3)
        refused = ""
        try:
            region(np.ones(3), y, 3, None, False, depth)
        except hpacml.HpacmlError as error:
            refused = str(error)
        assert "nested too deep" in refused if refused else depth < 105
        assert y.all() == (not refused)
    assert frame.innermost() is None


def test_more_room_lets_them_nest_deeper(limit: None) -> None:
    sys.setrecursionlimit(100_000)
    y = np.zeros(3)
    region(np.ones(3), y, 3, None, False, 300)
    assert y.all()
    with pytest.raises(hpacml.HpacmlError, match=f"{frame.DEEPEST} in each other"):
        region(np.ones(3), y, 3, None, False, 5000)


def test_a_model_that_calls_its_region() -> None:
    def net(x):
        y = np.zeros(3)
        region(x.numpy().copy(), y, 3, net, True, 0)
        return x

    with pytest.raises(hpacml.HpacmlError, match="nested too deep"):
        region(np.ones(3), np.zeros(3), 3, net, True, 0)
