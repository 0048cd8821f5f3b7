"""MiniWeather on a GPU: its steps, by the program and by a model, and its experiment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.experiment import Setup
from examples.miniweather import app, experiment
from hpacml.backend import libdevice
from hpacml.frontend.kernel import Kernel
from tests.machines import Cuda, Machine
from tests.test_gpu import assemble

pytestmark = pytest.mark.skipif(libdevice.find() is None, reason="libdevice, of CUDA, is not installed")


def halved(state: torch.Tensor) -> torch.Tensor:
    return 0.5 * state


@pytest.mark.slow
def test_steps_of_program_and_model_take_turns(machine: Machine) -> None:
    on_device = app.Simulation(12, 6, "injection", "official", place=machine.there)
    expected = app.Simulation(12, 6, "injection", "official")
    for simulation in (on_device, expected):
        simulation.step(4, halved, pattern=(2, 1))
    assert machine.launched > 100
    found = machine.host(on_device.state)
    np.testing.assert_allclose(found, expected.state, rtol=0, atol=1e-11)  # `pow` rounds otherwise


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="ptxas, of CUDA, is not on PATH")
@pytest.mark.parametrize("kernel", [app._all_along_x, app._all_along_z], ids=["x", "z"])
def test_ptxas_takes_it(kernel: Kernel[..., Any], tmp_path: Path) -> None:
    assemble(kernel.ptx("sm_90"), "sm_90", tmp_path)


@pytest.mark.gpu
def test_the_experiment_runs_on_a_gpu(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(experiment.SIZES, "small", experiment.Size(24, 12, training=8, validation=2, test=2, run=4))
    found, expected = (experiment.program(Setup(device=device))() for device in ("cuda", "cpu"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    experiment.collect(Setup(device="cuda"), Path("data.h5").absolute())
    assert Path("data.h5").exists()
