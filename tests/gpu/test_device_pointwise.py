"""Pointwise original code of regions with arrays on a GPU: the points that guards reject are copied there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from hpacml.errors import MapError
from tests.machines import Machine

ROWS = """
tensor functor(f: [i, 0:2] = ([i, 0:2]))
tensor functor(g: [i, 0:1] = ([i]))
ml(infer) in(f(a[0:n, 0:2])) out(g(y[0:n])) model(net) guard(where: use) pointwise label("rows")
"""


def _region(body: Any) -> Any:
    @hpacml.region(ROWS)
    def rows(a: Any, y: Any, n: int, use: Any, net: Any) -> None:
        given = [getattr(each, "tensor", each) for each in (a, y)]  # those of the simulated device compute nothing
        given[1][:n] = body(given[0][:n])

    return rows


class Far(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -3 - x[..., :1]


def test_regions_of_some_points_on_a_device(machine: Machine) -> None:
    rng = np.random.default_rng(0)
    a, y, use = rng.random((40, 2)), rng.random(40), rng.random(40) < 0.5
    there = [machine.there(torch.from_numpy(each.copy())) for each in (a, y, use)]
    sizes: list[int] = []

    def body(a: Any) -> Any:
        sizes.append(len(a))
        return a[:, 0] + 2 * a[:, 1]

    region = _region(body)
    for _ in range(3):
        region(there[0], there[1], 40, there[2], machine.network(Far()))
    made = np.asarray(machine.host(there[1]))
    np.testing.assert_array_equal(made, np.where(use, -3 - a[:, 0], a[:, 0] + 2 * a[:, 1]))
    np.testing.assert_array_equal(np.asarray(machine.host(there[0])), a)
    some = int((~use).sum())
    assert sizes == [some, 40, some, some]


def test_code_that_is_not_pointwise_is_found_on_a_device(machine: Machine) -> None:
    a, y, use = np.arange(8.0).reshape(4, 2), np.zeros(4), np.array([True, False, False, False])
    there = [machine.there(torch.from_numpy(each)) for each in (a, y, use)]
    with pytest.raises(MapError, match="is not pointwise"):
        _region(lambda a: a.sum(1) - a.mean())(there[0], there[1], 4, there[2], machine.network(Far()))


class Library:
    """A library of arrays, as CuPy is one, of which arrays of a device are made by DLPack."""

    @staticmethod
    def from_dlpack(tensor: torch.Tensor) -> OfLibrary:
        return OfLibrary(tensor.clone())


class OfLibrary:
    """One of its arrays: it computes on its own kind alone."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.shape = tensor.shape

    def __array_namespace__(self) -> type[Library]:
        return Library

    def __dlpack__(self, **given: Any) -> Any:
        return self.tensor.__dlpack__(**given)

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()


def test_bodies_get_arrays_of_the_library_of_those_given(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, y, use = rng.random((40, 2)), rng.random(40), rng.random(40) < 0.5
    there = [machine.there(torch.from_numpy(each.copy())) for each in (a, y, use)]
    for each in there[:2]:
        monkeypatch.setattr(type(each), "__array_namespace__", lambda _: Library, raising=False)
    kinds: list[type] = []

    @hpacml.region(ROWS)
    def rows(a: Any, y: Any, n: int, use: Any, net: Any) -> None:
        kinds.append(type(a))
        given = [getattr(each, "tensor", each) for each in (a, y)]
        given[1][:n] = 3 * given[0][:n, 0]

    rows(there[0], there[1], 40, there[2], machine.network(Far()))
    assert kinds[0] is OfLibrary or machine.real
    np.testing.assert_array_equal(np.asarray(machine.host(there[1])), np.where(use, -3 - a[:, 0], 3 * a[:, 0]))
