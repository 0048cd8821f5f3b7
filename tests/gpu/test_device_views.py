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


@pytest.mark.parametrize("columns", [(slice(1, 6), slice(5)), (slice(5), slice(1, 6)), (slice(4), slice(4, 8))])
def test_parts_that_differ_between_iterations(machine: Machine, columns: tuple[slice, slice]) -> None:
    memory = np.random.default_rng(1).random((4, 8))
    expected = memory.copy()
    views.lower_parts.py_func(*(expected[:, part] for part in columns))
    there = parts_of(machine, memory, columns)
    Kernel(views.lower_parts.py_func)(*there[1:])
    np.testing.assert_array_equal(machine.host(there[0]), expected)


@hpacml.kernel
def measured(a: views.Wide, b: views.Wide):
    for i in prange(len(a)):
        n = int(a[i, 0])
        a[i, :n:2] = 2 * b[i, :n:2]


def test_memory_that_no_kernel_can_have(machine: Machine) -> None:
    """How long rows are, elements of arrays tell: in memory of their own, there is no need for other memory."""
    memory = np.arange(40.0).reshape(4, 10) % 7 % 4
    expected = memory.copy()
    there, other, shared = parts_of(machine, memory, (slice(3), slice(2, 5)))
    Kernel(measured.py_func)(there, machine.there(expected.copy()))
    measured.py_func(expected, expected.copy())
    np.testing.assert_array_equal(machine.host(there), expected)
    with pytest.raises(
        hpacml.DeviceError, match="cannot run on a GPU for arrays that share memory: it has a local array"
    ):
        Kernel(measured.py_func)(other, shared)
    np.testing.assert_array_equal(machine.host(there), expected)


def parts_of(machine: Machine, memory: Any, columns: tuple[slice, ...]) -> list[Any]:
    """An array on the machine, and columns of it."""
    if not machine.real:
        return [machine.there(memory), *(machine.there(memory[:, part]) for part in columns)]
    there = torch.from_numpy(memory).cuda()
    return [there, *(there[:, part] for part in columns)]
