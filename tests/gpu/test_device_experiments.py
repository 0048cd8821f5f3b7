"""MiniBUDE and Binomial Options on a GPU: what their kernels give there, and their experiments from first to last."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.binomial_options import app as options
from examples.binomial_options import experiment as of_options
from examples.experiment import Setup
from examples.minibude import app as minibude
from examples.minibude import experiment as of_minibude
from hpacml.backend import libdevice
from hpacml.frontend.kernel import Kernel
from tests.machines import Cuda, Machine
from tests.test_gpu import assemble

pytestmark = pytest.mark.skipif(libdevice.find() is None, reason="libdevice, of CUDA, is not installed")


def there(machine: Machine, bundle: Any) -> Any:
    """A bundle whose arrays are on the machine."""
    if isinstance(bundle, tuple):
        return bundle._make(there(machine, field) for field in bundle)
    return machine.there(bundle)


@pytest.mark.parametrize("poses", [1, 10])
def test_poses_are_docked(machine: Machine, poses: int) -> None:
    deck = minibude.synthetic_deck(6, 7, poses)
    energies = machine.there(np.zeros(poses, np.float32))
    on_device = there(machine, deck)
    kernel = Kernel(minibude.dock_on_gpu.py_func)
    kernel(on_device, on_device.poses, energies, 1, False, False, None, None)
    expected = minibude.accurate(deck, deck.poses)
    np.testing.assert_allclose(machine.host(energies), expected, rtol=1e-5, atol=1e-4)  # `sin` rounds otherwise


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="ptxas, of CUDA, is not on PATH")
@pytest.mark.parametrize("kernel", [minibude.dock_on_gpu, options.lattice], ids=["minibude", "binomial_options"])
def test_ptxas_takes_it(kernel: Kernel[..., Any], tmp_path: Path) -> None:
    assemble(kernel.ptx("sm_90"), "sm_90", tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("of", [of_minibude, of_options], ids=["minibude", "binomial_options"])
def test_experiments_run_on_a_gpu(cuda: Cuda, of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        of_minibude: of_minibude.Size(training=200, first=200, poses=50, fewest=50, pairs=0, atoms=20),
        of_options: of_options.Size(training=200, first=200, options=50, steps=32),
    }[of]
    monkeypatch.setitem(of.SIZES, "small", small)
    found, expected = (of.EXPERIMENT.program(Setup(device=device))() for device in ("cuda", "cpu"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    of.EXPERIMENT.collect(Setup(device="cuda"), Path("data.h5").absolute())
    assert Path("data.h5").exists()
