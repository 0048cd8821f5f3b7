"""The fast path of calls does what Python does, for the calls that it takes and those that it leaves to Python.

A call by keywords is one in Python, and serves as the oracle.
"""

from __future__ import annotations

import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, Float64, Int64
from kernels import kernel_of, same

import hpacml
from hpacml.runtime.shim import runtime

TEXT = """
@hpacml.kernel
def put(a: Float64[np.ndarray, "n 2"], b: Float64[np.ndarray, "n"], x: float, k: int, f: bool):
    for i in range(len(b)):
        b[i] = a[i, 0] + x + k + (1.0 if f else 0.0)
"""
put = kernel_of(TEXT)
NAMES = "a", "b", "x", "k", "f"


class Sub(np.ndarray):
    pass


def make_arrays() -> dict[str, Any]:
    plain = np.arange(6.0)
    readonly = plain.copy()
    readonly.flags.writeable = False
    return {
        "plain": plain,
        "pairs": np.arange(12.0).reshape(6, 2),
        "short pairs": np.arange(8.0).reshape(4, 2),
        "strided pairs": np.arange(24.0).reshape(6, 4)[:, ::2],
        "in order of Fortran": np.asfortranarray(np.arange(12.0).reshape(6, 2)),
        "triples": np.zeros((6, 3)),
        "no pairs": np.zeros((0, 2)),
        "empty": np.zeros(0),
        "one": np.zeros(1),
        "one pair": np.zeros((1, 2)),
        "number": np.array(1.0),
        "reversed": plain[::-1].copy()[::-1],
        "foreign": plain.astype(">f8"),
        "float32": plain.astype("f4"),
        "with metadata": plain.astype(np.dtype("f8", metadata={"unit": 1})),
        "pickled": pickle.loads(pickle.dumps(plain)),
        "readonly": readonly,
        "misaligned": np.frombuffer(bytearray(49), np.uint8)[1:].view(np.float64),
        "subclass": plain.copy().view(Sub),
        "masked": np.ma.masked_array(plain.copy()),
        "tensor": torch.arange(6.0, dtype=torch.float64),
        "tensor of pairs": torch.arange(12.0, dtype=torch.float64).reshape(6, 2),
        "list": [1.0],
        "None": None,
    }


ARRAYS = st.sampled_from(sorted(make_arrays()))
PAIRS, PLAIN = st.sampled_from(["pairs", "one pair", "no pairs"]), st.sampled_from(["plain", "one", "empty"])
SPECIAL = [True, 2**63, -(2**63), 2**63 - 1, 10**400, None, "s", 1j, float("nan"), -0.0, np.bool_(1), np.array(2)]
NUMBERS = st.one_of(
    st.sampled_from(SPECIAL),
    st.floats(),
    st.integers(),
    st.booleans(),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.float64),
    st.integers(-9, 9).map(np.int64),
)


def outcome(run: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, list[bytes]]:
    try:
        text = repr(run(*args))
    except Exception as error:
        text = re.sub("0x[0-9a-f]+", "0x", f"{type(error).__name__}: {error}")
    return text, [bytes(np.ascontiguousarray(a).data) for a in args if isinstance(a, np.ndarray | torch.Tensor)]


def by_name(*args: Any) -> Any:
    return put(**dict(zip(NAMES, args, strict=True)))


@settings(max_examples=150, deadline=None)
@given(PAIRS | ARRAYS, PLAIN | ARRAYS, st.floats() | NUMBERS, st.integers() | NUMBERS, st.booleans() | NUMBERS)
def test_takes_and_refuses_what_python_does(a: str, b: str, x: Any, k: Any, f: Any) -> None:
    warm()
    ours, theirs = make_arrays(), make_arrays()
    assert outcome(put, (ours[a], ours[b], x, k, f)) == outcome(by_name, (theirs[a], theirs[b], x, k, f))


@pytest.mark.parametrize("args", [(), (1.0,), tuple(range(6)), tuple(range(400))])
def test_wrong_numbers_of_arguments(args: tuple[Any, ...]) -> None:
    warm()
    with pytest.raises(TypeError, match=r"put\(\)"):
        put(*args)
    with pytest.raises(TypeError, match=r"put\(\).*'z'"):
        put(*warm(), z=1)


def warm() -> tuple[Any, ...]:
    """Arguments of calls that take the fast path, which is open behind this."""
    args = np.arange(12.0).reshape(6, 2), np.zeros(6), 1.0, 2, True
    for _ in range(3):
        put(*args)
    return args


@contextmanager
def frames() -> Iterator[list[str]]:
    """The functions of hpacml in Python that run meanwhile."""
    found: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and f"{os.sep}hpacml{os.sep}" in frame.f_code.co_filename:
            found.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


def test_takes_calls_without_python() -> None:
    a, b, *numbers = warm()
    with frames() as found:
        put(a, b, *numbers)
        put(a, b, np.float64(1.5), 2, False)
        put(a[:1], b[:1], 1.0, 2, True)
    assert not found
    with frames() as found:
        put(a[::2], b[::2], *numbers)
    assert found


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("def f(x: float): return x", (2.5,)),
        ("def f(x: float): return x * 1.0", (-0.0,)),
        ("def f(k: int): return k * 3", (-(2**61),)),
        ("def f(k: int): return k > 3", (4,)),
        ("def f(x: float): return np.float32(x)", (1e-3,)),
        ("def f(k: int): return np.int32(k)", (-5,)),
        ("def f(k: int): return np.int64(k)", (-5,)),
        ("def f(x: np.float64): return x + 1.0", (np.float64(3),)),
        ("def f(x: float): return np.float64(x) > 1.0", (3.0,)),
        ("def f(k: int): return np.uint8(k)", (200,)),
        ("def f(k: int): return k, k", (200,)),
        ("def f(f: bool): return not f", (True,)),
        ("def f(): return 1.5", ()),
        ("def f(k: int, x: float = 2.0): return k * x", (3,)),
    ],
)
def test_arguments_and_results(text: str, args: Any) -> None:
    run = kernel_of(f"@hpacml.kernel\n{text}\n")
    for _ in range(4):
        assert same(run(*args), run.py_func(*args))


def test_a_parameter_that_only_keywords_give() -> None:
    run = kernel_of("@hpacml.kernel\ndef f(k: int, *, x: float): return k * x\n")
    assert [run(3, x=2.0) for _ in range(4)] == [6.0] * 4
    with pytest.raises(TypeError):
        run(3, 2.0)


def test_sizes_of_annotations() -> None:
    run = kernel_of(
        "@hpacml.kernel\ndef f(a: Float64[np.ndarray, '3 n'], b: Float64[np.ndarray, 'n']): b[0] = a[2, 0]\n"
    )
    b = np.zeros(2)
    for _ in range(3):
        run(np.ones((3, 2)), b)
    with frames() as found:
        run(np.ones((3, 2)), b)
    assert not found
    with pytest.raises(hpacml.MapError, match="annotation says 3"):
        run(np.ones((4, 2)), b)
    with pytest.raises(hpacml.MapError, match="'n' is 3"):
        run(np.ones((3, 3)), b)


def test_a_bundle_is_not_its_fields() -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        x: float

    run = kernel_of("@hpacml.kernel\ndef f(p: Pair): return p.x\n", Pair=Pair)
    assert [run(Pair(2.0)) for _ in range(4)] == [2.0] * 4
    with pytest.raises(hpacml.MapError, match="takes a Pair"):
        run(2.0)


LOCAL = """
@hpacml.kernel
def f(a: Float64[np.ndarray, "n"], k: int):
    b = np.zeros(k)
    for i in range(len(b)):
        if a[i] < 0.0:
            raise ValueError(f"a[{i}] is {a[i]}")
        b[i] = 2.0 * a[i]
    if k == 5:
        print("five", k)
    return b.sum()
"""


def test_kernels_that_have_arrays_of_their_own_and_raise(capfd: Any) -> None:
    run, a = kernel_of(LOCAL), np.arange(6.0)
    results = [run(a, 4) for _ in range(4)]
    assert results == [12.0] * 4
    with frames() as found:
        run(a, 4)
    assert found == ["Function.settle"]
    live = runtime().live_blocks()
    a[2] = -1.5
    for _ in range(3):
        with pytest.raises(ValueError, match=r"a\[2\] is -1\.5") as native:
            run(a, 4)
        with pytest.raises(ValueError, match=r"a\[2\] is -1\.5") as python:
            run(a=a, k=4)
        assert native.value.__notes__ == python.value.__notes__
        with pytest.raises(hpacml.HpacmlError, match=r"shape \[-1\]") as refused:
            run(a, -1)
        assert len(refused.traceback) == 2
        assert runtime().live_blocks() == live
    a[2] = 2.0
    assert run(a, 4) == 12.0
    assert run(a, 5) == run(a=a, k=5) == 20.0
    assert capfd.readouterr().out == "five 5\n" * 2


def test_names_that_are_defined_anew() -> None:
    run = kernel_of("@hpacml.kernel\ndef f(x: float): return abs(x) + y\n", y=1.0)
    space = run.py_func.__globals__
    assert [run(-2.0) for _ in range(4)] == [3.0] * 4
    space["abs"] = max_of = kernel_of("@hpacml.kernel\ndef g(x: float): return x\n")
    assert run(-2.0) == run.py_func(-2.0) == -1.0
    assert [run(-2.0) for _ in range(4)] == [-1.0] * 4
    del space["abs"]
    assert run(-2.0) == 3.0
    assert max_of(1.0) == 1.0


def test_instruments_that_are_switched() -> None:
    args = warm()
    try:
        hpacml.ranges("torch")
        with torch.profiler.profile() as profile:
            put(*args)
            put(*args)
        assert sum(event.name == "hpacml.kernel put" for event in profile.events()) == 2
        hpacml.ranges(None)
        hpacml.timing()
        warm()
        with frames() as found:
            put(*args)
        assert not found
    finally:
        hpacml.timing(False)
        hpacml.ranges(None)
    warm()
    with frames() as found:
        put(*args)
    assert not found


def test_tracers_are_told_as_in_python() -> None:
    a, b, *numbers = warm()

    def traced(x: torch.Tensor) -> torch.Tensor:
        put(a, b, *numbers)
        return x + b[0]

    with (
        warnings.catch_warnings(),
        pytest.raises(hpacml.MapError, match=r"torch\.jit\.trace cannot record the kernel put"),
    ):
        warnings.simplefilter("ignore")
        torch.jit.trace(traced, torch.ones(2), check_trace=False)
    from torch.fx.experimental.proxy_tensor import make_fx

    with pytest.raises(hpacml.MapError, match="make_fx cannot record the kernel put"):
        make_fx(traced)(torch.ones(2))
    with frames() as found:
        put(a, b, *numbers)
    assert not found


LATER = """
import sys
import numpy as np, hpacml
from jaxtyping import Float64

@hpacml.kernel
def put(b: Float64[np.ndarray, "n"]):
    b[0] = 1.0

b = np.zeros(2)
for _ in range(4):
    put(b)
assert "torch" not in sys.modules
import torch
try:
    torch.jit.trace(lambda x: (put(b), x)[1], torch.ones(2), check_trace=False)
except hpacml.MapError:
    for _ in range(4):
        put(b)
    called = []
    sys.setprofile(lambda frame, event, _: called.append(frame) if event == "call" else None)
    put(b)
    sys.setprofile(None)
    assert not called
    sys.exit(7)
"""


def test_torch_that_comes_later(tmp_path: Path) -> None:
    (tmp_path / "later.py").write_text(LATER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(tmp_path / "later.py")], env=environment, check=False)
    assert done.returncode == 7


def test_keeps_code_and_arguments_as_long_as_needed() -> None:
    run = kernel_of(TEXT)
    a, b, *numbers = warm()
    for _ in range(3):
        run(a, b, *numbers)
    run.__dict__.pop("_dispatcher")
    gc.collect()
    b[:] = 0
    run(a, b, *numbers)
    assert b[1] == a[1, 0] + 4.0
    number = 1234.5
    run(a, b, number, np.int64(2), True)
    counted = [a, b, number, None, NotImplemented, run]
    before = list(map(sys.getrefcount, counted))
    for _ in range(3000):
        run(a, b, number, 2, True)
        run(a, b, number, np.int64(2), True)
    after = list(map(sys.getrefcount, counted))
    assert max(abs(new - old) for old, new in zip(before, after, strict=True)) < 200


@hpacml.kernel
def tripled(x: float):
    return 3.0 * x


def test_pickles_and_methods() -> None:
    class Holder:
        factor = tripled

    for _ in range(3):
        assert tripled(2.0) == pickle.loads(pickle.dumps(tripled))(2.0) == 6.0
    with pytest.raises(TypeError):
        Holder().factor(2.0)
    assert Holder.factor(2.0) == 6.0
    assert list(map(tripled.__call__, [1.0, 2.0])) == [3.0, 6.0]


SUM = "@hpacml.kernel\ndef f(a: Float64[np.ndarray, 'n'], m: int):\n{}    return s\n"
LOOPS = "    s = 0.0\n    for k in range(m):\n        for i in range(len(a)):\n            s += a[i]\n"


def test_threads_run_at_once_and_interrupts_arrive() -> None:
    run = kernel_of(SUM.format(LOOPS))
    data = [np.full(1000, 1.0 + k) for k in range(4)]
    for each in data:
        run(each, 1)
    results: dict[int, set[float]] = {k: set() for k in range(4)}

    def work(k: int) -> None:
        for _ in range(300):
            results[k].add(float(run(data[k], 3)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for on in (True, False) * 20:
        hpacml.timing(on)
    for thread in threads:
        thread.join()
    assert results == {k: {3000.0 * (1 + k)} for k in range(4)}

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    free = threading.Event()
    other = threading.Timer(0.01, free.set)
    try:
        other.start()
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            while True:
                run(data[0], 30000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert free.wait(10)


def test_forked_children_take_it() -> None:
    args = warm()
    child = os.fork()
    if child == 0:
        with frames() as found:
            put(*args)
        os._exit(len(found))
    assert os.waitpid(child, 0)[1] == 0


Ints = Int64[np.ndarray, "n"]
Singles = Float32[np.ndarray, "n"]
Doubles = Float64[np.ndarray, "n"]


@hpacml.kernel
def mixed(a: Ints, b: Singles, c: Doubles):
    for i in range(len(a)):
        c[i] = a[i] * b[i]
        a[i] += 1


def test_memory_that_is_shared_or_resized() -> None:
    a, b, c = np.arange(5), np.ones(5, np.float32), np.zeros(5)
    for _ in range(3):
        mixed(a, b, c)
    shared = np.arange(5)
    ours, theirs = shared.copy(), shared.copy()
    mixed(ours, b, ours.view(np.float64))
    mixed(a=theirs, b=b, c=theirs.view(np.float64))
    assert (ours == theirs).all()
    owned = np.arange(3)
    owned.resize(7, refcheck=False)
    wide, out = np.ones(7, np.float32), np.zeros(7)
    mixed(owned, wide, out)
    assert (out == [0, 1, 2, 0, 0, 0, 0]).all()
    mapped = np.memmap.__new__(np.memmap, _file(), np.int64, "w+", shape=7)
    mixed(mapped, wide, out)
    assert (mapped == 1).all()


def _file() -> Any:
    import tempfile

    return tempfile.NamedTemporaryFile()
