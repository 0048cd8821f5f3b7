"""Regions without `in` and `out` on a simulated GPU, where a number that is a feature is filled in by a kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float64

import hpacml
from hpacml import approx
from tests.machines import Simulated
from tests.simulated_gpu import simulated

Line = Float64[np.ndarray, "n"]


@hpacml.kernel
def diffuse(t: Line, new: Line, alpha: float):
    with approx("ml(collect) database('gpu.h5')"):
        for i in hpacml.prange(1, len(t) - 1):
            new[i] = alpha * (t[i - 1] + t[i + 1])


def test_collects_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    t, new = np.arange(6.0), np.zeros(6)
    with simulated(monkeypatch, 1) as devices:
        machine = Simulated(devices)
        diffuse(machine.there(t), machine.there(new), 0.5)
        hpacml.flush()
    with hpacml.open_database("gpu.h5") as database:
        x, y = database["diffuse"].inputs[0][0], database["diffuse"].outputs[0][0]
    np.testing.assert_array_equal(x, [[t[i - 1], t[i + 1], 0.5] for i in range(1, 5)])
    np.testing.assert_array_equal(y[:, 0], new[1:5])
