"""Outputs that are no plain tensors of numbers are errors, and leave memory as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import hpacml


@hpacml.region("tensor functor(f: [i, 0:4] = ([i, 0:4])) ml(infer) in(f(a[0:n, 0:4])) out(f(y[0:n, 0:4])) model(net)")
def region(a, y, n, net):
    raise AssertionError


class Dispatching(torch.Tensor):
    """Decides by itself what its numbers are."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Dispatching:
        return torch.Tensor._make_subclass(cls, inner)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(function)


class Wrapping(Dispatching):
    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapping:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)


class Labelled(torch.Tensor):
    """Has memory, and a name in Python."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.copy_:
            raise AssertionError("it is plain memory")
        return super().__torch_function__(function, types, args, kwargs or {})


def fake(x: torch.Tensor) -> torch.Tensor:
    with FakeTensorMode():
        return torch.empty(3, 4, dtype=torch.float64)


def with_less_memory(bytes: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def net(x: torch.Tensor) -> torch.Tensor:
        result = x * 2
        result.untyped_storage().resize_(bytes)
        return result

    return net


def of_vmap(x: torch.Tensor) -> torch.Tensor:
    leaked: list[torch.Tensor] = []
    torch.vmap(lambda row: (leaked.append(row), row)[1])(x.expand(2, 3, 4))
    return leaked[0]


NETS = {
    "nested": (
        lambda x: torch.nested.nested_tensor(list(x)),
        "its output is nested, .* by torch.nested.to_padded_tensor",
    ),
    "jagged": (lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged), "its output is nested"),
    "fake": (fake, "plain memory, which this FakeTensor lacks"),
    "dispatching": (lambda x: Dispatching(x * 2), "plain memory, which this Dispatching lacks"),
    "wrapping": (Wrapping, "plain memory, which this Wrapping lacks"),
    "masked": (lambda x: torch.masked.masked_tensor(x.clone(), x > 0), "which this MaskedTensor lacks"),
    "of zeros": (lambda x: torch._efficientzerotensor((3, 4), dtype=torch.float64), "plain memory"),
    "without memory": (with_less_memory(0), "plain memory"),
    "with less memory": (with_less_memory(8), "plain memory"),
    "of vmap": (of_vmap, "plain memory"),
    "meta": (lambda x: x.to("meta"), "not on the device meta"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", NETS)
def test_no_plain_memory(kind: str) -> None:
    net, message = NETS[kind]
    y = np.full((3, 4), -7.0)
    for _ in range(2):
        with pytest.raises(hpacml.ModelError, match=message):
            region(np.ones((3, 4)), y, 3, net)
    assert (y == -7).all()


@pytest.mark.parametrize("kind", [lambda x: x.as_subclass(Labelled), torch.nn.Parameter, torch._neg_view])
def test_other_kinds_with_memory(kind: Any) -> None:
    y = np.zeros((3, 4))
    region(np.ones((3, 4)), y, 3, lambda x: kind(2 * x))
    assert (np.abs(y) == 2).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_unsigned_integers_are_real_numbers(dtype: Any) -> None:
    a = np.full((3, 4), np.iinfo(dtype).max, dtype)
    y, wide = np.zeros_like(a), np.zeros(a.shape)
    region(a, y, 3, lambda x: x)
    region(a, wide, 3, lambda x: x)
    np.testing.assert_array_equal(y, a)
    np.testing.assert_array_equal(wide, a.astype(float))
