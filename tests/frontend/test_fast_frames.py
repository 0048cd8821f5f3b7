"""Calls with a model that native code makes: the same results and errors as of the call in Python, by keywords."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml import approx
from hpacml.runtime import frame

Array = Float64[np.ndarray, "n"]


@hpacml.kernel
def kernel(a: Array, y: Array, factor: float, net: Any):
    n = len(a)
    approx("tensor functor(point: [i] = ([i]))")
    with approx("ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)"):
        for i in range(n):
            y[i] = factor * a[i]


@hpacml.kernel
def lenient(a: Array, y: Array, factor: float, net: Any):
    n = len(a)
    approx("tensor functor(point: [i] = ([i]))")
    with approx("ml(infer) in(point(a[0:n])) out(point(y[0:n])) model(net)", on_error="accurate"):
        for i in range(n):
            y[i] = factor * a[i]


def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2.0 * x


def warm(run: Any = kernel) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of calls that are native, behind this."""
    a, y = np.arange(5.0), np.zeros(5)
    for _ in range(3):
        run(a, y, 3.0, doubled)
    assert run.fast_path
    y[:] = 0
    return a, y


def in_python(run: Any, a: Any, y: Any, factor: Any, net: Any) -> Any:
    return run(a=a, y=y, factor=factor, net=net)


def outcome(run: Callable[..., Any], a: Any, y: Any, *others: Any) -> tuple[Any, list[float]]:
    try:
        found: Any = run(a, y, *others)
    except Exception as error:
        found = type(error), str(error), getattr(error, "__notes__", ())
    return found, np.asarray(y).tolist()


def failing(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("no")


MODELS = [doubled, torch.nn.ReLU(), torch.nn.Linear(5, 5), failing, None, 3, "missing.pt", lambda x: x[:2]]


@pytest.mark.parametrize("run", [kernel, lenient])
@pytest.mark.parametrize("net", MODELS)
def test_results_and_errors_are_those_of_python(run: Any, net: Any) -> None:
    a, y = warm(run)
    theirs = np.zeros(5)
    for _ in range(2):
        assert outcome(run, a, y, 3.0, net) == outcome(lambda *args: in_python(run, *args), a, theirs, 3.0, net)
        assert frame.innermost() is None


@pytest.mark.parametrize("a", [np.ones(4), np.ones(5, np.float32), np.ones(10)[::2], torch.ones(5).double(), [1.0]])
def test_arguments_that_native_code_does_not_take(a: Any) -> None:
    warm()
    ours, theirs = np.zeros(5), np.zeros(5)
    found = outcome(kernel, a, ours, 3.0, doubled)
    assert found == outcome(lambda *args: in_python(kernel, *args), a, theirs, 3.0, doubled)
    assert frame.innermost() is None


def test_paths_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).double().eval()
    hpacml.save_model(net, "net.safetensors", example=torch.zeros(3, 1).double())

    @hpacml.kernel
    def pointwise(a: Array, y: Array, net: str):
        n = len(a)
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        with approx("ml(infer) in(one(a[0:n])) out(one(y[0:n])) model(net)"):
            for i in range(n):
                y[i] = a[i]

    a, y = np.arange(5.0), np.zeros(5)
    for _ in range(5):
        y[:] = 0
        pointwise(a, y, "net.safetensors")
        expected = net(torch.from_numpy(a)[:, None])[:, 0].detach().numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
        monkeypatch.chdir("/")


@pytest.mark.parametrize("run", [kernel, lenient])
@pytest.mark.parametrize("size", [1 << 16, 2])
def test_a_model_that_exchanges_memory(run: Any, size: int) -> None:
    a, _ = warm(run)
    y = np.full(5, 7.0)

    def exchange(x: torch.Tensor) -> torch.Tensor:
        y.resize((size,), refcheck=False)
        return x

    with pytest.raises(hpacml.MapError, match="has given the array 'y' other memory or sizes"):
        run(a, y, 3.0, exchange)
    assert (y[:2] == 7.0).all()
    assert frame.innermost() is None


def test_calls_in_a_model_nest() -> None:
    a, y = warm()
    deepest = 0

    def nested(depth: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def net(x: torch.Tensor) -> torch.Tensor:
            nonlocal deepest
            deepest = max(deepest, depth)
            inner = np.zeros(5)
            kernel(x.numpy().copy(), inner, 3.0, nested(depth - 1) if depth else doubled)
            return torch.from_numpy(inner) + 1.0

        return net

    kernel(a, y, 3.0, nested(30))
    assert deepest == 30
    assert y.tolist() == (2.0 * a + 31.0).tolist()

    def endless(x: torch.Tensor) -> torch.Tensor:
        kernel(x.numpy().copy(), np.zeros(5), 3.0, endless)
        return x

    with pytest.raises(hpacml.HpacmlError, match=r"nested too deep|bytes|KiB|RecursionError"):
        kernel(a, y, 3.0, endless)
    assert frame.innermost() is None
    kernel(a, y, 3.0, doubled)
    assert y.tolist() == (2.0 * a).tolist()


def test_threads_have_frames_of_their_own() -> None:
    warm()
    wrong: list[int] = []

    def work(k: int) -> None:
        a, y = np.full(5, float(k)), np.zeros(5)
        for _ in range(200):
            kernel(a, y, 3.0, lambda x: x + k)
            if (y != 2.0 * k).any() or frame.innermost() is not None:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_that_keeps_its_input() -> None:
    a, y = warm()
    kept: list[torch.Tensor] = []

    def keeping(x: torch.Tensor) -> torch.Tensor:
        kept.append(x)
        return 2.0 * x

    for k in range(4):
        a[:] = k
        kernel(a, y, 3.0, keeping)
    assert [x[0].item() for x in kept] == [0.0, 1.0, 2.0, 3.0]


@hpacml.kernel
def by_torch(a: Array, y: Array, net: Any):
    n = len(a)
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx("ml(infer) in(one(a[0:n])) out(one(y[0:n])) model(net) engine(torch)"):
        for i in range(n):
            y[i] = a[i]


def test_models_that_change_their_dtype_weights_and_mode() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Dropout(0.5), torch.nn.Linear(3, 1)).double().eval()
    other = torch.nn.Sequential(torch.nn.Linear(1, 1)).double().eval()
    a, y = np.arange(1.0, 6.0), np.zeros(5)

    def check(net: torch.nn.Module, dtype: torch.dtype) -> None:
        for run in (by_torch, by_torch):
            run(a, y, net)
            with torch.no_grad():
                expected = net(torch.from_numpy(a)[:, None].to(dtype))[:, 0].double().numpy()
            np.testing.assert_array_equal(y, expected)

    for _ in range(3):
        check(net, torch.float64)
        check(other, torch.float64)
        check(net.float(), torch.float32)
        check(other, torch.float64)
        net.double()[0].weight.data += 1.0
        net.train()
        by_torch(a, y, net)
        trained = y.copy()
        assert net[1].training
        net.eval()
        check(net, torch.float64)
        np.testing.assert_array_equal(y, trained)
        net[2] = torch.nn.Linear(3, 1).double()


POINT = "tensor functor(point: [i] = ([i]))\n"


def region_of(on_error: Any = None) -> Any:
    @hpacml.region(f"{POINT} ml(infer) in(point(a[0:n])) out(point(y[k:k+n])) model(net)", on_error=on_error)
    def region(a, y, n, k, step, net, factor=2.0):
        y[k : k + n] = factor * a[:n]
        return step

    return region


def by_keywords(run: Any, *args: Any) -> Any:
    return run(**dict(zip(["a", "y", "n", "k", "step", "net"], args, strict=False)))


@pytest.mark.parametrize("on_error", ["raise", "accurate"])
@pytest.mark.parametrize("net", MODELS)
def test_regions_do_natively_what_they_do_in_python(on_error: Any, net: Any) -> None:
    run, a = region_of(on_error), np.arange(5.0)
    for step in range(3):
        run(a, np.zeros(7), 5, 2, step, doubled)
    calls = [(5, 2, 3), (5, 2, True), (5, 2, 2**70), (4, 2, 3), (5, 0, 3), (5, 3, 3), (np.int64(5), 2, 3), (5, 2.0, 3)]
    for numbers in calls:
        for others in [(net,), (doubled,), ()]:
            ours, theirs = np.zeros(7), np.zeros(7)
            found = outcome(run, a, ours, *numbers, *others)
            assert found == outcome(lambda *args: by_keywords(run, *args), a, theirs, *numbers, *others)
            assert frame.innermost() is None


def arrays_of_regions() -> dict[str, tuple[Any, Any]]:
    a, y, shared = np.arange(5.0), np.zeros(7), np.arange(7.0)
    readonly = np.zeros(7)
    readonly.flags.writeable = False
    return {
        "readonly": (a, readonly),
        "reversed": (a[::-1], y),
        "strided": (np.arange(10.0)[::2], np.zeros(14)[::2]),
        "float32": (a.astype(np.float32), y),
        "written float32": (a, np.zeros(7, np.float32)),
        "tensor": (torch.from_numpy(a), y),
        "written tensor": (a, torch.zeros(7).double()),
        "None": (a, None),
        "empty": (np.zeros(0), y),
        "shared": (shared[:5], shared),
    }


@pytest.mark.parametrize("kind", arrays_of_regions())
def test_arrays_of_regions(kind: str) -> None:
    run = region_of()
    for _ in range(3):
        run(np.arange(5.0), np.zeros(7), 5, 2, 0, doubled)
    expected = outcome(lambda *args: by_keywords(run, *args), *arrays_of_regions()[kind], 5, 2, 0, doubled)
    for _ in range(3):
        assert outcome(run, *arrays_of_regions()[kind], 5, 2, 0, doubled) == expected


def test_results_of_original_code_and_exchanged_memory() -> None:
    run, a = region_of("accurate"), np.arange(5.0)
    for _ in range(4):
        assert run(a, np.zeros(7), 5, 2, NotImplemented, doubled) is None
    y = np.zeros(7)
    assert run(a, y, 5, 2, NotImplemented, failing) is NotImplemented
    assert y[2:].tolist() == (2.0 * a).tolist()

    def exchange(x: torch.Tensor) -> torch.Tensor:
        y.resize((1 << 16,), refcheck=False)
        return x

    with pytest.raises(hpacml.MapError, match="has given the array 'y' other memory or sizes"):
        run(a, y, 5, 2, NotImplemented, exchange)
    assert frame.innermost() is None


def test_regions_are_native_and_switch_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    run, a, y = region_of(), np.arange(5.0), np.zeros(7)
    for step in range(4):
        run(a, y, 5, 2, step, doubled)
    bound: list[Any] = []
    bind = type(run)._bind
    monkeypatch.setattr(type(run), "_bind", lambda *args: (bound.append(args), bind(*args))[1])
    run(a, y, 5, 2, 9, doubled)
    assert not bound
    hpacml.timing()
    try:
        run(a, y, 5, 2, 9, doubled)
        assert len(bound) == 1
        assert "region" in str(hpacml.report())
    finally:
        hpacml.timing(False)
    run(a, y, 5, 2, 9, torch.nn.Identity())
    assert y[2:].tolist() == a.tolist()

    def traced(x: torch.Tensor) -> torch.Tensor:
        run(a, y, 5, 2, 9, doubled)
        return x

    with (
        warnings.catch_warnings(),
        pytest.raises(hpacml.MapError, match=r"torch\.jit\.trace cannot record the region"),
    ):
        warnings.simplefilter("ignore")
        torch.jit.trace(traced, torch.ones(2), check_trace=False)
