"""The applications' code for GPUs: it is assembled, and runs on a simulated one."""

import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from hpacml.backend import libdevice
from tests.machines import Simulated
from tests.simulated_gpu import simulated


@contextmanager
def on_gpu(monkeypatch):
    """A machine with a simulated GPU. Without libdevice, which has its mathematics, the test is skipped."""
    _require_libdevice()
    with simulated(monkeypatch) as devices:
        machine = Simulated(devices)
        yield machine
        assert machine.launched


def assembled(kernel, folder, **constants):
    """Have `ptxas` assemble a kernel's code for some constants; the names of what it launches."""
    _require_libdevice()
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas, of CUDA, is not on PATH")
    source = folder / "kernel.ptx"
    source.write_text(text := kernel.ptx("sm_90", **({"constants": constants} if constants else {})))
    command = ["ptxas", "--warning-as-error", "-arch=sm_90", source, "-o", folder / "kernel.cubin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return re.findall(r"\.entry (\w+)", text)


def _require_libdevice():
    if libdevice.find() is None:
        pytest.skip("libdevice, of CUDA, is not installed")
