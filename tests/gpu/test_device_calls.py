"""Functors, kernels and regions with arrays on a GPU."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from examples.binomial_options import app as binomial_options
from examples.heat2d import heat
from hpacml import approx, prange
from hpacml.backend import libdevice
from hpacml.frontend.kernel import Kernel
from hpacml.passes.gpu import parallel_loops
from tests.gpu import stencil
from tests.machines import Machine

PAIRS = hpacml.functor("pairs: [i, 0:2] = ([i], [i + 1])")
ONE = hpacml.functor("one: [i, 0:1] = ([i])")
Wide = Float64[np.ndarray, "N M"]


def close(machine: Machine, found: Any, expected: Any) -> None:
    """Networks round on a GPU as they like."""
    rtol, atol = (1e-5, 1e-6) if machine.real else (0, 0)
    np.testing.assert_allclose(machine.host(found), expected, rtol, atol)


# -- functors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_a_gather_of_any_strides(machine: Machine, step: int) -> None:
    a = np.arange(60, dtype=np.float32)[::step]
    x = PAIRS.gather("a[0:n-1]", a=machine.there(a), n=len(a))
    assert x.is_cuda == machine.real
    np.testing.assert_array_equal(machine.host(x), np.stack([a[:-1], a[1:]], -1))
    assert machine.launched == 1


@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_a_scatter_to_any_strides(machine: Machine, step: int) -> None:
    memory = np.full(60, 7.0)
    a = machine.there(memory[::step])
    ONE.scatter(machine.there(np.arange(5, dtype=np.float32)[:, None]), "a[2:7]", a=a)
    memory[::step][2:7] = np.arange(5)
    np.testing.assert_array_equal(machine.host(a), memory[::step])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_all_dtypes(machine: Machine, dtype: torch.dtype) -> None:
    a = torch.arange(40).to(dtype)[::2]
    x = PAIRS.gather("a[0:19]", a=machine.there(a))
    assert x.dtype is dtype
    assert torch.equal(machine.host(x), torch.stack([a[:-1], a[1:]], -1))
    b = machine.there(torch.zeros(19, dtype=dtype))
    ONE.scatter(x[:, 1:].clone() if machine.real else machine.there(x[:, 1:].clone()), "b[0:19]", b=b)
    assert torch.equal(machine.host(b), a[1:])


def test_into_a_given_tensor_of_another_dtype(machine: Machine) -> None:
    a = np.linspace(0, 1, 20, dtype=np.float32)
    out = machine.there(torch.zeros(10, 2, dtype=torch.bfloat16))
    assert PAIRS.gather("a[0:10]", a=machine.there(a), out=out) is out
    assert torch.equal(machine.host(out), torch.from_numpy(np.stack([a[:10], a[1:11]], -1)).bfloat16())


def test_into_memory_that_is_read_is_refused(machine: Machine) -> None:
    memory = np.arange(40.0)
    a = machine.there(memory)
    out = machine.there(memory[:20].reshape(10, 2)) if not machine.real else None
    if out is None:
        a = torch.arange(40.0, device="cuda")
        out = a[:20].view(10, 2)
    with pytest.raises(hpacml.MapError, match="'out' shares memory with 'a'"):
        PAIRS.gather("a[0:10]", a=a, out=out)


def test_a_scatter_within_an_array_reads_first(machine: Machine) -> None:
    memory = torch.arange(40.0)
    a = machine.there(memory)
    tensor = a[0:20, None] if machine.real else machine.there(memory[0:20, None])
    ONE.scatter(tensor, "a[1:21]", a=a)
    assert machine.host(a)[:22].tolist() == [0.0, *range(20), 21.0]


class Backwards:
    """A column of the elements of an array in a device's memory, the last one first."""

    def __init__(self, array: Any) -> None:
        interface = array.__cuda_array_interface__
        (count,), (step,), (address, readonly) = interface["shape"], interface["strides"], interface["data"]
        data = address + (count - 1) * step, readonly
        self.array = array
        self.__cuda_array_interface__ = {**interface, "shape": (count, 1), "strides": (-step, step), "data": data}


def test_a_scatter_of_an_array_into_itself_backwards(machine: Machine) -> None:
    a = machine.there(np.arange(300, dtype=np.float32))
    ONE.scatter(Backwards(a), "a[0:300]", a=a)
    np.testing.assert_array_equal(machine.host(a), np.arange(300)[::-1])


def test_nothing_to_copy(machine: Machine) -> None:
    assert PAIRS.gather("a[0:n]", a=machine.there(np.zeros(5)), n=0).shape == (0, 2)


@pytest.mark.parametrize("unchecked", [False, True])
def test_indirect(machine: Machine, unchecked: bool) -> None:
    a, r = np.random.rand(50), np.random.default_rng(0).permutation(49)
    x = PAIRS.gather("a[r[0:48]]", a=machine.there(a), r=machine.there(r), unchecked=unchecked)
    np.testing.assert_array_equal(machine.host(x), np.stack([a[r[:48]], a[r[1:49]]], -1))


@pytest.mark.parametrize("wrong", [-1, 50, 1 << 40])
def test_a_bad_index_is_an_error_of_the_call(machine: Machine, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "sync")
    a, r = machine.there(np.full(50, 7.0)), np.arange(10)
    r[3] = wrong
    with pytest.raises(hpacml.MapError, match=rf"r\[3\] is {wrong}"):
        ONE.gather("a[r[0:10]]", a=a, r=machine.there(r))
    with pytest.raises(hpacml.MapError, match=rf"r\[3\] is {wrong}"):
        ONE.scatter(machine.there(np.zeros((10, 1))), "a[r[0:10]]", a=a, r=machine.there(r))
    np.testing.assert_array_equal(machine.host(a), 7.0)
    assert ONE.gather("a[0:3]", a=a).shape == (3, 1)


def test_a_bad_index_is_an_error_at_last(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPACML_CHECK", raising=False)
    a, r = machine.there(np.zeros(50)), machine.there(np.array([1, 50, 2]))
    with pytest.raises(hpacml.MapError, match="the index 50 lies outside a dimension that has 50 elements"):
        ONE.gather("a[r[0:3]]", a=a, r=r)
        hpacml.flush()
    assert not machine.host(ONE.gather("a[r[0:3:2]]", a=a, r=r)).any()
    hpacml.flush()


def test_no_memory_is_a_clean_error(machine: Machine) -> None:
    endless = machine.there(np.broadcast_to(np.zeros(1), (1 << 43,)))
    with pytest.raises(hpacml.DeviceError, match=r"the GPU 0 has no memory for a tensor of \d+ bytes"):
        PAIRS.gather("a[0:n]", a=endless, n=(1 << 43) - 1)
    test_a_gather_of_any_strides(machine, 1)


# -- where arrays are --------------------------------------------------------------------------------


def test_arrays_in_two_places(machine: Machine) -> None:
    both = hpacml.functor("both: [i, 0:2] = ([i], [i])")
    here, there = np.zeros(5), machine.there(np.zeros(5))
    with pytest.raises(hpacml.MapError, match="'a' is on the host, 'b' is on cuda:0"):
        both.gather("a[0:3], b[0:3]", a=here, b=there)
    with pytest.raises(hpacml.MapError, match="'a' is on cuda:0, 'out' is on the host"):
        ONE.gather("a[0:3]", a=there, out=torch.zeros(3, 1))
    with pytest.raises(hpacml.MapError, match="'a' is on the host, 'tensor' is on cuda:0"):
        ONE.scatter(machine.there(np.zeros((3, 1))), "a[0:3]", a=here)
    with pytest.raises(hpacml.MapError, match="'t' is on the host, 'new' is on cuda:0"):
        stencil.region(stencil.refuse)(np.zeros((5, 5)), machine.there(np.zeros((5, 5))), 5, 5, abs)
    with pytest.raises(hpacml.MapError, match="'a' is on the host, 'b' is on cuda:0"):
        add(np.zeros((2, 2)), machine.there(np.zeros((2, 2))))
    assert machine.launched == 0


def test_arrays_that_are_not_on_the_target(machine: Machine) -> None:
    there = machine.there(np.zeros(5))
    with pytest.raises(hpacml.MapError, match="the target is 'cpu', so no array may be on a GPU: 'a' is on cuda:0"):
        hpacml.functor("one: [i, 0:1] = ([i])", target="cpu").gather("a[0:3]", a=there)
    with pytest.raises(hpacml.MapError, match="'a' is on the host, 'out' is on cuda:0"):
        out = machine.there(torch.zeros(3, 1))
        hpacml.functor("one: [i, 0:1] = ([i])", target="cpu").gather("a[0:3]", a=np.zeros(5), out=out)


# -- kernels -----------------------------------------------------------------------------------------


@hpacml.kernel
def add(a: Wide, b: Wide):
    for i in prange(a.shape[0]):
        for j in prange(a.shape[1]):
            a[i, j] += 10 * b[i, j] + i


@hpacml.kernel
def scaled(a: Wide, factor: float, net: Any):
    approx("tensor functor(one: [i, j, 0:1] = ([i, j]))")
    with approx("ml(infer) inout(one(a[0:2, 0:3])) model(net)"):
        for i in prange(2):
            for j in prange(3):
                a[i, j] = 0.0
    for i in prange(a.shape[0]):
        for j in prange(a.shape[1]):
            a[i, j] *= factor


@hpacml.kernel
def reversed_rows(a: Wide):
    for i in prange(len(a)):
        row, ends = np.empty(a.shape[1]), np.zeros(2)
        for j in range(a.shape[1]):
            row[j] = a[i, j]
        ends[0], ends[1] = row[0], row[-1]
        for j in range(a.shape[1]):
            a[i, j] = row[a.shape[1] - 1 - j] + ends[j % 2]


def test_compiled_code_launches_by_itself_once_its_kernels_are_loaded(machine: Machine) -> None:
    kernel, there = Kernel(add.py_func), [machine.there(np.ones((3, 4))) for _ in range(2)]
    counts = []
    for _ in range(3):
        kernel(*there)
        counts.append((machine.launched, machine.launched_by_code))
    assert counts == [(1, 0), (2, 1), (3, 2)]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(7, 9), (1, 1), (0, 3), (40, 13)])
def test_a_parallel_loop(machine: Machine, shape: tuple[int, int], order: Any) -> None:
    a, b = (np.asarray(np.random.rand(*shape), order=order)[:, ::-1] for _ in range(2))
    expected = a + 10 * b + np.arange(shape[0])[:, None]
    there = machine.there(a)
    add(there, machine.there(b))
    np.testing.assert_allclose(machine.host(there), expected, rtol=1e-15)


@pytest.mark.parametrize("most_blocks", [1, 1024])
@pytest.mark.parametrize("shape", [(600, 3), (0, 3)])
def test_local_arrays(
    machine: Machine, shape: tuple[int, int], most_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_loops, "MOST_BLOCKS", most_blocks)  # with 1, threads have several iterations
    a = np.random.rand(*shape)
    there = machine.there(a.copy())
    Kernel(reversed_rows.py_func)(there)
    ends = a[:, [0, -1, 0]]
    np.testing.assert_array_equal(machine.host(there), a[:, ::-1] + ends)


def test_an_array_for_each_thread_that_no_memory_holds(machine: Machine) -> None:
    @hpacml.kernel
    def vast(a: Wide, n: int):
        for i in prange(len(a)):
            table = np.empty(n)
            table[i] = a[i, 0]
            a[i, 0] = table[i]

    with pytest.raises(hpacml.DeviceError, match="has no memory"):
        vast(machine.there(np.zeros((2, 2))), 2**59)
    with pytest.raises(hpacml.HpacmlError, match=r"cannot make an array of the shape \[-1\]"):
        vast(machine.there(np.zeros((2, 2))), -1)


@pytest.mark.skipif(libdevice.find() is None, reason="libdevice, of CUDA, is not installed")
def test_options_are_priced(machine: Machine) -> None:
    S, X, *rest = binomial_options.random_options(300)
    prepared = binomial_options.prepare(*rest, steps=20)
    prices = machine.there(np.zeros(300))
    arrays = [machine.there(each) for each in (S, X, *prepared)]
    Kernel(binomial_options.lattice.py_func)(*arrays, prices, 20, False, False, None, None)
    expected = binomial_options.price_prepared(S, X, *prepared, steps=20)
    np.testing.assert_allclose(machine.host(prices), expected, rtol=1e-13, atol=1e-13)  # `exp` rounds otherwise


def test_a_step_of_heat(machine: Machine) -> None:
    t = heat.random_plate(40, seed=1)
    there = machine.there(t.copy())
    Kernel(heat.heat.py_func)(machine.there(t), there, False, True)
    np.testing.assert_array_equal(machine.host(there), heat.simulate(t, 1, exact_every=1)[1])


def test_a_kernel_with_a_region(machine: Machine) -> None:
    a, double = np.random.rand(4, 5), torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(double.weight, 2.0)
    expected = a.copy()
    expected[:2, :3] *= 2
    there = machine.there(a)
    scaled(there, 3.0, machine.network(double))
    np.testing.assert_allclose(machine.host(there), 3 * expected)


# -- regions -----------------------------------------------------------------------------------------


def test_a_region_infers(machine: Machine) -> None:
    t, new = stencil.grids()
    expected = stencil.inferred(t, new, stencil.network())
    there = machine.there(new)
    stencil.region(stencil.refuse)(machine.there(t), there, *t.shape, machine.network(stencil.network()))
    close(machine, there, expected)
    assert machine.launched == 2


def test_a_region_runs_a_model_of_a_file(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    t, new = stencil.grids()
    net = stencil.network()
    hpacml.save_model(net, "net.pt", example=stencil.features(t))
    expected = stencil.inferred(t, new, net)
    there = machine.there(new)
    stencil.region(stencil.refuse)(machine.there(t), there, *t.shape, "net.pt")
    close(machine, there, expected)


def test_batches(machine: Machine) -> None:
    t, new = stencil.grids()
    expected = stencil.inferred(t, new, stencil.network())
    there, sizes = machine.there(new), []
    net = machine.network(stencil.network())
    net.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    ml = f"ml(infer) {stencil.CLAUSES} model(net) batch(3)"
    stencil.region(stencil.refuse, ml)(machine.there(t), there, *t.shape, net)
    np.testing.assert_allclose(machine.host(there), expected, rtol=1e-5, atol=1e-6)
    assert sizes == [3, 3, 1]


def test_a_body_gets_the_arrays_as_they_were_given(machine: Machine) -> None:
    t, new = (machine.there(grid) for grid in stencil.grids())
    given: list[Any] = []
    heat = stencil.region(lambda *arrays: given.extend(arrays), f"ml(infer) {stencil.CLAUSES} model(net) if(use_model)")
    heat(t, new, 9, 11, None, False)
    assert given[0] is t
    assert given[1] is new
    assert machine.launched == 0


def fail(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no")


def test_a_model_that_fails(machine: Machine) -> None:
    t, new = stencil.grids()
    there = machine.there(new)
    with pytest.raises(hpacml.ModelError, match="no"):
        stencil.region(stencil.refuse)(machine.there(t), there, *t.shape, fail)
    np.testing.assert_array_equal(machine.host(there), new)
    heat = stencil.region(lambda t, new: machine.fill(new, 0 * stencil.grids()[1]), on_error="accurate")
    for _ in range(5):
        heat(machine.there(t), there, *t.shape, fail)
    assert not machine.host(there).any()
    assert machine.captures == 0


def test_inout(machine: Machine) -> None:
    t, _ = stencil.grids()
    directives = "tensor functor(row: [i, 0:11] = ([i, 0:11]))\nml(infer) inout(row(t[0:n])) model(net)"

    @hpacml.region(directives.replace("t[0:n]", "t[0:n, 0:1]").replace("[i, 0:11] = ([i, 0:11])", "[i, j] = ([i, j])"))
    def twice(t: Any, n: int, net: Any) -> None:
        raise AssertionError("the model runs")

    there = machine.there(t.copy())
    twice(there, 9, lambda x: 2 * x)
    expected = t.copy()
    expected[:, :1] *= 2
    np.testing.assert_array_equal(machine.host(there), expected)


def test_calls_inside_of_inference_mode(machine: Machine) -> None:
    t, new = stencil.grids()
    expected = stencil.inferred(t, new, stencil.network())
    there, net = machine.there(new), copy.deepcopy(machine.network(stencil.network()))
    heat = stencil.region(stencil.refuse)
    with torch.inference_mode():
        for _ in range(5):
            heat(machine.there(t), there, *t.shape, net)
    close(machine, there, expected)
