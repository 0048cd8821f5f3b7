"""Kernels, regions, functors, layers and datasets in pickles, and in the processes of pools."""

from __future__ import annotations

import copy
import functools
import io
import json
import math
import pickle
import pickletools
import struct
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import h5py
import numpy as np
import pytest
import torch
from jaxtyping import Float64

import hpacml
from hpacml.frontend import compile

POINT = "tensor functor(point: [i, 0:1] = ([i]))\n"
SCALE = 2.0
Row = Float64[np.ndarray, "N"]


@hpacml.kernel
def scaled(x: float):
    return SCALE * x


@hpacml.kernel(target="cpu")
def fill(a: Row, x: float):
    for i in range(len(a)):
        a[i] = scaled(x)


class Solver:
    @hpacml.region(POINT + "ml(collect) in(point(a[0:3])) out(point(b[0:3])) if(False)")
    def step(self, a: Any, b: Any) -> str:
        b[:] = SCALE * a
        return "done"

    class Inner:
        @staticmethod
        @hpacml.kernel
        def negated(x: float):
            return -x


def made(factor: float) -> Any:
    @hpacml.kernel
    def times(x: float):
        return factor * x

    return times


def region_made(factor: float, depth: int = 0) -> Any:
    @hpacml.region(POINT + "ml(collect) in(point(a[0:3])) out(point(b[0:3])) if(False)", on_error="accurate")
    def add(a: Any, b: Any, n: int = depth) -> int:
        b += factor * a
        return 1 + (add(a, b, n - 1) or 0) if n else 1

    return add


OBJECTS = [fill, scaled, Solver.step, Solver.Inner.negated]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_has_a_name_pickles_by_it(protocol: int) -> None:
    fill(np.zeros(3), 1.0)
    for each in OBJECTS:
        pickled = pickle.dumps(each, protocol)
        assert pickle.loads(pickled) is each
        assert len(pickled) < 150
        assert b"frontend" not in pickled


def test_copies_are_the_same_object() -> None:
    kernel, region = made(2.0), region_made(2.0)
    for each in (*OBJECTS, kernel, region):
        assert copy.copy(each) is each
        assert copy.deepcopy({"x": [each]})["x"][0] is each


def test_bound_methods_and_partial_calls() -> None:
    solver = Solver()
    a, b = np.ones(3), np.zeros(3)
    assert pickle.loads(pickle.dumps(solver.step))(a, b) == "done"
    assert pickle.loads(pickle.dumps(functools.partial(fill, x=4.0))).func is fill


@pytest.mark.parametrize("calls", [0, 2])
def test_cloudpickle_takes_closures_by_value_also_after_calls(calls: int) -> None:
    kernel, region = made(3.0), region_made(0.5, depth=2)
    a, b = np.ones(3), np.zeros(3)
    for _ in range(calls):
        kernel(2.0), region(a, b)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(kernel)
    for _ in range(2):  # and what comes out goes in again
        kernel, region = (pickle.loads(cloudpickle.dumps(each)) for each in (kernel, region))
        assert kernel(2.0) == kernel.py_func(2.0) == 6.0
        b[:] = 0
        assert region(a, b) == 3
        assert b.tolist() == [1.5] * 3
    assert (kernel.__name__, kernel.__qualname__) == ("times", "made.<locals>.times")
    assert "accurate" in str(region.ir(a, b))


def test_what_comes_again_and_again_is_lowered_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the function of a pool does, for each of its tasks; functions that differ in a number stay apart."""
    lowered: list[str] = []
    run_passes = compile.run_passes

    def run(module: Any, **options: Any) -> Any:
        lowered.append(str(module))
        return run_passes(module, **options)

    monkeypatch.setattr(compile, "run_passes", run)
    monkeypatch.setenv("HPACML_CACHE_DIR", str(tmp_path))
    factors = [0.1, math.nextafter(0.1, 1), 0.0, -0.0, 5e-324, math.inf, 2, 2.0, 2**53 + 1]
    for _ in range(3):
        for factor in factors:
            kernel = pickle.loads(cloudpickle.dumps(made(factor)))
            for x in (0.0, 1.0, -1.5):
                assert struct.pack("d", kernel(x)) == struct.pack("d", kernel.py_func(x)), (factor, x)
    assert len(lowered) == len(set(lowered)) <= len(factors)


def test_threads_that_unpickle_at_once() -> None:
    pickled = [cloudpickle.dumps((made(factor), region_made(factor))) for factor in (4.0, 5.0)]

    def use(n: int) -> tuple[float, list[float]]:
        kernel, region = pickle.loads(pickled[n % 2])
        a, b = np.ones(3), np.zeros(3)
        region(a, b)
        return kernel(2.0), b.tolist()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(24))) == [(8.0, [4.0] * 3), (10.0, [5.0] * 3)] * 12


def test_what_cannot_be_compiled_says_so_on_the_other_side() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("import hpacml\n@hpacml.kernel\ndef f(x: float):\n    return x\n", space)
    with pytest.raises(hpacml.CompileError, match="no source text for 'f'"):
        pickle.loads(cloudpickle.dumps(space["f"]))(1.0)


# -- functors, layers, datasets ------------------------------------------------------------------


def test_functors() -> None:
    for target in (None, "cpu"):
        functor = hpacml.functor("f: [i, 0:m] = ([i * m : i * m + m])", target=target)
        functor.gather("a[0:2]", a=np.arange(6.0), m=3)
        for again in (pickle.loads(pickle.dumps(functor)), copy.deepcopy(functor), torch_round_trip(functor)):
            assert again.gather("a[0:2]", a=np.arange(6.0), m=3).tolist() == [[0, 1, 2], [3, 4, 5]]
            assert again.target == target
        assert names(pickle.dumps(functor)) <= {"hpacml", "functor", "functools", "partial"}


def torch_round_trip(value: object) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def names(pickled: bytes) -> set[str]:
    """The modules and names of the globals in a pickle, and other short texts without spaces."""
    operations = list(pickletools.genops(pickled))
    position = [n for n, (op, *_) in enumerate(operations) if op.name == "STACK_GLOBAL"]
    texts = [str(arg) for n in position for op, arg, _ in operations[max(0, n - 5) : n] if "UNICODE" in op.name]
    return {text for text in texts if " " not in text}


def test_layers_pickle_by_their_public_name() -> None:
    layer = hpacml.Normalize([1.0], [2.0])
    again = torch_round_trip(torch.nn.Sequential(layer, torch.nn.Linear(1, 1)))
    assert type(again[0]) is hpacml.Normalize
    assert again[0](torch.tensor([3.0])).tolist() == [1.0]
    assert names(pickle.dumps(layer)) & {"hpacml", "Normalize"} == {"hpacml", "Normalize"}
    assert b"hpacml.runtime" not in pickle.dumps(layer)


def test_pickles_from_before_modules_moved() -> None:
    layer = pickle.dumps(hpacml.Normalize([1.0], [2.0]), 2)
    for module in (b"hpacml.runtime.layers", b"hpacml.runtime.models.layers"):
        again = pickle.loads(layer.replace(b"chpacml\nNormalize", b"c" + module + b"\nNormalize"))
        assert again(torch.tensor([3.0])).tolist() == [1.0]
    for name in (
        "frontend.bridge TensorFunctor",
        "affine Poly",
        "functors Range",
        "frontend.directives FunctorDirective",
    ):
        module, attribute = name.split()
        assert isinstance(pickle.loads(f"chpacml.{module}\n{attribute}\n.".encode()), type)
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(b"chpacml.runtime.nothing\nX\n.")


def test_a_functor_from_before() -> None:
    from hpacml.frontend.functor import TensorFunctor

    functor = hpacml.functor("f: [i, 0:2] = ([i], [i + 1])")
    again = TensorFunctor.__new__(TensorFunctor)
    again.__setstate__({"directive": functor.directive, "_target": None, "_applied": {}})
    assert again.gather("a[0:2]", a=np.arange(3.0)).tolist() == [[0, 1], [1, 2]]


def test_datasets(tmp_path: Path) -> None:
    @hpacml.region(POINT + "ml(collect) in(point(a[0:3])) out(point(b[0:3])) database(file)")
    def step(a: Any, b: Any, file: Any) -> None:
        b[:] = -a

    for k in range(4):
        step(np.arange(3.0) + k, np.zeros(3), tmp_path / "d.h5")
    with hpacml.open_database(tmp_path / "d.h5") as database:
        dataset = database["step"].dataset(rows="points", split="train")
        again = pickle.loads(pickle.dumps(dataset))
        assert len(again) == len(dataset)
        for mine, other in zip(again[:], dataset[:], strict=True):
            assert torch.equal(mine, other)


# -- pools ---------------------------------------------------------------------------------------

PROGRAM = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import cloudpickle, numpy as np, hpacml
from joblib import Parallel, delayed
from jaxtyping import Float64

SCALE = 2.0

@hpacml.kernel
def scaled(x: float):
    return SCALE * x

@hpacml.kernel
def fill(a: Float64[np.ndarray, "N"], x: float):
    for i in range(len(a)):
        a[i] = scaled(x)

@hpacml.region("tensor functor(f: [i, 0:1] = ([i]))\\nml(collect) in(f(a[0:3])) out(f(b[0:3])) database(file)")
def step(a, b, file):
    b[:] = SCALE * a
    return float(b.sum())

def collected(region, file):
    result = region(np.ones(3), np.zeros(3), file)
    hpacml.flush()
    return result

def filled(kernel, x):
    a = np.zeros(3)
    kernel(a, x)
    return a.tolist()

def made(factor):
    @hpacml.kernel
    def times(x: float):
        return factor * x
    return times

if __name__ == "__main__":
    a, b = np.ones(3), np.zeros(3)
    fill(a, 0.5), collected(step, "main.h5")
    found = {}
    for start in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(start)
        with context.Pool(1) as pool:
            found[start] = pool.apply(filled, (fill, 3.0)), pool.apply(collected, (step, f"{start}.h5")), pool.apply(scaled, (2.0,))
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        found["executor"] = pool.submit(filled, fill, 3.0).result(), pool.submit(collected, step, "executor.h5").result()
    times = made(7.0)
    found["loky"] = Parallel(2)(
        [delayed(filled)(fill, 3.0), delayed(collected)(step, "loky.h5"), delayed(times)(1.0), delayed(made(5.0))(1.0)]
    )
    with open("cloud.pickle", "wb") as file:
        cloudpickle.dump([fill, step, times], file)
    print(json.dumps(found))
"""

READER = """
import pickle, sys
import numpy as np, hpacml

fill, step, times = pickle.load(open("cloud.pickle", "rb"))
a = np.zeros(3)
fill(a, 3.0)
print(a.tolist(), step(a, np.zeros(3), "reader.h5"), times(1.0))
assert "mlir" not in sys.modules, "the code was compiled, and not found in the cache"
"""


@pytest.mark.slow
def test_pools_of_all_kinds_and_programs_that_get_pickles(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    (tmp_path / "reader.py").write_text(textwrap.dedent(READER))

    def run(file: str) -> str:
        done = subprocess.run(
            [sys.executable, file], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = json.loads(run("program.py"))
    for start in ("fork", "spawn", "forkserver"):
        assert found[start] == [[6.0] * 3, 6.0, 4.0]
    assert found["executor"] == [[6.0] * 3, 6.0]
    assert found["loky"] == [[6.0] * 3, 6.0, 7.0, 5.0]
    (tmp_path / "program.py").unlink()  # what was taken apart needs no file
    assert run("reader.py") == "[6.0, 6.0, 6.0] 36.0 7.0\n"
    for name in ("main", "fork", "spawn", "forkserver", "executor", "loky", "reader"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert file["step"].attrs["function"] == "program:step"
