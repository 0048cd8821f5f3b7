"""Regions and kernels in programs of JAX for GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jaxtyping import Float32

import hpacml
import hpacml.jax
from hpacml import approx, prange
from hpacml.backend import ptxas
from hpacml.jax import compiled_call, xla_handler
from hpacml.runtime.gpu import kernels
from tests.gpu.conftest import require_gpu
from tests.jax_programs import test_random_maps
from tests.simulated_gpu import simulated
from tests.simulated_xla import STREAM, Metadata, SimulatedXla, simulated_xla

N = 20
T, Z = np.linspace(0, 3, N, dtype=np.float32), np.full(N, 7, np.float32)
MAPS = """tensor functor(s: [i, 0:2] = ([i-1], [i+1]))
          tensor functor(p: [i, 0:1] = ([i]))
"""
OF_JAX = jax.errors.JaxRuntimeError, ValueError
"""What errors of ours are inside of programs that JAX compiles."""

Vector = Float32[np.ndarray, "N"]


def region(clauses: str, **options: Any) -> Any:
    def smooth(t, new, n, net=None, use=True, path=None, k=0.0):
        return {"new": new.at[1:-1].set(0.5 * (t[:-2] + t[2:]))}

    return hpacml.jax.region(MAPS + clauses, **options)(smooth)


INFER = "ml(infer) in(s(t[1:n-1])) out(p(new[1:n-1])) model(net)"
infer = region(INFER)


def net() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))


class Gpu:
    """A GPU on which JAX runs programs: a real one, or a simulated one."""

    def __init__(self, xla: SimulatedXla | None) -> None:
        self.xla = xla
        self._device = jax.devices("cpu" if xla else "cuda")[0]

    def run(self, function: Any, *arguments: Any) -> Any:
        """What a function makes there, and that it was there."""
        arguments = jax.device_put(arguments, self._device)
        calls = self.xla.calls if self.xla else 0
        with jax.default_device(self._device):
            results = jax.tree.map(np.asarray, jax.jit(function)(*arguments))
        assert self.xla is None or self.xla.calls > calls
        return results

    def network(self, network: torch.nn.Module) -> torch.nn.Module:
        return network if self.xla else network.cuda()


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Gpu]:
    monkeypatch.chdir(tmp_path)
    if request.param == "real":
        require_gpu()
        try:
            jax.devices("cuda")
        except RuntimeError as error:
            pytest.skip(f"this JAX finds no GPU: {error}")
        yield Gpu(None)
        hpacml.flush()
        return
    with simulated(monkeypatch) as devices, simulated_xla(monkeypatch, devices[0]) as xla:
        yield Gpu(xla)
        hpacml.flush()


def on_cpu(function: Any, *arguments: Any) -> Any:
    """The same on the host."""
    with jax.default_device(jax.devices("cpu")[0]):
        return jax.tree.map(np.asarray, jax.jit(function)(*arguments))


def in_jax(t: Any) -> Any:
    """The inference of `net` as JAX computes it."""
    first, _, last = net()
    weights = [jnp.asarray(x.detach().numpy()) for x in (first.weight, first.bias, last.weight, last.bias)]
    x = jnp.stack([t[:-2], t[2:]], -1)
    y = jnp.tanh(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]
    return jnp.asarray(Z).at[1:-1].set(y[:, 0])


def test_an_inference(gpu: Gpu) -> None:
    model = gpu.network(net())
    found = gpu.run(lambda t, z: infer(t, z, N, model)["new"], T, Z)
    np.testing.assert_allclose(found, on_cpu(in_jax, T), 1e-5, 1e-6)


def test_the_work_is_on_the_stream_of_xla(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with simulated(monkeypatch) as (device,), simulated_xla(monkeypatch, device):
        infer(T, Z, N, net())
    before, *launches, behind = device.order
    assert (before, behind) == (("wait for", 1), ("have wait", 1))  # Torch's default stream
    assert {*launches} == {("launch", STREAM)}
    assert device.synchronized == 0


def test_derivatives_and_batches(gpu: Gpu) -> None:
    model = gpu.network(net())

    def energy(t: Any, z: Any) -> Any:
        return (infer(t, z, N, model)["new"] ** 2).sum()

    def expected(t: Any, z: Any) -> Any:
        return (in_jax(t) ** 2).sum()

    found = gpu.run(jax.grad(energy), T, Z)
    np.testing.assert_allclose(found, on_cpu(jax.grad(expected), T, Z), 1e-4, 1e-5)
    _, found = gpu.run(lambda t, z: jax.jvp(lambda t: energy(t, z), (t,), (jnp.ones_like(t),)), T, Z)
    np.testing.assert_allclose(found, on_cpu(jax.grad(expected), T, Z).sum(), 1e-4, 1e-5)
    rows = np.stack([T, 2 * T, T - 1])
    batched = region(f"{INFER} batch")
    found = gpu.run(jax.vmap(lambda t: batched(t, jnp.asarray(Z), N, model)["new"]), rows)
    np.testing.assert_allclose(found, on_cpu(jax.vmap(in_jax), rows), 1e-5, 1e-6)


def test_collection(gpu: Gpu) -> None:
    collect = region("ml(predicated: use) in(s(t[1:n-1])) out(p(new[1:n-1])) model(net) database(path) meta(k: 2*k)")
    model = gpu.network(net())
    for use, k in ((False, 1.5), (True, 0.0), (False, -2.0)):
        found = gpu.run(lambda t, z, use, k: collect(t, z, N, model, use, "d.h5", k)["new"], T, Z, use, k)
        exact = Z.copy()
        exact[1:-1] = 0.5 * (T[:-2] + T[2:])
        np.testing.assert_allclose(found, on_cpu(in_jax, T) if use else exact, 1e-5, 1e-6)
    hpacml.flush()
    group = hpacml.open_database("d.h5")["smooth"]
    assert len(group) == 2
    np.testing.assert_array_equal(group.inputs[0][1], np.stack([T[:-2], T[2:]], -1))
    np.testing.assert_array_equal(group.outputs[0][1][:, 0], exact[1:-1])
    assert group.meta["k"][:].tolist() == [3.0, -4.0]
    times = np.asarray(group.runtime[:])
    assert ((times > 0) & (times < 1e5)).all()


def test_original_code_takes_over(gpu: Gpu) -> None:
    class Failing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no model today")

    fails = Failing()
    found = gpu.run(lambda t, z: region(INFER, on_error="accurate")(t, z, N, fails)["new"], T, Z)
    np.testing.assert_array_equal(found[1:-1], 0.5 * (T[:-2] + T[2:]))
    with pytest.raises((hpacml.ModelError, *OF_JAX), match="no model today"):
        gpu.run(lambda t, z: infer(t, z, N, fails)["new"], T, Z)


@hpacml.kernel
def axpy(a: float, x: Vector, y: Vector, k: int):
    for i in prange(len(x)):
        y[i] = np.float32(a) * x[i] + y[i] + np.float32(k)


@hpacml.kernel
def twice(x: Vector, k: np.int32) -> tuple[np.int32, float]:
    for i in prange(len(x)):
        x[i] = 2 * x[i]
    return np.int32(2) * k, 0.5


def test_kernels(gpu: Gpu) -> None:
    run = hpacml.jax.call(axpy)
    found = gpu.run(lambda a, x, y, k: run(a, x, y, k)["y"], np.float32(3), T, Z, np.int32(-2))
    np.testing.assert_allclose(found, 3 * T + Z - 2, 1e-6)
    with jax.enable_x64(True):
        (number, half), arrays = gpu.run(lambda x, k: hpacml.jax.call(twice)(x, k), T, np.int32(21))
    assert (int(number), float(half)) == (42, 0.5)
    np.testing.assert_array_equal(arrays["x"], 2 * T)


@hpacml.kernel
def smoothed(t: Vector, new: Vector, use: bool, net: Any, path: str):
    n = len(t)
    approx("tensor functor(s: [i, 0:2] = ([i-1], [i+1]))")
    approx("tensor functor(p: [i, 0:1] = ([i]))")
    with approx("ml(predicated: use) in(s(t[1:n-1])) out(p(new[1:n-1])) model(net) database(path)"):
        for i in prange(1, n - 1):
            new[i] = np.float32(0.5) * (t[i - 1] + t[i + 1])


def test_a_kernel_with_a_region(gpu: Gpu) -> None:
    run, model = hpacml.jax.call(smoothed), gpu.network(net())
    for use in (False, True, False):
        found = gpu.run(lambda t, z, use: run(t, z, use, model, "k.h5")["new"], T, Z, use)
        exact = Z.copy()
        exact[1:-1] = 0.5 * (T[:-2] + T[2:])
        np.testing.assert_allclose(found, on_cpu(in_jax, T) if use else exact, 1e-5, 1e-6)
    hpacml.flush()
    group = hpacml.open_database("k.h5")["smoothed"]
    assert len(group) == 2
    assert 1.0 not in group.runtime[:]  # as a number of events would be


def test_values_are_checked(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "finite")
    gpu.run(lambda t, z: infer(t, z, N, lambda x: x.sum(-1, keepdims=True))["new"], T, Z)
    with pytest.raises((hpacml.ModelError, *OF_JAX), match="not finite"):
        gpu.run(lambda t, z: infer(t, z, N, lambda x: jnp.log(x[:, :1] - 9))["new"], T, Z)


@pytest.mark.parametrize("size", [2, 1000])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.int32, np.float16])
def test_other_elements_and_sizes(gpu: Gpu, dtype: Any, size: int) -> None:
    @hpacml.jax.region("""tensor functor(s: [i, j, 0:2] = ([i, j], [i, j+1]))
        tensor functor(p: [i, j, 0:1] = ([i, j]))
        ml(infer) in(s(t[0:3, 0:n-2])) inout(p(new[0:3, 0:n-2])) model(net)""")
    def added(t, new, n, net): ...

    def add(x: Any, y: Any) -> Any:
        return x.sum(-1, keepdims=True) + y

    t, z = jnp.arange(3 * size).reshape(3, size).astype(dtype) % 7, jnp.ones((3, size), dtype)
    found = gpu.run(lambda t, z: added(t, z, size, add)["new"], t, z)
    t, z = np.asarray(t), np.array(z)
    z[:, : size - 2] += t[:, : size - 2] + t[:, 1 : size - 1]
    np.testing.assert_array_equal(found, z)


def test_a_kernel_of_the_cpu_alone(gpu: Gpu) -> None:
    alone = hpacml.jax.call(hpacml.kernel(target="cpu")(axpy.py_func))
    with pytest.raises(hpacml.CompileError, match="runs on the CPU alone, by its target"):
        gpu.run(lambda x, y: alone(3.0, x, y, 1)["y"], T, Z)


@pytest.mark.parametrize("wrong", [-1, N])
def test_a_bad_index_is_an_error_of_the_call(gpu: Gpu, wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "sync")

    @hpacml.jax.region("""tensor functor(p: [i, 0:1] = ([i]))
        ml(infer) in(p(t[r[0:4]])) out(p(new[0:4])) model(net)""")
    def picked(t, r, new, net): ...

    model = gpu.network(torch.nn.Linear(1, 1))
    r = np.array([3, 1, 0, 2], np.int32)
    gpu.run(lambda t, r, z: picked(t, r, z, model)["new"], T, r, Z)
    r[2] = wrong
    with pytest.raises((hpacml.MapError, *OF_JAX), match=rf"r\[2\] is {wrong}"):
        gpu.run(lambda t, r, z: picked(t, r, z, model)["new"], T, r, Z)


@pytest.mark.slow
@pytest.mark.parametrize("way", [*test_random_maps.WAYS])
def test_random_maps_are_those_of_the_oracle(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "sync")
    with simulated(monkeypatch) as devices, simulated_xla(monkeypatch, devices[0]) as xla, jax.enable_x64(True):
        test_random_maps.search(18, 6, way)
    assert xla.calls > 6


def test_xla_captures_no_calls_in_graphs() -> None:
    *_, handler = xla_handler._load()
    told = Metadata.of(handler)
    assert (told.major, told.minor, told.traits, told.state) == (*xla_handler.VERSION, 0, 0)


def test_xla_without_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch) as devices, simulated_xla(monkeypatch, devices[0]) as xla:
        xla.refused = b"no stream here"
        with pytest.raises(hpacml.DeviceError, match="on which GPU and stream a call is to run: no stream here"):
            infer(T, Z, N, net())


def test_programs_for_gpus_are_made_without_one() -> None:
    model = net()
    program = jax.jit(lambda t, z: infer(t, z, N, model)["new"], donate_argnums=1).trace(T, Z)
    text = program.lower(lowering_platforms=("cuda",)).as_text("hlo")
    assert "input_output_alias={ {}: (1, {}, may-alias) }" in text
    (line,) = [line for line in text.splitlines() if "custom-call" in line]
    assert 'custom_call_target="hpacml"' in line
    assert "api_version=API_VERSION_TYPED_FFI" in line
    assert "operand_layout_constraints={f32[20]{0}, f32[20]{0}}" in line
    assert "output_to_operand_aliasing={{}: (1, {})}" in line
    both = program.lower(lowering_platforms=("cpu", "cuda")).as_text()
    numbers = {each.split("site = ")[1].split(" ")[0] for each in both.splitlines() if "custom_call" in each}
    assert len(numbers) == 2  # each platform has a record of its own


@pytest.mark.skipif(ptxas.find() is None, reason="ptxas, of CUDA, is not installed")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90"])
def test_ptxas_takes_it(chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_call, "chip_here", lambda: chip)
    model, known = net(), {*kernels._kernels}
    axpys = hpacml.jax.call(axpy)
    program = jax.jit(lambda t, z: axpys(2.0, infer(t, z, N, model)["new"], z, 1)).trace(T, Z)
    program.lower(lowering_platforms=("cuda",))
    texts = [each._code.text for at, each in kernels._kernels.items() if at not in known]
    assert len(texts) == 2
    assert all(ptxas.assemble(text, chip) for text in texts)
