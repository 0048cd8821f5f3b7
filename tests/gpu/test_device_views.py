"""Views, constant arrays and expressions of arrays in parallel loops on a GPU: as Python has them, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hpacml
from hpacml import prange
from hpacml.frontend.kernel import Kernel
from tests.gpu import views
from tests.machines import Machine


@pytest.mark.parametrize("name", views.CASES)
def test_as_in_python(machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And as on the CPU to the last bit, where NumPy adds in another order."""
    kernel, here = views.CASES[name].kernel, views.CASES[name].arguments()
    expected = views.in_python(name, monkeypatch)
    kernel(*here)
    there = [machine.there(each) if isinstance(each, np.ndarray) else each for each in views.CASES[name].arguments()]
    Kernel(kernel.py_func)(*there)
    assert machine.launched
    for found, on_host, wanted in zip(there, here, expected, strict=True):
        if isinstance(wanted, np.ndarray):
            np.testing.assert_array_equal(machine.host(found), on_host)
            np.testing.assert_allclose(on_host, wanted, rtol=views.rtol(name), atol=0)


@hpacml.kernel
def shifted(a: views.Wide, b: views.Wide):
    for i in prange(len(a)):
        a[i] = 2 * b[i] + i


@pytest.mark.parametrize("columns", [(slice(1, None), slice(-1)), (slice(-1), slice(1, None)), (slice(3), slice(3, 6))])
def test_arrays_of_a_call_that_share_memory(machine: Machine, columns: tuple[slice, slice]) -> None:
    """Each row is computed as if it shared none with what it reads."""
    memory = np.random.default_rng(1).random((5, 8))
    expected = memory.copy()
    shifted.py_func(*(expected[:, part] for part in columns))
    there = parts_of(machine, memory, columns)
    Kernel(shifted.py_func)(*there[1:])
    np.testing.assert_array_equal(machine.host(there[0]), expected)


def test_memory_that_no_kernel_can_have(machine: Machine) -> None:
    memory = np.random.default_rng(1).random((5, 8))
    there = parts_of(machine, memory.copy(), (slice(1, 6), slice(5)))
    with pytest.raises(
        hpacml.DeviceError, match="cannot run on a GPU for arrays that share memory: it has a local array"
    ):
        Kernel(views.lower_parts.py_func)(*there[1:])
    np.testing.assert_array_equal(machine.host(there[0]), memory)


def parts_of(machine: Machine, memory: Any, columns: tuple[slice, ...]) -> list[Any]:
    """An array on the machine, and columns of it."""
    if not machine.real:
        return [machine.there(memory), *(machine.there(memory[:, part]) for part in columns)]
    there = torch.from_numpy(memory).cuda()
    return [there, *(there[:, part] for part in columns)]
