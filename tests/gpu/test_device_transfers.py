"""Arrays of the host with the target "gpu": what is touched goes to the device, and what is written comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import prange
from tests.gpu import stencil
from tests.gpu.test_device_calls import close, fail
from tests.machines import Machine

PAIRS = hpacml.functor("pairs: [i, 0:2] = ([i], [i + 1])", target="gpu")
ONE = hpacml.functor("one: [i, 0:1] = ([i])", target="gpu")


@pytest.fixture
def copied(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of pinned memory that calls have used, one number for each array."""
    sizes: list[int] = []
    kind = type(machine.device)
    pinned = kind.pinned

    def counted(device: Any, size: int) -> torch.Tensor:
        sizes.append(size)
        return pinned(device, size)

    monkeypatch.setattr(kind, "pinned", counted)
    return sizes


def test_a_gather_copies_what_its_map_touches(machine: Machine, copied: list[int]) -> None:
    a = np.random.rand(1000)
    x = PAIRS.gather("a[100:200]", a=a)
    assert x.is_cuda == machine.real
    np.testing.assert_array_equal(machine.host(x), np.stack([a[100:200], a[101:201]], -1))
    assert copied == [101 * 8]


def test_a_gather_of_rows_by_index_copies_the_indices_that_it_reads(machine: Machine, copied: list[int]) -> None:
    a, r = np.random.rand(50), np.arange(40)[::-1].copy()
    x = ONE.gather("a[r[10:20]]", a=a, r=r)
    np.testing.assert_array_equal(machine.host(x)[:, 0], a[r[10:20]])
    assert sorted(copied)[-2:] == [10 * 8, 50 * 8]  # and what is found of the indices


def test_nothing_to_copy(machine: Machine, copied: list[int]) -> None:
    assert PAIRS.gather("a[0:n]", a=np.zeros(5), n=0).shape == (0, 2)
    ONE.scatter(np.zeros((0, 1)), "a[0:n]", a=np.zeros(5), n=0)
    assert not any(copied)


def test_a_scatter_writes_back_what_its_map_touches(machine: Machine, copied: list[int]) -> None:
    a = np.arange(1000.0)
    ONE.scatter(np.full((20, 1), -1.0), "a[10:50:2]", a=a)
    expected = np.arange(1000.0)
    expected[10:50:2] = -1
    np.testing.assert_array_equal(a, expected)
    assert sorted(copied) == [20 * 8, 39 * 8]


@pytest.mark.parametrize("layout", ["reversed", "columns", "Torch"])
def test_arrays_of_any_strides(machine: Machine, layout: str) -> None:
    memory = np.arange(60.0)
    a: Any = {"reversed": memory[::-1], "columns": memory.reshape(30, 2)[:, 1], "Torch": torch.from_numpy(memory)[::2]}
    a = a[layout]
    expected = a[:-1].clone() if layout == "Torch" else a[:-1].copy()
    assert machine.host(ONE.gather("a[0:n]", a=a, n=len(a) - 1))[:, 0].tolist() == expected.tolist()
    ONE.scatter(expected[:, None], "a[1:n]", a=a, n=len(a))
    assert a[1:].tolist() == expected.tolist()


def test_a_tensor_of_the_device_into_arrays_of_the_host(machine: Machine) -> None:
    a = np.zeros(10, np.float32)
    ONE.scatter(machine.there(torch.ones(5, 1)), "a[0:5]", a=a)
    assert a.tolist() == [1.0] * 5 + [0.0] * 5


def test_into_a_tensor_of_the_host(machine: Machine) -> None:
    out = torch.zeros(5, 2, dtype=torch.float64)
    assert PAIRS.gather("a[0:5]", a=np.arange(10.0), out=out) is out
    assert out.tolist() == [[n, n + 1] for n in range(5)]


def test_a_region_copies_what_its_maps_touch(machine: Machine, copied: list[int]) -> None:
    t, new = stencil.grids(20, 30)
    expected = stencil.inferred(t[:9, :11], new[:9, :11], stencil.network())
    kept = new.copy()
    stencil.region(stencil.refuse, target="gpu")(t, new, 9, 11, machine.network(stencil.network()))
    np.testing.assert_allclose(new[:9, :11], expected, rtol=1e-5, atol=1e-6)
    new[:9, :11] = kept[:9, :11]
    np.testing.assert_array_equal(new, kept)
    assert sorted(copied) == [7 * 9 * 4, 9 * 11 * 4]
    assert machine.captures == 0


def test_original_code_works_on_the_host(machine: Machine, copied: list[int]) -> None:
    """Collecting has nothing for a GPU to do."""
    t, new = stencil.grids()
    expected = new.copy()
    stencil.averaged(t, expected)
    stencil.region(stencil.averaged, target="gpu")(t, new, 9, 11, None, False)
    np.testing.assert_array_equal(new, expected)
    assert (copied, machine.launched) == ([], 0)


def test_what_original_code_has_written_for_a_failed_model_stays(machine: Machine, copied: list[int]) -> None:
    t, new = stencil.grids()
    expected = new.copy()
    stencil.averaged(t, expected)
    stencil.region(stencil.averaged, target="gpu", on_error="accurate")(t, new, 9, 11, fail)
    np.testing.assert_array_equal(new, expected)
    assert copied


def test_an_error_leaves_arrays_as_they_are(machine: Machine) -> None:
    t, new = stencil.grids()
    kept = new.copy()
    with pytest.raises(hpacml.ModelError):
        stencil.region(stencil.refuse, target="gpu")(t, new, 9, 11, fail)
    np.testing.assert_array_equal(new, kept)


Vector = Float64[np.ndarray, "n"]


@hpacml.kernel(target="gpu")
def axpy(a: float, x: Vector, y: Vector):
    for i in prange(x.shape[0]):
        y[i] += a * x[i]


def test_a_kernel(machine: Machine) -> None:
    x, y = np.random.rand(2, 100)
    expected = y + 2.0 * x
    axpy(2.0, x, y)
    np.testing.assert_allclose(y, expected, rtol=1e-15)
    assert machine.launched == 1


def test_an_array_that_is_given_twice_is_one(machine: Machine, copied: list[int]) -> None:
    x = np.random.rand(100)
    expected = 3.0 * x
    axpy(2.0, x, x)
    np.testing.assert_array_equal(x, expected)
    assert len(copied) == 1


def test_a_region_within_an_array(machine: Machine, copied: list[int]) -> None:
    t, _ = stencil.grids()
    expected = stencil.inferred(t, t, stencil.network())
    stencil.region(stencil.refuse, target="gpu")(t, t, 9, 11, machine.network(stencil.network()))
    np.testing.assert_allclose(t, expected, rtol=1e-5, atol=1e-6)
    assert copied == [9 * 11 * 4]


def test_arrays_of_both_places_are_still_an_error(machine: Machine) -> None:
    with pytest.raises(hpacml.MapError, match="'x' is on the host, 'y' is on cuda:0"):
        axpy(2.0, np.zeros(3), machine.there(np.zeros(3)))


# -- promises ----------------------------------------------------------------------------------------


def test_what_is_promised_not_to_change_is_copied_once(machine: Machine, copied: list[int]) -> None:
    x, y = np.random.rand(2, 100)
    with hpacml.unchanged(x):
        for _ in range(3):
            expected = y + x
            axpy(1.0, x, y)
            np.testing.assert_array_equal(y, expected)
    assert len(copied) == 1 + 3
    axpy(1.0, x, y)
    assert len(copied) == 1 + 3 + 2


def test_promises_within_promises(machine: Machine, copied: list[int]) -> None:
    a = np.random.rand(100)
    with hpacml.unchanged(a):
        with hpacml.unchanged(a):
            PAIRS.gather("a[0:10]", a=a)
        PAIRS.gather("a[0:10]", a=a)
        assert len(copied) == 1
        PAIRS.gather("a[5:20]", a=a)
        assert copied == [800]
    a[:] = 0
    with hpacml.unchanged(a):
        assert not machine.host(PAIRS.gather("a[0:10]", a=a)).any()


@pytest.mark.parametrize("written", ["a", "b"])
def test_arrays_that_overlap_where_one_is_written(machine: Machine, written: str) -> None:
    memory = np.arange(10.0)
    x, y = memory[:7], memory[3:]
    if written == "a":
        x, y = y, x
    with pytest.raises(hpacml.MapError, match=r"the shapes \[7\] and \[7\] share memory, and one of them is written"):
        axpy(1.0, x, y)
    np.testing.assert_array_equal(memory, np.arange(10.0))
    axpy(1.0, memory[::2], memory[1::2])
    np.testing.assert_array_equal(memory, [0, 1, 2, 5, 4, 9, 6, 13, 8, 17])


def test_what_is_written_is_copied_for_all_promises(machine: Machine, copied: list[int]) -> None:
    x, y = np.random.rand(2, 100)
    with hpacml.unchanged(x, y):
        for _ in range(3):
            expected = y + x
            axpy(1.0, x, y)
            np.testing.assert_array_equal(y, expected)
    assert len(copied) == 1 + 3


def test_a_promise_ends_with_an_exception(machine: Machine, copied: list[int]) -> None:
    a = np.random.rand(100)
    with pytest.raises(KeyError), hpacml.unchanged(a):
        PAIRS.gather("a[0:10]", a=a)
        raise KeyError
    PAIRS.gather("a[0:10]", a=a)
    assert len(copied) == 2


@pytest.mark.parametrize("array", [3, [1.0]])
def test_promises_are_about_arrays(array: Any) -> None:
    with pytest.raises(hpacml.MapError, match=r"arrays\[1\]"), hpacml.unchanged(np.zeros(3), array):
        raise AssertionError


def test_promises_are_about_arrays_of_the_host(machine: Machine) -> None:
    with pytest.raises(hpacml.MapError, match="in host memory"), hpacml.unchanged(machine.there(np.zeros(3))):
        raise AssertionError


def test_results_are_those_of_arrays_on_the_device(machine: Machine) -> None:
    t, new = stencil.grids()
    there = machine.there(new.copy())
    net = machine.network(stencil.network())
    stencil.region(stencil.refuse)(machine.there(t), there, 9, 11, net)
    stencil.region(stencil.refuse, target="gpu")(t, new, 9, 11, net)
    close(machine, there, new)
