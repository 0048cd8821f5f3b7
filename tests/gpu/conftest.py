"""Tests of code for GPUs run twice: on a simulated device and, marked `gpu`, on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hpacml
from tests import differential
from tests.machines import Cuda, Machine, Simulated, Transferred, missing_gpu
from tests.simulated_gpu import simulated

REAL = pytest.param("real", marks=pytest.mark.gpu)


def require_gpu() -> None:
    if (reason := missing_gpu()) is not None:
        pytest.skip(reason)


@pytest.fixture(params=["simulated", REAL])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """A machine with one GPU, and an empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    if request.param == "real":
        require_gpu()
        yield Cuda(monkeypatch)
        hpacml.flush()
        return
    with simulated(monkeypatch) as devices:
        yield Simulated(devices)
        hpacml.flush()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cuda:
    """A real GPU."""
    require_gpu()
    monkeypatch.chdir(tmp_path)
    return Cuda(monkeypatch)


@pytest.fixture
def placed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine, and calls beside the oracle have their arrays there, and all indices checked before they return."""
    monkeypatch.setattr(differential, "placement", machine)
    monkeypatch.setenv("HPACML_CHECK", "sync")
    return machine


@pytest.fixture
def transferred(placed: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine, and calls beside the oracle have their arrays on the host, with the target "gpu"."""
    monkeypatch.setattr(differential, "placement", Transferred(placed))
    return placed
