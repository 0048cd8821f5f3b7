"""`torch.set_default_device` is for the program's tensors: those of calls on the host stay there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from tests.gpu import stencil

PAIRS = hpacml.functor("pairs: [i, 0:2] = ([i], [i + 1])")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default device has no memory at all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    with torch.device("meta"):
        yield
        hpacml.flush()


@pytest.mark.parametrize("size", [1, 10, 1 << 18])
def test_gathers(size: int) -> None:
    a = np.arange(size)
    x = PAIRS.gather("a[0:n-1]", a=a, n=size)
    assert x.device.type == "cpu"
    np.testing.assert_array_equal(x, np.stack([a[:-1], a[1:]], -1))


@pytest.mark.parametrize("name", ["net.pt2", "net.pt", "net.safetensors"])
def test_inference(name: str) -> None:
    with torch.device("cpu"):
        net, (t, new) = stencil.network(), stencil.grids()
        expected = stencil.inferred(t, new, net)
    hpacml.save_model(net, name, example=stencil.features(t).numpy())
    stencil.region(stencil.refuse)(t, new, *t.shape, name)
    np.testing.assert_allclose(new, expected, rtol=1e-5)


def test_nothing_to_infer() -> None:
    t = np.zeros((2, 2), np.float32)
    stencil.region(stencil.refuse)(t, t.copy(), 2, 2, lambda x: x[..., :1])


def test_collecting_and_training() -> None:
    t, new = stencil.grids()
    stencil.region(stencil.averaged)(t, new, *t.shape, None, False)
    hpacml.flush()
    with hpacml.open_database("heat.h5") as database:
        region: Any = database["heat"]
        x, y = region.dataset()[0]
        assert x.device.type == y.device.type == "cpu"
