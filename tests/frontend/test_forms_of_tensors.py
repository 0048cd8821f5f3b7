"""Maps of tensors of Torch, into given ones, and back: those that recur are made natively, and do what the first did."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hpacml
from hpacml.runtime.arrays import torch_layout
from tests.frontend.test_forms import frames

PAIR = "f: [i, 0:2] = ([i], [i])"
TEXT = "a[0:4], b[1:5]"


def shrunk() -> torch.Tensor:
    tensor = torch.arange(6.0)
    tensor.untyped_storage().resize_(8)
    return tensor


def with_gradient(requires: bool) -> torch.Tensor:
    return torch.arange(6.0, requires_grad=True).requires_grad_(requires)


def inferred() -> torch.Tensor:
    with torch.inference_mode():
        return torch.arange(6.0)


def lazy() -> torch.Tensor:
    return torch._lazy_clone(torch.arange(6.0))


MADE: dict[str, Callable[[], Any]] = {
    "tensor": lambda: torch.arange(6.0),
    "array": lambda: np.arange(6, dtype=np.float32),
    "offset": lambda: torch.arange(9.0)[3:].detach(),
    "view": lambda: torch.arange(9.0)[3:],
    "every second": lambda: torch.arange(12.0)[::2].detach(),
    "longer": lambda: torch.arange(7.0),
    "integers": lambda: torch.arange(6, dtype=torch.int32),
    "doubles": lambda: torch.arange(6.0, dtype=torch.float64),
    "matrix": lambda: torch.arange(6.0)[None],
    "shrunk": shrunk,
    "of gradients": lambda: with_gradient(True),
    "without gradients": lambda: with_gradient(False),
    "parameter": lambda: torch.nn.Parameter(torch.arange(6.0)),
    "negated": lambda: torch._neg_view(torch.arange(6.0)),
    "inferred": inferred,
    "lazy": lazy,
    "read only": lambda: np.frombuffer(np.arange(6, dtype=np.float32).tobytes(), np.float32),
}
KINDS = st.sampled_from(["tensor", "tensor", "array", *MADE])
TENSORS: dict[str, Callable[[Any], Any]] = {
    "tensor": lambda a: torch.full((4, 2), 2.5),
    "array": lambda a: np.zeros((4, 2), np.float32),
    "transposed": lambda a: torch.full((2, 4), 2.5).T.detach(),
    "view": lambda a: torch.full((4, 4), 2.5)[:, 1:3],
    "doubles": lambda a: torch.zeros(4, 2, dtype=torch.float64),
    "larger": lambda a: torch.zeros(5, 2),
    "of gradients": lambda a: torch.zeros(4, 2, requires_grad=True),
    "lazy": lambda a: torch._lazy_clone(torch.full((4, 2), 2.5)),
    "shared": lambda a: (
        a[None, :2].repeat(4, 0) if isinstance(a, np.ndarray) else a.detach().as_strided((4, 2), (0, 1))
    ),
    "list": lambda a: [[0.0] * 2] * 4,
}


def listed(value: Any) -> Any:
    try:
        return value.tolist()
    except (AttributeError, RuntimeError) as error:
        return str(error)


def version(value: Any) -> Any:
    return value._version if isinstance(value, torch.Tensor) and not value.is_inference() else None


def gathered(functor: Any, a: Any, b: Any, out: Any) -> tuple[Any, ...]:
    try:
        before = version(out)
        found = functor.gather(TEXT, a=a, b=b, out=out)
        return listed(found), found is out, before is not None and version(out) - before
    except Exception as error:
        return type(error), str(error)


def scattered(functor: Any, a: Any, b: Any, tensor: Any) -> tuple[Any, ...]:
    try:
        before = version(a)
        functor.scatter(tensor, TEXT, a=a, b=b)
        return listed(a), listed(b), before is not None and version(a) - before
    except Exception as error:
        return type(error), str(error)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(KINDS, KINDS, st.sampled_from(["tensor", *TENSORS]), st.integers(1, 3)), max_size=3))
def test_do_what_new_functors_do(calls: list[Any]) -> None:
    functor = hpacml.functor(PAIR)
    start: list[Any] = [("tensor", "tensor", "tensor", 3)]
    for kind_a, kind_b, tensor, repeats in start + calls:
        for _ in range(repeats):
            for run in (gathered, scattered):
                a, b = MADE[kind_a](), MADE[kind_b]()
                known_a, known_b = MADE[kind_a](), MADE[kind_b]()
                expected = run(hpacml.functor(PAIR), known_a, known_b, TENSORS[tensor](known_a))
                assert run(functor, a, b, TENSORS[tensor](a)) == expected


def test_run_without_python() -> None:
    assert torch_layout.kind_and_keys(torch.zeros(1)) is not None, "tensors of this Torch are not known"
    functor = hpacml.functor(PAIR)
    a, b, out = torch.arange(6.0), np.arange(6, dtype=np.float32), torch.zeros(4, 2)
    for _ in range(2):
        functor.gather(TEXT, a=a, b=b, out=out)
        functor.scatter(out, TEXT, a=a, b=b)
        functor.gather(TEXT, a=a, b=b)
    assert frames(lambda: functor.gather(TEXT, a=a, b=b, out=out)) == ["gather", "settle"]
    assert frames(lambda: functor.scatter(out, TEXT, a=a, b=b)) == ["scatter", "settle"]
    assert frames(lambda: functor.gather(TEXT, a=a, b=b))[:2] == ["gather", "make"]
    a[0] = 9.0
    assert functor.gather(TEXT, a=a, b=b, out=out) is out
    assert out.tolist() == [[9, 1], [1, 2], [2, 3], [3, 4]]


def test_memory_that_a_tensor_has_got_since() -> None:
    functor = hpacml.functor(PAIR)
    a, b, out = torch.arange(6.0), torch.arange(6.0), torch.zeros(4, 2)
    for _ in range(3):
        functor.gather(TEXT, a=a, b=b, out=out)
    a.set_(torch.full((6,), 5.0))
    out.data = torch.zeros(4, 2)
    assert functor.gather(TEXT, a=a, b=b, out=out)[:, 0].tolist() == [5.0] * 4
    a.resize_(3)
    with pytest.raises(hpacml.MapError, match="a"):
        functor.gather(TEXT, a=a, b=b, out=out)


def test_tensors_that_share_memory_with_arrays() -> None:
    functor = hpacml.functor(PAIR)
    memory, b = torch.arange(20.0), torch.arange(6.0)
    for start in (6, 14, 0, 5, 13, 6):
        a, tensor = memory.detach()[start : start + 6].detach(), memory[6:14].view(4, 2).detach()
        apart = start in (14, 0)
        if apart:
            assert functor.gather(TEXT, a=a, b=b, out=tensor)[:, 0].tolist() == a[:4].tolist()
        else:
            with pytest.raises(hpacml.MapError, match="'out' shares memory with 'a'"):
                functor.gather(TEXT, a=a, b=b, out=tensor)
        rows = tensor.tolist()
        functor.scatter(tensor, TEXT, a=a, b=b)
        assert [a[:4].tolist(), b[1:5].tolist()] == np.transpose(rows).tolist()


def test_lazy_copies_are_not_written_through() -> None:
    functor = hpacml.functor(PAIR)
    a, b, out = torch.arange(6.0), torch.arange(6.0), torch.zeros(4, 2)
    for _ in range(3):
        functor.gather(TEXT, a=a, b=b, out=out)
    other = torch._lazy_clone(out)
    a += 100.0
    functor.gather(TEXT, a=a, b=b, out=out)
    assert other[:, 0].tolist() == [0, 1, 2, 3]
    assert out[:, 0].tolist() == [100, 101, 102, 103]


def test_gradients_that_need_what_is_overwritten_are_refused() -> None:
    functor = hpacml.functor(PAIR)
    a, b, out = torch.arange(6.0), torch.arange(6.0), torch.ones(4, 2)
    for _ in range(3):
        functor.gather(TEXT, a=a, b=b, out=out)
        functor.scatter(out, TEXT, a=a, b=b)
    for write in (
        lambda: functor.gather(TEXT, a=a, b=b, out=out),
        lambda: functor.scatter(out, TEXT, a=a, b=b),
    ):
        weight = torch.ones((), requires_grad=True)
        loss = (weight * out).sum() + (weight * a).sum()
        write()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()  # pyright: ignore[reportUnknownMemberType]


def test_tensors_are_not_kept() -> None:
    functor = pickle.loads(pickle.dumps(hpacml.functor(PAIR)))
    a, b, out = torch.arange(6.0), torch.arange(6.0), torch.zeros(4, 2)
    counts = [sys.getrefcount(each) for each in (a, b, out)]
    for _ in range(50):
        functor.gather(TEXT, a=a, b=b, out=out)
        functor.scatter(out, TEXT, a=a, b=b)
        with pytest.raises(hpacml.MapError):
            functor.gather(TEXT, a=a, b=b, out=a)
    assert [sys.getrefcount(each) for each in (a, b, out)] == counts
