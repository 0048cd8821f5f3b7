"""Gathers into given tensors and scatters that recur do what those do that come first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml
from tests.frontend.test_forms import MADE, PAIR, TEXT, frames

TENSORS: dict[str, Callable[[int, Any], Any]] = {
    "none": lambda n, a: None,
    "dense": lambda n, a: torch.full((n, 2), 5.0, dtype=torch.float64),
    "float32": lambda n, a: torch.full((n, 2), 5.0),
    "int64": lambda n, a: torch.full((n, 2), 5),
    "columns": lambda n, a: torch.full((2, n), 5.0, dtype=torch.float64).T,
    "array": lambda n, a: np.full((n, 2), 5.0),
    "read only": lambda n, a: np.broadcast_to(np.full(2, 5.0), (n, 2)),
    "needs gradients": lambda n, a: torch.zeros(n, 2, dtype=torch.float64, requires_grad=True),
    "the first array": lambda n, a: a,
    "list": lambda n, a: [[1.0, 2.0]] * n,
}
ARRAYS = st.tuples(st.sampled_from([*MADE, "packed", "tensor"]), st.sampled_from([6, 6, 6, 0, 9]))
CALLS = st.tuples(
    ARRAYS,
    ARRAYS,
    st.sampled_from([6, 6, 6, 4, True, np.int64(6), 1.0, 2]),
    st.sampled_from([1, 1, 0, 3]),
    st.sampled_from([*TENSORS, "dense", "dense"]),
)


def outcome(functor: Any, scatters: bool, call: Any) -> tuple[Any, ...]:
    a, b, n, k, tensor = call
    names: dict[str, Any] = {"a": MADE[a[0]](a[1]), "b": MADE[b[0]](b[1]), "n": n, "k": k}
    given = TENSORS[tensor](int(n) - 1, names["a"])
    arrays = names["a"], names["b"]
    versions = [each._version for each in (given, *arrays) if isinstance(each, torch.Tensor)]
    try:
        done = functor.scatter(given, TEXT, **names) if scatters else functor.gather(TEXT, out=given, **names)
    except Exception as error:
        return type(error), str(error)
    counted = [each._version for each in (given, *arrays) if isinstance(each, torch.Tensor)]
    written = [count - before for count, before in zip(counted, versions, strict=True)]
    results = [each if isinstance(each, list) or each is None else each.tolist() for each in (done, given, *arrays)]
    return getattr(done, "dtype", None), results, written


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(st.tuples(CALLS, st.integers(1, 3)), min_size=1, max_size=4))
def test_does_what_a_new_functor_does(scatters: bool, calls: list[Any]) -> None:
    functor = hpacml.functor(PAIR)
    for call, repeats in calls:
        for _ in range(repeats):
            assert outcome(functor, scatters, call) == outcome(hpacml.functor(PAIR), scatters, call)


def test_finds_nothing_out_anew() -> None:
    functor = hpacml.functor(PAIR)
    names: dict[str, Any] = {"a": torch.arange(6.0), "b": np.arange(6, dtype=np.float32), "n": 6, "k": 1}
    out = torch.empty(5, 2)
    first = frames(lambda: functor.gather(TEXT, out=out, **names))
    functor.gather(TEXT, out=out, **names)  # the second call tells that the form recurs
    names |= {"a": torch.ones(6), "b": np.full(6, 2, np.float32)}
    again = frames(lambda: functor.gather(TEXT, out=out, **names))
    assert out.tolist() == [[1, 2]] * 5
    assert "bind" in first
    assert "bind" not in again
    for _ in range(2):
        functor.scatter(out, TEXT, **names)
    out *= 3
    assert "bind" not in frames(lambda: functor.scatter(out, TEXT, **names))
    assert names["b"].tolist() == [2, *[6] * 5]


def test_memory_that_is_shared_later_is_seen() -> None:
    functor, memory = hpacml.functor("f: [i, 0:1] = ([i])"), np.arange(10.0)
    out = np.zeros((5, 1))
    for _ in range(2):
        functor.gather("a[0:5]", a=memory[:5], out=out)
    with pytest.raises(hpacml.MapError, match="'out' shares memory with 'a'"):
        functor.gather("a[0:5]", a=memory[:5], out=memory[4:9, None])
    # Between each other they share nothing.
    functor.gather("a[0:5]", a=memory[:5], out=memory[5:, None])
    assert memory.tolist() == [*range(5), *range(5)]


def test_a_tensor_of_another_dtype_is_not_what_a_new_one_is_like() -> None:
    functor, a = hpacml.functor("f: [i, 0:1] = ([i])"), torch.arange(4, dtype=torch.float64)
    for out in (torch.empty(4, 1), None, torch.empty(4, 1), None):
        gathered = functor.gather("a[0:4]", a=a, out=out)
        assert gathered.dtype is (torch.float64 if out is None else torch.float32)
        assert gathered[:, 0].tolist() == [0, 1, 2, 3]
