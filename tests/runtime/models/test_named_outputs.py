"""Outputs by name, and last dimensions of 1."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.frame import Frame
from hpacml.runtime.models import outputs

Pair = namedtuple("Pair", "c b")
Other = namedtuple("Other", "first second")
IN = "to: f: [i] = ([i]) | f(a[0:N])"
OUT = ["from: f: [i] = ([i]) | f(b[0:N])", "from: f: [i] = ([i]) | f(c[0:N])"]


@dataclasses.dataclass
class Data:
    c: torch.Tensor
    b: torch.Tensor


KINDS: dict[str, Any] = {
    "dict": lambda c, b: {"c": c, "b": b},
    "more": lambda c, b: {"c": c, "hidden": c * 7, "b": b},
    "named tuple": Pair,
    "dataclass": Data,
}


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> Any:
        y = x * self.w
        return KINDS[self.kind](2 * y, y + 1)


@pytest.mark.parametrize("suffix", ["passed", "pt", "pt2"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_go_to_those_of_their_names(kind: str, suffix: str, tmp_path: Path, infer: Any) -> None:
    net, a = Net(kind), np.arange(4.0)
    given: Any = {"argument": "net"}
    if suffix != "passed":
        given = {"path": str(hpacml.save_model(net, tmp_path / f"m.{suffix}", example=a))}
    for rows in (4, 1, 2):
        b, c = np.zeros(rows), np.zeros(rows)
        with Frame({"net": net}):
            infer([a[:rows]], [b, c], model=given, maps=[IN, *OUT])
        np.testing.assert_allclose(b, a[:rows] + 1)
        np.testing.assert_allclose(c, 2 * a[:rows])


@pytest.mark.parametrize("kind", ["dict", "dataclass", "named tuple"])
def test_names_that_the_region_lacks(kind: str, infer: Any) -> None:
    maps = [IN, OUT[0], "from: f: [i] = ([i]) | f(d[0:N])"]
    b = np.full((2, 3), -1.0)
    with (
        Frame({"net": Net(kind)}),
        pytest.raises(ModelError, match="it returns 'c', 'b', but the region has the outputs"),
    ):
        infer([np.zeros(3)], [b[0], b[1]], model={"argument": "net"}, maps=maps)
    assert (b == -1).all()


def test_a_named_tuple_without_any_of_the_names_goes_by_its_order(tmp_path: Path, infer: Any) -> None:
    KINDS["other"] = Other
    path = hpacml.save_model(Net("other"), tmp_path / "m.pt2", example=np.zeros(3))
    for given in ({"argument": "net"}, {"path": str(path)}):
        b, c = np.zeros(3), np.zeros(3)
        with Frame({"net": Net("other")}):
            infer([np.arange(3.0)], [b, c], model=given, maps=[IN, *OUT])
        assert (list(b), list(c)) == ([0, 2, 4], [1, 2, 3])

    def largest(x: torch.Tensor) -> Any:
        return torch.max(torch.stack([x, -x]), 0)

    with Frame({"net": largest}):
        infer([np.array([1.0, -2.0, 3.0])], [b, c], model={"argument": "net"}, maps=[IN, *OUT])
    assert (list(b), list(c)) == ([1, 2, 3], [0, 1, 0])


@pytest.mark.parametrize(
    ("maps", "names"),
    [
        (["from: g: [i] = ([i]) | g(b[0:N])"], [{"g", "b"}]),
        (OUT, [{"b"}, {"c"}]),
        (["from: g: [i] = ([i]) | g(x[idx[0:N], 0:3])"], [{"g", "x"}]),
        (["from: c: [i] = ([i]) | c(b[0:N])", "from: g: [i] = ([i]) | g(c[0:N])"], [{"b"}, {"c", "g"}]),
        (["from: g: [i, 0:2] = ([i], [i]) | g(u[0:N], v[0:N])"], [{"g", "u", "v"}]),
        ([], [set()]),
        (["something else"], [set()]),
    ],
)
def test_names_of_outputs(maps: list[str], names: list[set[str]]) -> None:
    found = outputs.names_of_outputs(maps, len(names))
    assert [set(each) - {"something else"} for each in found] == names


def test_names_that_two_outputs_could_mean(infer: Any) -> None:
    both = [IN, "from: f: [i] = ([i]) | f(b[0:N])", "from: f: [i] = ([i]) | f(b[N:2*N])"]
    with Frame({"net": lambda x: {"b": x, "c": x}}), pytest.raises(ModelError, match="has the outputs 'b', 'b'"):
        infer([np.zeros(3)], [np.zeros(3), np.zeros(3)], model={"argument": "net"}, maps=both)


@pytest.mark.parametrize("batch", [None, 2])
def test_a_last_dimension_of_one_is_no_difference(batch: int | None, infer: Any) -> None:
    x = np.arange(10.0).reshape(5, 2)
    for shape, net in [((5, 1), lambda x: x.sum(-1)), ((5,), lambda x: x.sum(-1, keepdim=True))]:
        y = np.zeros(shape)
        with Frame({"net": net}):
            infer([x], [y], model={"argument": "net"}, batch=batch)
        assert list(y.ravel()) == [1, 5, 9, 13, 17]
    for shape, net in [((5, 1), lambda x: x), ((5, 2), lambda x: x.sum(-1)), ((1, 5), lambda x: x.sum(-1))]:
        with Frame({"net": net}), pytest.raises(ModelError, match="its output is float64"):
            infer([x], [np.zeros(shape)], model={"argument": "net"})


def test_through_a_region() -> None:
    @hpacml.region("""tensor functor(row: [i, 0:2] = ([i, 0:2]))
                      tensor functor(one: [i] = ([i]))
                      ml(infer) in(row(x[0:n, 0:2])) out(one(energy[0:n]), one(force[0:n])) model(net)""")
    def region(x: Any, energy: Any, force: Any, n: int, net: Any) -> None:
        raise AssertionError("the body ran")

    x, energy, force = np.arange(6.0).reshape(3, 2), np.zeros(3), np.zeros(3)
    region(x, energy, force, 3, lambda x: {"force": x[:, :1], "energy": x.sum(-1)})
    assert (list(energy), list(force)) == ([1, 5, 9], [0, 2, 4])
