"""`hpacml.jax.region` inside and outside of programs that JAX compiles."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

import hpacml
import hpacml.jax
from hpacml import ModelError

ERRORS = jax.errors.JaxRuntimeError, ValueError
"""What JAX raises where a program fails: the latter where it has run before."""

SMOOTH = """tensor functor(s: [i, 0:2] = ([i-1], [i+1]))
            tensor functor(p: [i, 0:1] = ([i]))
            """


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def smoothing(clauses: str, **options: Any) -> Any:
    @hpacml.jax.region(f"{SMOOTH} {clauses}", **options)
    def smooth(t: Any, new: Any, use: Any = True, step: Any = 0, net: Any = None) -> dict[str, Any]:
        return {"new": new.at[1:-1].set(0.5 * (t[:-2] + t[2:]))}

    return smooth


MAPS = "in(s(t[1:8])) out(p(new[1:8]))"
T = np.arange(9, dtype=np.float32)
Z = np.full(9, 5, np.float32)
BODY = np.concatenate([[5], T[1:-1], [5]]).astype(np.float32)


class Linear(torch.nn.Module):
    """2 a + 3 b + 1, which nothing compiles."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * (2 * x[..., :1] + 3 * x[..., 1:] + 1)


def linear(x: Any) -> Any:
    return 2 * x[..., :1] + 3 * x[..., 1:] + 1


WANTED = np.concatenate([[5], 2 * T[:-2] + 3 * T[2:] + 1, [5]]).astype(np.float32)
MODELS = {"Torch": Linear(), "JAX": linear}


def saved(net: torch.nn.Module, path: str = "m.pt2") -> torch.nn.Module:
    hpacml.save_model(net, path, example=torch.zeros(7, 2))
    return net


def mlp() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


def records(path: str = "d.h5", label: str = "smooth") -> Any:
    hpacml.flush()
    return hpacml.open_database(path)[label]


# -- inference -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_model_replaces_the_function_inside_and_outside_of_jit(model: str) -> None:
    smooth, net = smoothing(f"ml(infer) {MAPS} model(net)"), MODELS[model]
    inside = jax.jit(lambda t, z: smooth(t, z, net=net)["new"])(T, Z)
    np.testing.assert_array_equal(inside, WANTED)  # what maps do not touch keeps the value of the argument
    outside = smooth(T, jnp.array(Z), net=net)
    assert list(outside) == ["new"]
    np.testing.assert_array_equal(outside["new"], WANTED)
    assert Z[0] == 5


def test_a_compiled_network_of_a_file() -> None:
    net = saved(mlp())
    smooth = smoothing(f"ml(infer) {MAPS} model('m.pt2')")
    made = jax.jit(lambda t, z: smooth(t, z)["new"])(T, Z)
    wanted = net(torch.tensor(np.stack([T[:-2], T[2:]], -1))).detach().numpy()[:, 0]
    np.testing.assert_allclose(made[1:-1], wanted, rtol=0, atol=1e-6)
    assert made[0] == made[-1] == 5


def test_a_file_that_is_written_anew_is_the_model_from_then_on() -> None:
    smooth = smoothing(f"ml(infer) {MAPS} model('m.pt2')")
    run = jax.jit(lambda t, z: smooth(t, z)["new"])
    for factor in (1.0, 2.0):
        saved(Linear(factor))
        np.testing.assert_allclose(run(T, Z)[1:-1], factor * WANTED[1:-1])


def test_the_condition_may_be_known_or_traced() -> None:
    smooth = smoothing(f"ml(predicated: use and step < 3) {MAPS} model(net) database('d.h5')")
    run = jax.jit(lambda t, z, use, step: smooth(t, z, use, step, MODELS["Torch"])["new"])
    np.testing.assert_array_equal(run(T, Z, True, 2), WANTED)
    np.testing.assert_array_equal(run(T, Z, True, 3), BODY)
    np.testing.assert_array_equal(run(T, Z, False, 2), BODY)
    np.testing.assert_array_equal(smooth(T, Z, True, 2, MODELS["Torch"])["new"], WANTED)
    np.testing.assert_array_equal(smooth(T, Z, np.bool_(False), 2, MODELS["Torch"])["new"], BODY)
    assert len(records()) == 3


def test_if_runs_the_body_alone() -> None:
    for mode in ("infer", "collect"):
        smooth = smoothing(f"ml({mode}) {MAPS} model(net) database('{mode}.h5') if(step > 1)")
        run = jax.jit(lambda t, z, step, smooth=smooth: smooth(t, z, step=step, net=MODELS["JAX"])["new"])
        np.testing.assert_array_equal(run(T, Z, 1), BODY)
        np.testing.assert_array_equal(run(T, Z, 2), WANTED if mode == "infer" else BODY)
        np.testing.assert_array_equal(smooth(T, Z, step=1)["new"], BODY)
    assert len(records("collect.h5")) == 1


def test_memory_of_donated_arguments_becomes_that_of_results() -> None:
    smooth = smoothing(f"ml(infer) {MAPS} model(net)")
    run = jax.jit(lambda t, z: smooth(t, z, net=MODELS["Torch"])["new"], donate_argnums=1)
    z = jnp.array(Z) + 0
    before = z.unsafe_buffer_pointer()
    made = run(T, z)
    assert made.unsafe_buffer_pointer() == before
    assert z.is_deleted()
    np.testing.assert_array_equal(made, WANTED)


# -- collection ------------------------------------------------------------------------------------


def test_collection_inside_of_a_loop() -> None:
    smooth = smoothing(f"ml(collect) {MAPS} database('d.h5') meta(step: step, half: step * 0.5) units(t: 'K')")

    @jax.jit
    def program(t: Any) -> Any:
        def advance(t: Any, step: Any) -> Any:
            return smooth(t, t, step=step)["new"], None

        return jax.lax.scan(advance, t, jnp.arange(5))[0]

    t = np.sqrt(T)
    made = program(t).block_until_ready()
    states = [t]
    for _ in range(5):
        states.append(np.concatenate([t[:1], 0.5 * (states[-1][:-2] + states[-1][2:]), t[-1:]]).astype(np.float32))
    np.testing.assert_allclose(made, states[-1], rtol=1e-6)
    group = records()
    assert len(group) == 5
    for k in range(5):
        np.testing.assert_allclose(group.inputs[0][k], np.stack([states[k][:-2], states[k][2:]], -1), rtol=1e-6)
        np.testing.assert_allclose(group.outputs[0][k][:, 0], states[k + 1][1:-1], rtol=1e-6)
    np.testing.assert_array_equal(group.meta["step"][:], range(5))
    np.testing.assert_array_equal(group.meta["half"][:], np.arange(5) / 2)
    assert (np.asarray(group.runtime[:]) > 0).all()


def test_the_time_is_that_of_the_body() -> None:
    @hpacml.jax.region(f"{SMOOTH} ml(collect) {MAPS} database('d.h5')")
    def slow(t: Any, new: Any) -> Any:
        def turn(_: Any, x: Any) -> Any:
            return jnp.tanh(x @ x)

        x = jax.lax.fori_loop(0, 200, turn, jnp.ones((100, 100)) * t[0])
        return {"new": new.at[1:-1].set(0.5 * (t[:-2] + t[2:]) + 0 * x[0, 0])}

    run = jax.jit(lambda t, z: slow(t, z)["new"])
    for _ in range(3):
        run(T, Z).block_until_ready()
    times = np.asarray(records(label="slow").runtime[:])
    assert (times > 0.05).all()  # milliseconds, for 400 million multiplications


def test_sample_counts_calls() -> None:
    smooth = smoothing(f"ml(collect) {MAPS} database('d.h5') sample(every: 3)")
    run = jax.jit(lambda t, z: smooth(t, z)["new"])
    for k in range(7):
        run(T + k, Z).block_until_ready()
    group = records()
    assert [float(group.inputs[0][k][0, 0]) for k in range(len(group))] == [0, 3, 6]


def test_truth_and_arrays_that_are_read_and_written() -> None:
    @hpacml.jax.region("""tensor functor(f: [i, 0:1] = ([i]))
                          ml(collect) inout(f(a[0:4])) truth(f(label[0:4])) database('d.h5')""")
    def grow(a: Any, label: Any) -> Any:
        return {"a": a + 1}

    a, label = np.arange(4.0, dtype=np.float32), np.full(4, 7, np.float32)
    np.testing.assert_array_equal(jax.jit(grow)(a, label)["a"], a + 1)
    group = records(label="grow")
    np.testing.assert_array_equal(group.inputs[0][0][:, 0], a)
    np.testing.assert_array_equal(group.outputs[0][0][:, 0], label)


def test_traced_numbers_are_those_of_python() -> None:
    """Expressions have 64 bits, also where JAX has 32."""
    smooth = smoothing(
        f"ml(collect) {MAPS} database('d.h5') meta(a: step * 1000, b: step / 4, c: -step // 2, d: use * 10) "
        "if(step * 1000 > 2999999999)"
    )

    def run(step: Any, use: Any) -> Any:
        return smooth(T, Z, use, step)["new"]

    step, use = 3_000_000, np.float32(0.1)
    run(step, use)
    jax.jit(run)(step, use)
    jax.jit(run)(step - 1, use)  # which the condition leaves out
    jax.jit(run)(np.uint32(step), use)
    jax.vmap(run, (None, 0))(step, jnp.array([use, use]))
    jax.jit(jax.grad(lambda use: run(step, use).sum()))(use)
    with jax.enable_x64(True):
        jax.jit(run)(step, use)
    hpacml.flush()
    meta = hpacml.open_database("d.h5")["smooth"].meta
    wanted = {"a": 3e9, "b": 750_000.0, "c": -1_500_000.0, "d": float(use) * 10}
    for name, number in wanted.items():
        np.testing.assert_array_equal(np.asarray(meta[name][:]).ravel(), [number] * 7)


def test_traced_truth_values_are_numbers_and_divisions_by_zero_make_none() -> None:
    smooth = smoothing(
        f"ml(collect) {MAPS} database('d.h5') meta(sum: use + use, less: -use, both: use and step, "
        "whole: step // use, rest: step % use, part: step / use)"
    )
    run = jax.jit(lambda use: smooth(T, Z, use, 7)["new"])
    for use in (True, False):
        run(use).block_until_ready()
    hpacml.flush()
    meta = hpacml.open_database("d.h5")["smooth"].meta
    no_number = {"whole": [7, np.nan], "rest": [0, np.nan], "part": [7, np.nan]}
    for name, numbers in {"sum": [2, 0], "less": [-1, 0], "both": [1, 0], **no_number}.items():
        np.testing.assert_array_equal(np.asarray(meta[name][:]).ravel(), numbers)


def test_conditions_are_the_same_inside_and_outside_of_jit() -> None:
    smooth = smoothing(f"ml(predicated: step > 0.1) {MAPS} model(net) database('d.h5')")
    for step in (np.float32(0.1), np.float32(0.05)):  # float32's 0.1 is more than 0.1
        made = [run(T, Z, True, step, MODELS["Torch"])["new"] for run in (smooth, jax.jit(smooth, static_argnums=4))]
        np.testing.assert_allclose(made[1], made[0])
        np.testing.assert_allclose(made[1], WANTED if step > 0.07 else BODY)


def test_known_numbers_of_meta_are_exact() -> None:
    smooth = smoothing(f"ml(collect) {MAPS} database('d.h5') meta(step: step)")
    jax.jit(lambda t, z: smooth(t, z, step=0.1)["new"])(T, Z).block_until_ready()
    assert records().meta["step"][0] == 0.1


# -- transformations -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["", "batch"])
@pytest.mark.parametrize("model", MODELS)
def test_vmap(model: str, batch: str) -> None:
    calls: list[tuple[int, ...]] = []

    class Counting(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(tuple(x.shape))
            return super().forward(x)

    net = Counting() if model == "Torch" else linear
    smooth = smoothing(f"ml(infer) {MAPS} model(net) {batch}")
    ts, z = np.stack([T, T + 1, T * 2]), jnp.array(Z)
    made = jax.jit(jax.vmap(lambda t: smooth(t, z, net=net)["new"]))(ts)
    wanted = np.stack([np.concatenate([[5], 2 * t[:-2] + 3 * t[2:] + 1, [5]]) for t in ts])
    np.testing.assert_array_equal(made, wanted)
    if model == "Torch":
        assert calls[-1] == ((21, 2) if batch else (7, 2))
    both = jax.vmap(lambda t, z: smooth(t, z, net=net)["new"], in_axes=(1, 0))(ts.T, np.stack([Z] * 3))
    np.testing.assert_array_equal(both, wanted)
    twice = jax.vmap(jax.vmap(lambda t: smooth(t, z, net=net)["new"]))(np.stack([ts, ts]))
    np.testing.assert_array_equal(twice, np.stack([wanted, wanted]))


def test_vmap_collects_each_call() -> None:
    smooth = smoothing(f"ml(predicated: use) {MAPS} model(net) database('d.h5')")
    ts = np.stack([T, T + 1, T * 2])
    jax.jit(jax.vmap(lambda t: smooth(t, Z, False, net=MODELS["Torch"])["new"]))(ts).block_until_ready()
    use = np.array([False, True, False])
    run = jax.jit(jax.vmap(lambda t, use: smooth(t, Z, use, net=MODELS["Torch"])["new"]))
    made = run(ts, use)
    np.testing.assert_array_equal(made[1][1:-1], 2 * ts[1][:-2] + 3 * ts[1][2:] + 1)
    np.testing.assert_array_equal(made[2][1:-1], 0.5 * (ts[2][:-2] + ts[2][2:]))
    group = records()
    first = [float(group.inputs[0][k][0, 1]) for k in range(len(group))]
    assert first == [2, 3, 4, 2, 4]  # the calls that infer are not among them


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("batch", ["", "batch"])
def test_gradients_go_through_the_model(model: str, batch: str) -> None:
    smooth = smoothing(f"ml(infer) {MAPS} model(net) {batch}")

    def loss(t: Any, z: Any) -> Any:
        return (smooth(t, z, net=MODELS[model])["new"] ** 2).sum()

    of_t, of_z = jax.jit(jax.grad(loss, (0, 1)))(T, Z)
    wanted = np.zeros(9, np.float32)
    inner = 2 * WANTED[1:-1]
    wanted[:-2] += 2 * inner
    wanted[2:] += 3 * inner
    np.testing.assert_allclose(of_t, wanted)
    np.testing.assert_array_equal(of_z, [10, 0, 0, 0, 0, 0, 0, 0, 10])  # what is written does not depend on it
    value, tangent = jax.jvp(loss, (T, Z), (np.ones_like(T), np.ones_like(Z)))
    np.testing.assert_allclose(value, (WANTED**2).sum())
    np.testing.assert_allclose(tangent, wanted.sum() + 20)
    several = jax.vmap(jax.grad(loss), in_axes=(0, None))(np.stack([T, T + 1]), Z)
    np.testing.assert_allclose(several[0], wanted)


@pytest.mark.parametrize("model", ["a file", "Torch", "JAX"])
def test_gradients_in_float64_are_those_of_differences(model: str) -> None:
    """Through a gather whose windows overlap, a network and a scatter, twice."""
    with jax.enable_x64(True):
        torch.manual_seed(0)
        net: Any = saved(mlp().double())
        net = {"a file": "m.pt2", "Torch": net, "JAX": lambda x: jnp.tanh(x @ jnp.array([[0.7], [-1.2]]))}[model]
        smooth = smoothing(f"ml(infer) {MAPS} model(net)")

        def loss(t: Any, z: Any) -> Any:
            return (smooth(smooth(t, z, net=net)["new"], t, net=net)["new"] ** 2).sum()

        given = np.sqrt(T.astype(np.float64)), np.cos(T.astype(np.float64))
        check_grads(loss, given, order=2, modes=("fwd", "rev"))


def test_gradients_go_through_the_body_and_not_through_collection() -> None:
    smooth = smoothing(f"ml(collect) {MAPS} database('d.h5')")

    def loss(t: Any) -> Any:
        return (smooth(t, Z)["new"][1:-1] ** 2).sum()

    wanted = jax.grad(lambda t: ((0.5 * (t[:-2] + t[2:])) ** 2).sum())(T)
    np.testing.assert_allclose(jax.grad(loss)(T), wanted)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(T), wanted)
    assert len(records()) == 2


def test_a_model_without_gradients_says_so() -> None:
    class Detached(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.round(x.numpy()))[:, :1]

    smooth = smoothing(f"ml(infer) {MAPS} model(net)")
    with pytest.raises(hpacml.ModelError, match=r"cannot be differentiated.*requires grad.*Gradients go"):
        jax.grad(lambda t: smooth(t, Z, net=Detached())["new"].sum())(T).block_until_ready()


# -- errors ----------------------------------------------------------------------------------------


def failing() -> torch.nn.Module:
    class Failing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no such luck")

    return Failing()


def test_errors_of_models_arrive_with_their_text() -> None:
    smooth, net = smoothing(f"ml(infer) {MAPS} model(net)"), failing()
    with pytest.raises(ModelError, match=r"no such luck"):
        smooth(T, Z, net=net)
    with pytest.raises(ERRORS, match=r"ModelError.*no such luck"):
        jax.jit(lambda t, z: smooth(t, z, net=net)["new"])(T, Z).block_until_ready()
    with pytest.raises(ModelError, match=r"gives the shape \[3\].*output has \[7, 1\]"):
        smooth(T, Z, net=lambda x: x[:3, 0])


def test_errors_of_derivatives_and_batches_outside_of_jit_are_those_of_hpacml() -> None:
    smooth, net = smoothing(f"ml(infer) {MAPS} model(net)"), failing()

    def run(t: Any) -> Any:
        return smooth(t, Z, net=net)["new"]

    for transformed in (
        lambda t: jax.grad(lambda t: run(t).sum())(t),
        lambda t: jax.jvp(run, (t,), (t,)),
        lambda t: jax.vmap(run)(jnp.stack([t, t])),
    ):
        for _ in range(2):
            with pytest.raises(ModelError, match=r"no such luck"):
                transformed(T)


class Bounded(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if float(x.detach().max()) > 10:
            raise ValueError("too large")
        return torch.sin(x).sum(-1, keepdim=True)


@pytest.mark.parametrize("batch", ["", "batch"])
def test_where_the_original_code_takes_over_gradients_are_its_own(batch: str) -> None:
    smooth = smoothing(f"ml(infer) {MAPS} model(net) {batch}", on_error="accurate")

    def loss(t: Any) -> Any:
        return (smooth(t, Z, net=Bounded())["new"] ** 2).sum()

    def wanted(t: Any) -> Any:
        inner = jnp.sin(t[:-2]) + jnp.sin(t[2:]) if t.max() <= 10 else 0.5 * (t[:-2] + t[2:])
        return (jnp.asarray(Z).at[1:-1].set(inner) ** 2).sum()

    both = jnp.asarray(T), jnp.asarray(2 * T)
    for t in both:
        for run in (lambda f: f, jax.jit):
            np.testing.assert_allclose(run(jax.grad(loss))(t), jax.grad(wanted)(t), rtol=1e-4, atol=1e-5)
            tangents = (jax.jvp(run(f) if f is loss else f, (t,), (t,))[1] for f in (loss, wanted))
            np.testing.assert_allclose(*tangents, rtol=1e-4)
    several = jax.jit(jax.vmap(jax.grad(loss)))(jnp.stack(both))
    np.testing.assert_allclose(several, [jax.grad(wanted)(t) for t in both], rtol=1e-4, atol=1e-5)


def test_gradients_in_the_inference_mode_of_torch() -> None:
    smooth, net = smoothing(f"ml(infer) {MAPS} model(net)"), mlp()

    def loss(t: Any) -> Any:
        return (smooth(t, Z, net=net)["new"] ** 2).sum()

    wanted = jax.grad(loss)(T)
    with torch.inference_mode():
        np.testing.assert_array_equal(jax.grad(loss)(T), wanted)


def test_traced_arrays_in_other_regions_say_what_to_take() -> None:
    with pytest.raises(hpacml.MapError, match=r"argument 'a' is traced by JAX.*hpacml\.jax\.region"):
        jax.jit(lambda a: hpacml.functor("f: [i, 0:1] = ([i])").gather("a[0:9]", a=a))(T)


def test_a_missing_model_is_found_out_when_it_is_needed() -> None:
    smooth = smoothing(f"ml(predicated: use) {MAPS} model('none.pt2') database('d.h5')")
    run = jax.jit(lambda t, z, use: smooth(t, z, use)["new"])
    np.testing.assert_array_equal(run(T, Z, False), BODY)
    with pytest.raises(ERRORS, match=r"none\.pt2"):
        run(T, Z, True).block_until_ready()
    saved(Linear(), "none.pt2")
    np.testing.assert_array_equal(run(T, Z, True), WANTED)


def test_the_original_code_takes_over_where_the_model_fails() -> None:
    smooth, net = smoothing(f"ml(infer) {MAPS} model(net)", on_error="accurate"), failing()
    np.testing.assert_array_equal(smooth(T, Z, net=net)["new"], BODY)
    np.testing.assert_array_equal(jax.jit(lambda t, z: smooth(t, z, net=net)["new"])(T, Z), BODY)
    np.testing.assert_array_equal(smooth(T, Z, net=MODELS["Torch"])["new"], WANTED)


def test_indices_are_checked_when_a_program_runs() -> None:
    @hpacml.jax.region("""tensor functor(f: [i, 0:1] = ([i]))
                          ml(infer) in(f(a[idx[0:3]])) out(f(b[0:3])) model(net)""")
    def pick(a: Any, idx: Any, b: Any, net: Any) -> Any: ...

    run = jax.jit(lambda a, idx: pick(a, idx, jnp.zeros(3), MODELS_OF_ONE["Torch"])["b"])
    np.testing.assert_array_equal(run(T, np.array([4, 0, 8])), [4, 0, 8])
    with pytest.raises(ERRORS, match=r"MapError.*idx\[1\] is 9, outside"):
        run(T, np.array([4, 9, 8])).block_until_ready()


MODELS_OF_ONE = {"Torch": torch.nn.Identity()}


def test_what_does_not_fit_is_refused_when_it_is_traced() -> None:
    smooth = smoothing(f"ml(collect) {MAPS} database('d.h5')")
    with pytest.raises(hpacml.MapError, match=r"reaches index 8 .* has 7 elements"):
        jax.jit(smooth)(T[:7], Z)
    with pytest.raises(hpacml.MapError, match=r"complex64"):
        smooth(T.astype(np.complex64), Z)
    with pytest.raises(hpacml.MapError, match=r"jax_enable_x64"):
        smooth(T.astype(np.float64), Z)
    with pytest.raises(hpacml.MapError, match=r"'t' is a list"):
        smooth([1.0], Z)

    @hpacml.jax.region(f"{SMOOTH} ml(collect) in(s(t[1:n-1])) out(p(new[1:n-1])) database('d.h5')")
    def sized(t: Any, new: Any, n: Any) -> Any:
        return {"new": new[1:]} if t.shape[0] == 8 else {"old": new}

    with pytest.raises(hpacml.MapError, match=r"'n' decides .* static_argnames"):
        jax.jit(sized)(T, Z, 9)
    with pytest.raises(hpacml.MapError, match=r"returns a dict of 'old'.*\{'new': \.\.\.\}"):
        sized(T, Z, jnp.int32(9))
    with pytest.raises(hpacml.MapError, match=r"float32\[8\] for 'new', which was given as float32\[9\]"):
        sized(T[:8], Z, 8)


# -- surroundings ----------------------------------------------------------------------------------


def test_numbers_are_sources_and_arrays_may_be_empty() -> None:
    @hpacml.jax.region("""tensor functor(f: [i, 0:2] = ([i], [0]))
                          tensor functor(g: [i, 0:1] = ([i]))
                          ml(infer) in(f(a[0:n], dt)) out(g(b[0:n])) model(net)""")
    def step(a: Any, dt: Any, b: Any, net: Any, n: Any) -> Any: ...

    for net in MODELS.values():
        made = jax.jit(lambda a, dt, net=net: step(a, dt, jnp.zeros(9), net, 9)["b"])(T, 0.5)
        np.testing.assert_array_equal(made, 2 * T + 2.5)
        np.testing.assert_array_equal(step(T, 0.5, jnp.zeros(9), net, 9)["b"], 2 * T + 2.5)
        assert step(T[:0], 0.5, jnp.zeros(0), net, 0)["b"].shape == (0,)


def test_derivatives_and_batches_of_empty_arrays() -> None:
    @hpacml.jax.region("""tensor functor(f: [i, 0:1] = ([i]))
                          ml(predicated: use) in(f(a[0:n])) out(f(b[0:n])) model(net) database('d.h5')""")
    def same(a: Any, b: Any, n: int, use: bool, net: Any) -> Any:
        return {"b": 2 * a}

    none, two = jnp.zeros(0), jnp.zeros((2, 0))
    for net in (torch.nn.Identity(), lambda x: x):
        for use in (True, False):
            run = lambda a, net=net, use=use: same(a, none, 0, use, net)["b"]  # noqa: E731
            assert jax.jit(jax.grad(lambda a, run=run: run(a).sum()))(none).shape == (0,)
            assert jax.jvp(run, (none,), (none,))[1].shape == (0,)
            assert jax.vmap(run)(two).shape == (2, 0)
    assert len(records(label="same")) == 2 * (1 + 1 + 2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("model", MODELS)
def test_other_floats(dtype: str, model: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        smooth = smoothing(f"ml(infer) {MAPS} model(net)")
        t, z = jnp.asarray(T, dtype), jnp.asarray(Z, dtype)
        made = jax.jit(lambda t, z: smooth(t, z, net=MODELS[model])["new"])(t, z)
        assert made.dtype == t.dtype
        np.testing.assert_array_equal(made.astype(jnp.float32), WANTED)


def test_threads_and_cleared_caches() -> None:
    smooth = smoothing(f"ml(infer) {MAPS} model(net)")
    wrong: list[object] = []

    def work(k: int) -> None:
        net = Linear(float(k + 1))
        run = jax.jit(lambda t, z: smooth(t, z, net=net)["new"])
        slope = jax.jit(jax.grad(lambda t: smooth(t, Z, net=net)["new"].sum()))
        for n in range(30):
            if not np.array_equal(run(T + n, Z)[1:-1], (k + 1) * (WANTED[1:-1] + 5 * n)):
                wrong.append((k, n))
            if not np.array_equal(slope(T), (k + 1) * np.array([2, 2, 5, 5, 5, 5, 5, 3, 3])):
                wrong.append((k, n, "gradient"))
            if k == 0 and n % 10 == 0:
                jax.clear_caches()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not any(each.is_alive() for each in threads)
    assert not wrong


def test_programs_outlive_the_region_and_the_caches() -> None:
    def make() -> Any:
        smooth = smoothing(f"ml(infer) {MAPS} model(net)")
        return jax.jit(lambda t, z: smooth(t, z, net=MODELS["Torch"])["new"]).lower(T, Z).compile()

    program = make()
    jax.clear_caches()
    gc.collect()
    np.testing.assert_array_equal(program(T, Z), WANTED)


@pytest.mark.slow
def test_programs_under_way_outlive_the_region_and_the_caches() -> None:
    class Slow(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.005)
            return x.sum(-1, keepdim=True)

    def begin() -> tuple[Any, Any]:
        smooth, net = smoothing(f"ml(infer) {MAPS} model(net)"), Slow()

        def steps(t: Any) -> Any:
            return jax.lax.scan(lambda t, _: (smooth(t / 2, t, net=net)["new"], None), t, length=50)[0]

        before = jax.jit(lambda t: jax.lax.fori_loop(0, 50, lambda _, x: jnp.tanh(x @ x), jnp.outer(t, t)))
        wide = jnp.ones(400)
        run = jax.jit(steps).lower(jax.ShapeDtypeStruct((9,), jnp.float32)).compile()
        return run(before(wide)[0, :9]), weakref.ref(net)

    made, net = begin()
    gc.collect()
    jax.clear_caches()
    gc.collect()
    assert np.isfinite(np.asarray(made)).all()
    for _ in range(50):
        gc.collect()
        if net() is None:
            break
        time.sleep(0.1)  # the program gives back what it had when it has ended
    assert net() is None


def test_ten_thousand_calls() -> None:
    saved(mlp())
    smooth = smoothing(f"ml(predicated: use) {MAPS} model('m.pt2') database('d.h5')")
    run = jax.jit(lambda t, z, use: smooth(t, z, use)["new"])
    for k in range(10_000):
        made = run(T, Z, k % 10 != 0)
    made.block_until_ready()
    assert len(records()) == 1000
