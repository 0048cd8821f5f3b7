"""Writes that Torch must know of, and arrays whose memory is exchanged in the middle of a call."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx

Array = Float64[torch.Tensor, "n"]
POINT = "tensor functor(point: [i] = ([i]))"
F = hpacml.functor("point: [i] = ([i])")


@hpacml.region(f"{POINT} ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)")
def region(a, y, n, net):
    raise AssertionError


@hpacml.kernel
def kernel(a: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(point: [i] = ([i]))")
    with approx("ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)"):
        for i in range(n):
            y[i] = a[i]


@hpacml.kernel
def doubled(a: Array, y: Array):
    for i in range(len(a)):
        y[i] = 2.0 * a[i]


def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


WRITES = {
    "region": lambda a, y: region(a, y, 3, twice),
    "kernel with a model": lambda a, y: kernel(a, y, twice),
    "kernel": doubled,
    "scatter": lambda a, y: F.scatter(2 * a, "y[0:3]", y=y),
    "gather": lambda a, y: F.gather("a[0:3]", a=a, out=y),
    "a view": lambda a, y: doubled(a, y.view(3, 1)[:, 0]),
}


@pytest.mark.parametrize("way", WRITES)
def test_gradients_that_need_what_was_there_are_refused(way: str) -> None:
    a, y, w = torch.ones(3).double(), torch.full((3,), 5.0).double(), torch.ones(3).double().requires_grad_()
    loss = (w * y).sum()  # whose gradient is y
    read = (w * a).sum()
    WRITES[way](a, y)
    read.backward()
    assert w.grad.tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_of_inference_mode_have_no_count() -> None:
    with torch.inference_mode():
        a, y = torch.ones(3).double(), torch.zeros(3).double()
        region(a, y, 3, twice)
        doubled(y, a)
    assert a.tolist() == [4, 4, 4]


def other_data(y: torch.Tensor) -> None:
    y.data = torch.full_like(y, 9.0)


def other_storage(y: torch.Tensor) -> None:
    y.set_(torch.full_like(y, 9.0))


def swapped(y: torch.Tensor) -> None:
    torch.utils.swap_tensors(y, torch.full_like(y, 9.0))


def emptied(y: torch.Tensor) -> None:
    y.untyped_storage().resize_(0)


def grown(y: torch.Tensor) -> None:
    y.resize_(1 << 20)


def smaller(y: torch.Tensor) -> None:
    y.resize_(1)


def shared(y: torch.Tensor) -> None:
    y.share_memory_()


def resized_array(y: np.ndarray) -> None:
    y.resize((1 << 20,), refcheck=False)


def smaller_array(y: np.ndarray) -> None:
    y.resize((1,), refcheck=False)


TENSORS = [other_data, other_storage, swapped, emptied, grown, smaller, shared]
ARRAYS = [resized_array, smaller_array]


def fresh(change: Any) -> Any:
    y = np.full(2000, 5.0)
    return y if change in ARRAYS else torch.from_numpy(y).clone()


@pytest.mark.parametrize("change", TENSORS + ARRAYS)
def test_a_model_that_exchanges_an_array(change: Any) -> None:
    for run in (lambda a, y, net: region(a, y, 2000, net), kernel):
        y = fresh(change)
        if isinstance(y, np.ndarray) and run is kernel:
            continue

        def net(x: torch.Tensor) -> torch.Tensor:
            change(y)  # noqa: B023
            gc.collect()
            return x

        a = torch.ones(2000).double()
        with pytest.raises(hpacml.MapError, match="has given the array 'y' other memory or sizes"):
            run(a, y, net)
        assert not len(y) or change is emptied or float(y[0]) in (5.0, 9.0)


@pytest.mark.parametrize("change", TENSORS + ARRAYS)
def test_a_body_that_exchanges_an_array(change: Any, tmp_path: Path) -> None:
    @hpacml.region(
        f"{POINT} ml(collect) in(point(a[0:n])) out(point(y[0:n])) database('{tmp_path}/d.h5') if(on)",
    )
    def collected(a, y, n, change, on):
        if change is not None:
            change(y)
        else:
            y[:n] = 2 * a[:n]

    a = torch.ones(2000).double()
    collected(a, fresh(change), 2000, None, True)
    with pytest.raises(hpacml.MapError, match="the original code of collected has given the array 'y' other memory"):
        collected(a, fresh(change), 2000, change, True)
    collected(a, fresh(change), 2000, change, False)  # it is not recorded, and may
    hpacml.flush()
    assert len(hpacml.open_database(tmp_path / "d.h5")["collected"].runtime) == 1


def test_a_body_that_exchanges_an_input_or_an_index_array(tmp_path: Path) -> None:
    @hpacml.region(f"{POINT} ml(collect) in(point(a[0:n])) out(point(y[k[0:n]])) database('{tmp_path}/d.h5')")
    def collected(a, y, k, n):
        k.data = torch.arange(n)

    with pytest.raises(hpacml.MapError, match="the array 'k'"):
        collected(torch.ones(5).double(), torch.ones(5).double(), torch.arange(5), 5)


def test_arrays_that_stay_are_found_in_place_with_a_debugging_allocator() -> None:
    program = """
import numpy as np, hpacml
@hpacml.region("tensor functor(f: [i] = ([i])) ml(infer) in(f(a[0:n])) out(f(y[0:n])) model(net)")
def region(a, y, n, net):
    pass
y = np.zeros(3)
for _ in range(20):
    region(np.ones(3), y, 3, lambda x: 2 * x)
assert y.tolist() == [2, 2, 2]
"""
    subprocess.run([sys.executable, "-X", "dev", "-c", program], check=True, timeout=120)
