"""Original code of guarded regions on a GPU: a kernel makes only the points that the guards leave to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx
from tests.machines import Machine

Plate = Float64[np.ndarray, "n m"]


class Hotter(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1000.0


@hpacml.kernel
def smooth(t: Plate, new: Plate, mask: Float64[np.ndarray, "a b"], net: Any):
    n, m = t.shape
    approx("tensor functor(point: [i, j, 0:1] = ([i, j]))")
    with approx("ml(infer) in(point(t[1:n-1, 1:m-1])) out(point(new[1:n-1, 1:m-1])) model(net) guard(where: mask)"):
        for i in hpacml.prange(1, n - 1):
            for j in hpacml.prange(1, m - 1):
                new[i, j] = 0.25 * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_points_that_are_left_to_the_original_code(machine: Machine, share: float) -> None:
    rng = np.random.default_rng(0)
    t, new = rng.random((6, 7)), rng.random((6, 7))
    mask = (rng.random((4, 5)) >= share).astype(np.float64)
    original = 0.25 * (t[:-2, 1:-1] + t[2:, 1:-1] + t[1:-1, :-2] + t[1:-1, 2:])
    expected = new.copy()
    expected[1:-1, 1:-1] = np.where(mask != 0.0, t[1:-1, 1:-1] + 1000.0, original)
    there = machine.there(new)
    smooth(machine.there(t), there, machine.there(mask), machine.network(Hotter()))
    np.testing.assert_array_equal(machine.host(there), expected)


def test_the_nest_with_the_mask_is_one_kernel() -> None:
    masked = str(smooth.ir(stage="gpu")).partition("func.func private @smooth_body_masked(")[2]
    assert masked.count('"gpu.launch"') == 1
    assert "memref.load %mask" in masked
    assert "scf.parallel" not in masked
    name = re.search(r"function = @(\w+)", masked)
    assert name is not None
    assert re.search(rf"\.entry {name[1]}\(", smooth.ptx())


@hpacml.kernel
def in_range(t: Plate, new: Plate, net: Any):
    n, m = t.shape
    approx("tensor functor(pair: [i, j, 0:2] = ([i, j - 1], [i, j + 1]))")
    approx("tensor functor(point: [i, j, 0:1] = ([i, j]))")
    with approx("ml(infer) in(pair(t[0:n, 1:m-1])) out(point(new[0:n, 1:m-1])) model(net) guard(range)"):
        for i in hpacml.prange(n):
            for j in hpacml.prange(1, m - 1):
                new[i, j] = 0.5 * (t[i, j - 1] + t[i, j + 1])


def test_ranges_of_a_model(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    net = torch.nn.Linear(2, 1).double()
    torch.nn.init.constant_(net.weight, 100.0)
    torch.nn.init.zeros_(net.bias)
    domain = np.array([[0.2, 0.0], [0.9, 0.7]])
    hpacml.save_model(net, path, example=torch.zeros(2, 2, dtype=torch.float64), domain=domain)
    t = np.random.default_rng(0).random((6, 9))
    t[2, 3] = np.nan
    new = np.zeros((6, 9))
    left, right = t[:, :-2], t[:, 2:]
    inside = (left >= 0.2) & (left <= 0.9) & (right >= 0.0) & (right <= 0.7)
    assert inside.any()
    assert not inside.all()
    there = machine.there(new)
    in_range(machine.there(t), there, str(path))
    made = machine.host(there)
    np.testing.assert_array_equal(made[:, 1:-1][~inside], (0.5 * (left + right))[~inside])
    np.testing.assert_allclose(made[:, 1:-1][inside], (100 * left + 100 * right)[inside])
    assert not made[:, [0, -1]].any()
