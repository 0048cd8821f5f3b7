"""Functions of JAX as models, passed and in files, and networks that run without Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import hpacml
import hpacml.jax
from hpacml.jax.inference_call import RegionInference
from hpacml.runtime.models.inference import Inference
from hpacml.runtime.models.saving import require_savable

MAPS = """tensor functor(s: [i, 0:2] = ([i-1], [i+1]))
          tensor functor(p: [i, 0:1] = ([i]))
          ml(infer) in(s(t[1:n-1])) out(p(new[1:n-1])) model(net)"""


@hpacml.jax.region(MAPS)
def in_jax(t: Any, new: Any, n: int, net: Any) -> Any: ...


@hpacml.region(MAPS)
def elsewhere(t: Any, new: Any, n: int, net: Any) -> None: ...


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a test. Regions remember what relative paths meant, so paths of models are absolute."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


T = np.linspace(0, 1, 20, dtype=np.float32)
Z = np.full(20, 5, np.float32)


def model(x: Any) -> Any:
    return jnp.tanh(x @ jnp.array([[1.0], [2.0]], x.dtype))


WANTED = np.concatenate([[5], np.tanh(T[:-2] + 2 * T[2:]), [5]]).astype(np.float32)


def test_a_file_is_a_model_of_any_region() -> None:
    net = str(hpacml.save_model(model, "m.jax", example=np.zeros((3, 2), np.float32), metadata={"by": "me"}))
    for _ in range(2):
        np.testing.assert_allclose(jax.jit(lambda t, net=net: in_jax(t, Z, 20, net)["new"])(T), WANTED, atol=1e-6)
        new = Z.copy()
        elsewhere(T, new, 20, net)
        np.testing.assert_allclose(new, WANTED, atol=1e-6)
        new = torch.from_numpy(Z.copy())
        elsewhere(torch.from_numpy(T), new, 20, net)
        np.testing.assert_allclose(new, WANTED, atol=1e-6)
    gradient = jax.grad(lambda t: in_jax(t, Z, 20, net)["new"].sum())(T)
    np.testing.assert_allclose(gradient, jax.grad(lambda t: model(jnp.stack([t[:-2], t[2:]], -1)).sum())(T), atol=1e-6)


def test_a_file_of_float64() -> None:
    net = str(hpacml.save_model(model, "m.jax", example=np.zeros((3, 2))))
    new = np.zeros(20)
    elsewhere(T.astype(np.float64), new, 20, net)
    np.testing.assert_allclose(new[1:-1], np.tanh(T[:-2].astype(np.float64) + 2 * T[2:]), rtol=1e-12)


def test_a_jitted_function_is_passed_to_a_region_of_numpy() -> None:
    new = Z.copy()
    elsewhere(T, new, 20, jax.jit(model))
    np.testing.assert_allclose(new, WANTED, atol=1e-6)


def test_files_are_trusted_by_the_common_rule() -> None:
    content = hpacml.save_model(model, "m.jax", example=np.zeros((3, 2), np.float32)).read_bytes()
    other = Path("other.jax").resolve()
    other.write_bytes(content.replace(b'"metadata": {}', b'"metadata": []'))
    for run in (lambda: in_jax(T, Z, 20, str(other)), lambda: elsewhere(T, Z.copy(), 20, str(other))):
        with pytest.raises(hpacml.ModelError, match=r"trust"):
            run()
    other.write_bytes(content[:50])
    with pytest.raises(hpacml.ModelError, match=r"other\.jax"):
        elsewhere(T, Z.copy(), 20, str(other))


def test_a_file_that_comes_behind_the_program_is_refused() -> None:
    """A program of JAX that waits for another one may wait forever."""
    program = jax.jit(lambda t, z: in_jax(t, z, 20, "late.jax")["new"])
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"ModelError"):
        program(T, Z).block_until_ready()
    hpacml.save_model(model, "late.jax", example=np.zeros((3, 2), np.float32))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"cannot run a model of JAX that it was not made with"):
        program(T, Z).block_until_ready()
    jax.clear_caches()
    np.testing.assert_allclose(program(T, Z), WANTED, atol=1e-6)


def test_a_training_does_not_begin_that_would_end_with_another_kind_of_file() -> None:
    with pytest.raises(hpacml.ModelError, match=r"\.jax has a function of JAX, and this is a Sequential"):
        require_savable(torch.nn.Sequential(torch.nn.Linear(2, 1)), "m.jax", [torch.zeros(3, 2)])


def test_what_cannot_be_saved() -> None:
    def by_value(x: Any) -> Any:
        return x if float(x[0, 0]) > 0 else -x

    with pytest.raises(hpacml.ModelError, match=r"JAX cannot export by_value"):
        hpacml.save_model(by_value, "m.jax", example=np.zeros((3, 2), np.float32))
    with pytest.raises(hpacml.ModelError, match=r"\.jax has a function of JAX, and this is a Linear"):
        hpacml.save_model(torch.nn.Linear(2, 1), "m.jax", example=torch.zeros(3, 2))
    with pytest.raises(hpacml.ModelError, match=r"named \.jax"):
        hpacml.save_model(model, "m.pt2", example=torch.zeros(3, 2))
    assert not list(Path().iterdir())


def test_parameters_of_a_function_may_be_traced() -> None:
    def loss(weights: Any) -> Any:
        return (in_jax(T, Z, 20, lambda x: x @ weights)["new"][1:-1] ** 2).sum()

    gradient = jax.jit(jax.grad(loss))(jnp.ones((2, 1)))
    x = np.stack([T[:-2], T[2:]], -1)
    np.testing.assert_allclose(gradient, 2 * x.T @ (x @ np.ones((2, 1))), rtol=1e-5)


# -- networks that are compiled --------------------------------------------------------------------


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The calls that Python answers."""
    seen: list[int] = []
    answer = RegionInference.answer

    def counted(self: RegionInference, slots: int, status: int) -> None:
        seen.append(status)
        answer(self, slots, status)

    monkeypatch.setattr(RegionInference, "answer", counted)
    return seen


def mlp(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


def expected(net: torch.nn.Module, t: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        inner = net(torch.tensor(np.stack([t[:-2], t[2:]], -1))).numpy()[:, 0]
    return np.concatenate([[5], inner, [5]]).astype(np.float32)


def test_a_compiled_network_of_a_file_runs_without_python(answers: list[int]) -> None:
    net = mlp(0)
    path = str(hpacml.save_model(net, "m.safetensors", example=torch.zeros(3, 2)))
    run = jax.jit(lambda t: in_jax(t, Z, 20, path)["new"])
    for k in range(5):
        np.testing.assert_allclose(run(T + k), expected(net, T + k), atol=2e-6)
    assert answers == [-1]
    # Another model is told to all calls.
    other = mlp(1)
    hpacml.save_model(other, "m.safetensors", example=torch.zeros(3, 2))
    for k in range(2):
        np.testing.assert_allclose(run(T + k), expected(other, T + k), atol=2e-6)
    assert answers == [-1, -1]


def test_one_array_in_two_places(answers: list[int]) -> None:
    net = mlp(0)
    path = str(hpacml.save_model(net, "m.safetensors", example=torch.zeros(3, 2)))
    run = jax.jit(lambda a, b: in_jax(a, b, 20, path)["new"])
    for a, b in [(T, T), (T, Z), (T + 1, Z), (Z, T)]:
        wanted = expected(net, a)
        wanted[[0, -1]] = b[[0, -1]]
        np.testing.assert_allclose(run(a, b), wanted, atol=2e-6)


def test_packed_maps_copy_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model reads the argument's memory, and writes the result's."""
    seen: list[tuple[int, int]] = []
    infer = Inference._infer

    def watched(self: Inference, call: Any, fitting: Any, lent: Any) -> bool:
        seen.append((lent.inputs[0].data_ptr(), lent.targets[0].data_ptr()))
        return infer(self, call, fitting, lent)

    monkeypatch.setattr(Inference, "_infer", watched)

    @hpacml.jax.region("""tensor functor(f: [i, j] = ([i, j]))
                          ml(infer) in(f(a[0:5000, 0:4])) out(f(b[0:5000, 0:4])) model("m.safetensors") engine(torch)""")
    def double(a: Any, b: Any) -> Any: ...

    hpacml.save_model(torch.nn.Linear(4, 4), "m.safetensors", example=torch.zeros(3, 4))
    a, b = jnp.arange(20000, dtype=jnp.float32).reshape(5000, 4), jnp.zeros((5000, 4)) + 1
    made = jax.jit(lambda a, b: double(a, b)["b"])(a, b)
    assert seen == [(a.unsafe_buffer_pointer(), made.unsafe_buffer_pointer())]
    np.testing.assert_array_equal(b, 1)


# -- without JAX, with several devices -------------------------------------------------------------


def script(text: str, **environment: str) -> str:
    import os

    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_jax_the_error_says_what_to_install() -> None:
    shown = script("""
import sys
sys.modules["jax"] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jax" else find(name, *rest)
import hpacml
try:
    hpacml.jax
except ImportError as error:
    print(type(error).__name__, error)
""")
    assert shown == "MissingExtra hpacml.jax needs JAX, which is not installed: pip install 'hpacml[jax]'\n"


def test_several_devices() -> None:
    shown = script(
        """
import numpy as np, jax, jax.numpy as jnp, hpacml, hpacml.jax
from jax.sharding import PartitionSpec as P, NamedSharding

@hpacml.jax.region('''tensor functor(f: [i, 0:1] = ([i]))
                      ml(collect) in(f(a[0:n])) out(f(b[0:n])) database("d.h5")''')
def double(a, b, n):
    return {"b": 2 * a}

mesh = jax.make_mesh((2,), ("x",))
a = jax.device_put(jnp.arange(8.0), NamedSharding(mesh, P("x")))
try:
    jax.jit(lambda a: double(a, a, 8)["b"])(a)
except hpacml.DeviceError as error:
    print(error)
shards = jax.jit(jax.shard_map(lambda a: double(a, a, 4)["b"], mesh=mesh, in_specs=P("x"), out_specs=P("x")))
print(np.asarray(shards(a)))
hpacml.flush()
group = hpacml.open_database("d.h5")["double"]
print(len(group), sorted(group.inputs[0][k][:, 0].tolist() for k in range(len(group))))
""",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    refused, *rest = shown.splitlines()
    assert "2 devices" in refused
    assert "jax.shard_map" in refused
    assert rest == ["[ 0.  2.  4.  6.  8. 10. 12. 14.]", "2 [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]"]


def test_programs_for_other_platforms_are_refused() -> None:
    run = jax.jit(lambda t: in_jax(t, Z, 20, torch.nn.Linear(2, 1))["new"])
    with pytest.raises(hpacml.DeviceError, match=r"for GPUs of NVIDIA, and this one is for rocm"):
        run.trace(T).lower(lowering_platforms=("cpu", "rocm"))


def test_programs_stay_in_their_process() -> None:
    run = jax.jit(lambda t: in_jax(t, Z, 20, torch.nn.Linear(2, 1))["new"])
    run(T)
    with pytest.raises((ValueError, NotImplementedError)):
        jax.export.export(run)(T)
    for number in (0, 1 << 40, -1):
        foreign = jax.ffi.ffi_call("hpacml", jax.ShapeDtypeStruct((20,), np.float32))
        with pytest.raises(jax.errors.JaxRuntimeError, match=r"compiled in another process"):
            foreign(T, digest=np.int64(1), site=np.int64(number)).block_until_ready()
