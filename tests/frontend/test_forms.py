"""Gathers that recur in one form are made natively, and do what those do that come first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml

PAIR = "f: [i, 0:2] = ([i - k], [i])"
TEXT = "a[1:n], b[1:n]"


def frames(run: Callable[[], Any]) -> list[str]:
    """The functions of hpacml in Python that run during a call."""
    found: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and f"{os.sep}hpacml{os.sep}" in frame.f_code.co_filename:
            found.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def opened() -> tuple[Any, dict[str, Any]]:
    """A functor of which one form is open, and the arguments of that."""
    functor = hpacml.functor(PAIR)
    names = {"a": np.arange(6.0), "b": -np.arange(6.0), "n": 6, "k": 1}
    for _ in range(2):
        functor.gather(TEXT, **names)
    return functor, names


MADE: dict[str, Callable[[int], Any]] = {
    "packed": lambda n: np.arange(n) * 1.5,
    "every second": lambda n: np.arange(2.0 * n)[::2],
    "reversed": lambda n: np.arange(1.0 * n)[::-1],
    "float32": lambda n: np.arange(n, dtype=np.float32),
    "foreign": lambda n: np.arange(n, dtype=">f8"),
    "tensor": lambda n: torch.arange(1.0 * n, dtype=torch.float64),
    "pairs": lambda n: np.zeros((n, 2)),
    "list": lambda n: [1.0] * n,
}
ARRAYS = st.tuples(st.sampled_from(sorted(MADE)) | st.just("packed"), st.sampled_from([6, 6, 6, 1, 0, 9]))
CALLS = st.tuples(
    ARRAYS, ARRAYS, st.sampled_from([6, 6, 6, 4, True, np.int64(6), 2**70, 1.0]), st.sampled_from([1, 0, 3])
)


def outcome(functor: Any, names: dict[str, Any]) -> tuple[Any, ...]:
    try:
        gathered = functor.gather(TEXT, **names)
        return gathered.dtype, gathered.shape, gathered.tolist()
    except Exception as error:
        return type(error), str(error)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CALLS, st.integers(1, 4)), max_size=4))
def test_does_what_a_new_functor_does(calls: list[Any]) -> None:
    functor, _ = opened()
    for (a, b, n, k), repeats in calls:
        for _ in range(repeats):
            names = {"a": MADE[a[0]](a[1]), "b": MADE[b[0]](b[1]), "n": n, "k": k}
            assert outcome(functor, names) == outcome(hpacml.functor(PAIR), names)


def test_runs_without_python() -> None:
    functor, names = opened()
    rows: list[torch.Tensor] = []
    names |= {"a": np.ones(6), "b": np.arange(6) * 2.0}
    rows.append(functor.gather(TEXT, **names))
    assert frames(lambda: functor.gather(TEXT, **names))[:2] == ["gather", "make"]
    names["a"][3] = 7.0
    rows.append(functor.gather(TEXT, **names))
    assert rows[0][:, 0].tolist() == [1.0] * 5
    assert rows[1][:, 0].tolist() == [1, 1, 1, 7, 1]
    assert rows[1][:, 1].tolist() == [2, 4, 6, 8, 10]
    more = [functor.gather(TEXT, **names) for _ in range(3)]
    assert len({each.data_ptr() for each in (*rows, *more)}) == 5


def test_indices_are_checked_in_each_call() -> None:
    functor = hpacml.functor("f: [i, 0:2] = ([i, 0:2])")
    table, indices = np.arange(20.0).reshape(10, 2), np.array([3, 1, 9])
    for _ in range(3):
        assert functor.gather("t[j[0:3], 0:2]", t=table, j=indices).tolist() == table[indices].tolist()
    indices[1] = 10
    for _ in range(2):
        with pytest.raises(hpacml.MapError, match="10"):
            functor.gather("t[j[0:3], 0:2]", t=table, j=indices)
    indices[1] = 0
    assert functor.gather("t[j[0:3], 0:2]", t=table, j=indices).tolist() == table[indices].tolist()


def test_tracers_are_told() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    functor, names = opened()
    traced = make_fx(lambda x: x + functor.gather(TEXT, **names))
    with pytest.raises(hpacml.MapError):
        traced(torch.ones(5, 2, dtype=torch.float64))
    with torch.inference_mode():
        assert functor.gather(TEXT, **names).is_inference()
    assert not functor.gather(TEXT, **names).is_inference()


def test_arrays_are_not_kept() -> None:
    functor, names = opened()
    counts = [sys.getrefcount(names["a"]), sys.getrefcount(names["b"])]
    for _ in range(100):
        functor.gather(TEXT, **names)
        with pytest.raises(hpacml.MapError):
            functor.gather(TEXT, **{**names, "n": 9})
    assert [sys.getrefcount(names["a"]), sys.getrefcount(names["b"])] == counts
