"""Kernels for GPUs: run on the CPU thread by thread, they do what the oracle says; as PTX, `ptxas` takes them."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float32, Float64, Int8, UInt16, UInt32, UInt64
from xdsl.dialects import gpu
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import hpacml
from hpacml import approx, pipelines, prange, version
from hpacml.backend import launchers, libdevice, outlining
from hpacml.backend.assembly import amdgcn, ptx
from hpacml.backend.chips import CHIPS, NVIDIA, chip_of
from hpacml.backend.ptx_and_amdgcn import DeviceCode, device_code
from hpacml.dialects.hpacml.attributes import Direction
from hpacml.frontend import bound_map, compile
from hpacml.frontend.kernel import Kernel
from hpacml.passes.convert_hpacml_to_runtime import ConvertHpacmlToRuntimePass
from hpacml.passes.gpu import parallel_loops
from hpacml.passes.hpacml_gpu_to_loops import HpacmlGpuToLoopsPass
from tests import differential, oracle
from tests.gpu import views
from tests.ptx import Traffic
from tests.simulated_gpu import OnDevice, simulated
from tests.strategies import Binding, Program
from tests.test_oracle import search

Grid = Float32[np.ndarray, "N M"]
Wide = Float64[np.ndarray, "N M"]
Row = Float64[np.ndarray, "N"]
Bytes = Int8[np.ndarray, "N"]
Words = UInt16[np.ndarray, "N"]
Counts = UInt32[np.ndarray, "N"]
Large = UInt64[np.ndarray, "N"]
Flags = Bool[np.ndarray, "N"]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ModuleOp]]:
    """Everything is compiled for GPUs from then on, and run as loops; the modules with their kernels."""
    modules: list[ModuleOp] = []

    def run_passes(module: ModuleOp, report: bool, gpu: bool, stream: int) -> ModuleOp:
        pipelines.run_passes(module, "loops", report=report, gpu=True)
        modules.append(module.clone())
        for each in (HpacmlGpuToLoopsPass(), ConvertHpacmlToRuntimePass()):
            each.apply(pipelines.make_context(), module)
        module.verify()
        return module

    caches = bound_map.compiled, differential.functor, differential.region, differential.kernel
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(compile, "run_passes", run_passes)
    monkeypatch.setattr(version, "made_by", lambda: None)
    yield modules
    for cache in caches:
        cache.cache_clear()


def kernels(module: ModuleOp) -> int:
    return sum(isinstance(op, gpu.LaunchOp) for op in module.walk())


# -- against the oracle ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 5))])
def test_functors(launches: list[ModuleOp], part: int) -> None:
    search(100 + part, 25 if part else 12, "functor")
    assert any(map(kernels, launches))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["functor out", "functor unchecked", "region", "region inout", "kernel"])
def test_regions_and_kernels(launches: list[ModuleOp], way: str) -> None:
    search(200 + len(way), 8, way, 2)
    assert any(map(kernels, launches))


STENCIL = "[i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])"
SHAPES = {
    "stencil": (STENCIL, "a[1:n-1, 1:m-1]", {"a": ("f32", (23, 41))}, {"n": 23, "m": 41}),
    "one tile": (STENCIL, "a[1:n-1, 1:m-1]", {"a": ("f32", (18, 18))}, {"n": 18, "m": 18}),
    "even": (
        "[i, 0:4] = ([i], [i], [2*i:2*i+2])",
        "a[0:n], c[0:n], b[0:n]",
        {"a": ("f32", (600,)), "b": ("f64", (1200,)), "c": ("f32", (600,))},
        {"n": 600},
    ),
    "bytes": (
        "[i, 0:6] = ([i:i+2], [i], [3*i:3*i+3])",
        "a[0:n], a[0:n], b[0:n]",
        {"a": ("u8", (301,)), "b": ("u8", (900,))},
        {"n": 300},
    ),
    "halves": (
        "[i, 0:3] = ([i], [i], [i])",
        "a[0:n], b[0:n], c[0:n]",
        {"a": ("f16", (1000,)), "b": ("i32", (1000,)), "c": ("f16", (1000,))},
        {"n": 1000},
    ),
    "blocks": ("[i, 0:w] = ([i*w : i*w+w])", "a[0:n]", {"a": ("f32", (560,))}, {"n": 80, "w": 7}),
    "many features": (
        "[i, 0:150] = ([i], [i, 0:149])",
        "a[0:n], b[0:n, 0:149]",
        {"a": ("f64", (9,)), "b": ("f64", (9, 149))},
        {"n": 9},
    ),
    "channels first": ("[0:2, i, j] = ([i, j], [i, j+1])", "a[0:n, 0:m]", {"a": ("f32", (20, 31))}, {"n": 20, "m": 30}),
    "rows": ("[i, 0:3] = ([i, 0:3])", "a[r[0:n], 0:3]", {"a": ("f32", (300, 3)), "r": ("i32", (290,))}, {"n": 290}),
    "gaps": (
        "[i, 0:3] = ([i], [i], [i])",
        "a[0:n], b[0:n], c[0:n]",
        {"a": ("f32", (500,)), "b": ("f32", (500,)), "c": ("f32", (500,))},
        {"n": 500},
    ),
    "nothing": ("[i, 0:3] = ([i:i+3])", "a[0:n]", {"a": ("f64", (5,))}, {"n": 0}),
}


@pytest.mark.parametrize("layout", ["C", pytest.param("window", marks=pytest.mark.slow)])
@pytest.mark.parametrize("direction", ["to", "from"])
@pytest.mark.parametrize("case", SHAPES)
def test_tiles(launches: list[ModuleOp], case: str, direction: str, layout: str) -> None:
    """Of more than one tile, full ones and others; where the tensor has no gaps, 16 bytes at once."""
    functor, targets, arrays, numbers = SHAPES[case]
    dtypes = tuple((name, dtype) for name, (dtype, _) in arrays.items())
    packed = frozenset(["tensor", *arrays] if layout == "C" else ())
    program = Program(functor, targets, direction, dtypes, packed, "f64" if case == "even" else dtypes[0][1])
    shapes = tuple((name, shape) for name, (_, shape) in arrays.items())
    indices = (("r", tuple(np.random.default_rng(0).permutation(300)[:290].tolist())),) if "r" in arrays else ()
    binding = Binding(tuple(numbers.items()), shapes, tuple((name, layout) for name in arrays), indices, 3)
    before = differential.tally["valid"]
    differential.compare(program, binding)
    if direction == "to":
        assert differential.tally["valid"] == before + 1
        assert any(map(kernels, launches))


def test_rows_that_are_not_aligned(launches: list[ModuleOp]) -> None:
    f = hpacml.functor("pairs: [i, 0:3] = ([i:i+3])")
    a = np.random.rand(600).astype(np.float32)
    for shift in range(5):
        memory = np.zeros(512 * 3 + 8, np.float32)
        out = memory[shift : shift + 512 * 3].reshape(512, 3)
        f.gather("a[0:512]", a=a, out=torch.from_numpy(out))
        np.testing.assert_array_equal(out, np.lib.stride_tricks.sliding_window_view(a, 3)[:512])
        assert not memory[:shift].any()
        assert not memory[shift + 512 * 3 :].any()


# -- parallel loops ----------------------------------------------------------------------------------


@hpacml.kernel
def half(x: float) -> float:
    return math.sqrt(abs(x)) * 0.5


@hpacml.kernel
def heat(t: Grid, new: Grid, use_model: bool, net: Any):
    N, M = t.shape
    approx("tensor functor(ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))")
    approx("tensor functor(ofnctr: [i, j, 0:1] = ([i, j]))")
    with approx("""ml(predicated: use_model) in(ifnctr(t[1:N-1, 1:M-1])) out(ofnctr(new[1:N-1, 1:M-1]))
                   model(net) database("heat.h5")"""):
        for i in prange(1, N - 1):
            for j in prange(1, M - 1):
                total = 0.0
                for k in range(3):
                    total += t[i, j - 1 + k]
                new[i, j] = half(total) + t[i - 1, j] + t[i + 1, j] / 3.0 + math.floor(total) + round(total)


@hpacml.kernel
def triangle(a: Wide):
    for i in prange(a.shape[0] - 1, -1, -1):
        n = i * 2
        for j in prange(0, i, 2):
            for k in prange(3):
                a[i, j] += n + j * 10 + k


@hpacml.kernel
def strides(a: Wide, s: int):
    for i in prange(0, a.shape[0], s):
        n = i * 2
        for j in prange(a.shape[1]):
            m = n * j
            a[i, j] += n + m * 10


@pytest.mark.parametrize("shape", [(7, 9), (40, 50), (1, 1), (0, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_parallel_loops(launches: list[ModuleOp], shape: tuple[int, int], order: str) -> None:
    for kernel, arguments in (triangle, ()), (strides, (2,)), (strides, (-1,)):
        found = np.asarray(np.random.rand(*shape), order=order)
        expected = found.copy()
        Kernel(kernel.py_func)(found, *arguments)
        kernel.py_func(expected, *arguments)
        np.testing.assert_array_equal(found, expected)
    assert [kernels(module) for module in launches] == [1, 1, 1]


@pytest.mark.parametrize("use_model", [False, True])
def test_a_region(launches: list[ModuleOp], use_model: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    t, found = np.random.rand(2, 30, 40).astype(np.float32)
    expected = found.copy()
    Kernel(heat.py_func)(t, found, use_model, lambda x: x.sum(-1, keepdim=True))
    if use_model:
        columns = np.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], -1)
        expected[1:-1, 1:-1] = torch.from_numpy(columns).sum(-1).numpy()
    else:
        heat.py_func(t, expected, False, None)
        hpacml.flush()
    np.testing.assert_array_equal(found, expected)
    assert kernels(launches[0]) >= 3


@hpacml.kernel
def rounded(a: Wide, b: Grid):
    for i in prange(a.shape[0]):
        a[i, 0] = a[i, 0] * a[i, 0] + a[i, 0] / 3.0 - math.sqrt(a[i, 0])
        b[i, 0] = b[i, 0] * b[i, 0] + b[i, 0] / b[i, 1]


@hpacml.kernel
def mathematics(a: Wide, b: Grid):
    for i in prange(a.shape[0]):
        x = a[i, 0]
        y = x % 0.75 + x // 0.5 + x**2.5 + math.exp(x) + math.exp2(x) + math.expm1(x) + math.fmod(x, 0.3)
        y += math.log(x) + math.log10(x) + math.log1p(x) + math.log2(x) + math.cbrt(x) + math.erf(x) + math.erfc(x)
        y += math.sin(x) + math.cos(x) + math.tan(x) + math.asin(x) + math.acos(x) + math.atan(x) + math.atan2(x, 2.0)
        y += math.sinh(x) + math.cosh(x) + math.tanh(x) + math.asinh(x) + math.acosh(1.0 + x) + math.atanh(x)
        a[i, 1] = y
        b[i, 1] = b[i, 0] ** np.float32(1.5) + b[i, 0] % np.float32(0.75)


def test_mathematics(launches: list[ModuleOp]) -> None:
    """On the CPU, from the C library as in Python."""
    a = np.random.default_rng(0).random((300, 2))
    b = a.astype(np.float32)
    expected = a.copy(), b.copy()
    Kernel(mathematics.py_func)(a, b)
    mathematics.py_func(*expected)
    np.testing.assert_array_equal((a, b), expected)
    assert kernels(launches[0]) == 1


@hpacml.kernel
def elements(a: Bytes, b: Words, c: Counts, d: Large, e: Flags, x: Row):
    for i in prange(len(x)):
        own = np.zeros(3, np.uint16)
        own[1] = b[i]
        x[i] = d[i] - own[i % 3]
        a[i] = a[i] // 3
        b[i] = own[1] // 3
        c[i] = c[i] >> 1
        e[i] = d[i] > c[i]
    d //= 3


def test_integers_with_and_without_a_sign(launches: list[ModuleOp]) -> None:
    def make() -> list[np.ndarray[Any, Any]]:
        found = [np.full(9, -1).astype(dtype) for dtype in (np.int8, np.uint16, np.uint32, np.uint64, np.bool_)]
        return [*found, np.zeros(9)]

    found, expected = make(), make()
    Kernel(elements.py_func)(*found)
    elements.py_func(*expected)
    for array, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)
    assert kernels(launches[0]) == 2


@pytest.mark.parametrize("name", views.CASES)
def test_views(launches: list[ModuleOp], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of arrays with gaps between their elements, but for what takes only packed ones."""
    given = views.CASES[name].arguments()
    found = given if name == "flat" else tuple(map(with_gaps, given))
    expected = views.in_python(name, monkeypatch)
    Kernel(views.CASES[name].kernel.py_func)(*found)
    for array, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=views.rtol(name), atol=0)
    assert kernels(launches[0])


def with_gaps(argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return argument
    memory = np.zeros([2 * size for size in argument.shape], argument.dtype, order="F")
    memory[tuple(slice(None, None, -2) for _ in argument.shape)] = argument
    return memory[tuple(slice(None, None, -2) for _ in argument.shape)]


@pytest.mark.parametrize("name", views.CASES)
def test_the_ir_of_all_stages_is_read_again(name: str) -> None:
    for stage in pipelines.GPU_STAGES:
        module = views.CASES[name].kernel.ir(stage, layout="packed")
        for text in (str(module), pipelines.generic_text(module)):
            again = Parser(pipelines.make_context(), text).parse_module()
            again.verify()
            assert str(again) == str(module)


# -- local arrays ------------------------------------------------------------------------------------


@hpacml.kernel
def smallest(row: Row, skip: int) -> float:
    """The smallest of a row but for one: by sorting, of which some is left in the memory that it takes."""
    ordered = np.empty(len(row))
    for i in range(len(row)):
        ordered[i] = row[i]
        if i == skip:
            ordered[i] = math.inf
        for j in range(i, 0, -1):
            if ordered[j] >= ordered[j - 1]:
                break
            x = ordered[j]
            ordered[j], ordered[j - 1] = ordered[j - 1], x
    return ordered[0]


@hpacml.kernel
def arrays(a: Wide, n: int):
    for i in prange(len(a)):
        table = np.zeros((n // 2, a.shape[1], 2))
        few = np.full(3, -1.0)
        bytes = np.ones(n + 1, np.uint8)
        row = np.empty(table.shape[1])
        for j in range(a.shape[1]):
            row[j] = a[i, j]
            table[j % table.shape[0], j, 1] += a[i, j]
            few[j % 3] += a[i, j]
            bytes[j % len(bytes)] += 1
        for j in range(a.shape[1]):
            total = few[j % 3] + bytes[j % len(bytes)] + smallest(row, j) + smallest(few, 0)
            for k in range(table.shape[0]):
                total += table[k, j, 1] + table[k, j, 0]
            a[i, j] = total


@hpacml.kernel
def nested(a: Wide):
    for i in prange(1, len(a)):
        for j in prange(a.shape[1]):
            if a[i, j] > 0.5:
                continue
            for k in range(3):
                few = np.zeros((2, 2))
                few[k % 2, 1] += a[i, j]
                a[i, j] = few[0, 1] - few[1, 1] + k
                if a[i, j] > 1.0:
                    many = np.zeros((len(a), 100 // a.shape[1]))
                    many[i, 1] += a[i, j]
                    a[i, j] = many[i, 0] + many[i, 1]


@pytest.mark.parametrize("shape", [(1, 3), (600, 5), (0, 3)])
def test_local_arrays(launches: list[ModuleOp], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_loops, "MOST_BLOCKS", 2)  # so that threads have several iterations
    for kernel, arguments in (arrays, (5,)), (nested, ()):
        found = np.random.default_rng(0).random(shape)
        expected = found.copy()
        Kernel(kernel.py_func)(found, *arguments)
        with monkeypatch.context() as python:
            python.setitem(kernel.py_func.__globals__, "smallest", smallest.py_func)
            kernel.py_func(expected, *arguments)
        np.testing.assert_array_equal(found, expected)
    assert [kernels(module) for module in launches] == [1, 1]


def test_sizes_of_local_arrays_are_checked_where_the_loop_runs(launches: list[ModuleOp]) -> None:
    with pytest.raises(hpacml.HpacmlError, match=r"cannot make an array of the shape \[-1, 3, 2\]: write max"):
        Kernel(arrays.py_func)(np.zeros((2, 3)), -2)
    Kernel(arrays.py_func)(np.zeros((0, 3)), -2)


def test_small_arrays_are_registers() -> None:
    @hpacml.kernel
    def turned(a: Wide):
        for i in prange(len(a)):
            x = np.zeros(2)
            for j in range(2):
                x[j] = a[i, 1 - j]
            for j in range(2):
                a[i, j] = x[j]

    text = turned.ptx()
    assert ".local" not in text
    assert len(re.findall(r"[sl][dt]\.global", text)) == 4
    turned.amdgcn()


# -- what a GPU cannot -------------------------------------------------------------------------------


@hpacml.kernel
def falling(a: Wide):
    for i in prange(a.shape[0]):
        b = np.zeros(3 - i)
        a[i, 0] = b[0]


@hpacml.kernel
def measured(a: Wide):
    for i in prange(a.shape[0]):
        b = np.zeros(int(a[0, 0]))
        a[i, 0] = b[0]


@hpacml.kernel
def sequential(a: Wide):
    for i in range(a.shape[0]):
        a[i, 0] = 1.0


@hpacml.kernel
def differing(a: Wide):
    for i in prange(a.shape[0]):
        a[i, 0] = (a[i, :i] * a[0, 1 : 1 + i]).sum()


@hpacml.kernel
def raising(a: Wide):
    for i in prange(a.shape[0]):
        if a[i, 0] < 0:
            raise ValueError(f"row {i}")


@hpacml.kernel
def printing(a: Wide):
    for i in prange(a.shape[0]):
        print(a[i, 0])


@hpacml.kernel
def total(a: Wide):
    return a.sum()


SAYING = r"it has an 'assert', a 'raise' or a 'print', which only the CPU has: write what it would tell to an array, .*"

REFUSED = {
    falling: r"a local array 'b' whose size is not known before the loop: have all iterations make the largest",
    measured: "a local array 'b' whose size is not known before the loop",
    sequential: "'sequential' uses the array 'a' on the host, but is for a GPU: write loops with hpacml.prange whose results are in arrays, or whole",
    total: r"'total' uses the array 'a' on the host, but is for a GPU: .*\n +return a.sum\(\)\n +\^{14}$",
    differing: r"it has a check of numbers that differ between iterations, .*: write the loop over the elements",
    views.asserting: SAYING + r"\n +assert a\[i, 0\] > 0\n +\^{18}$",
    raising: SAYING + r"\n +raise ValueError\(f\"row {i}\"\)\n +\^{28}$",
    printing: SAYING + r"\n +print\(a\[i, 0\]\)\n +\^{14}$",
}


@pytest.mark.parametrize("kernel", REFUSED, ids=lambda kernel: kernel.name)
def test_what_a_gpu_cannot(kernel: Kernel[..., object]) -> None:
    with pytest.raises(hpacml.CompileError, match=REFUSED[kernel]):
        kernel.ptx()


def test_bounds_that_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPACML_CHECK", "bounds")
    with pytest.raises(hpacml.CompileError, match=r"it has a check of numbers .*, or with HPACML_CHECK=bounds"):
        Kernel(triangle.py_func).ptx()


# -- assembly ----------------------------------------------------------------------------------------

needs_ptxas = pytest.mark.skipif(shutil.which("ptxas") is None, reason="ptxas, of CUDA, is not on PATH")


def gathered(case: str, direction: str = "to") -> ModuleOp:
    functor, targets, arrays, numbers = SHAPES[case]
    f = hpacml.functor(f"f: {functor}")
    given = {name: np.zeros(shape, oracle.NUMPY[dtype]) for name, (dtype, shape) in arrays.items()}
    return f.ir(targets, direction, **given, **numbers)


MODULES: dict[str, Callable[[], ModuleOp]] = {
    "heat": heat.ir,
    "triangle": triangle.ir,
    "rounded": rounded.ir,
    "arrays": arrays.ir,
    "nested": nested.ir,
    **{name: partial(case.kernel.ir, layout="packed") for name, case in views.CASES.items()},
    **{case: lambda case=case: gathered(case) for case in SHAPES},
    **{f"{case}, scattered": lambda case=case: gathered(case, "from") for case in ("even", "halves", "rows", "blocks")},
}


@needs_ptxas
@pytest.mark.parametrize("chip", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
@pytest.mark.parametrize("name", MODULES)
def test_ptxas_takes_it(name: str, chip: str, tmp_path: Path) -> None:
    text = ptx(MODULES[name](), chip)
    assert ".extern" not in text
    assemble(text, chip, tmp_path)


def assemble(text: str, chip: str, folder: Path) -> None:
    source = folder / "kernels.ptx"
    source.write_text(text)
    command = ["ptxas", "--warning-as-error", f"-arch={chip}", source, "-o", folder / "kernels.cubin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


needs_libdevice = pytest.mark.skipif(libdevice.find() is None, reason="libdevice, of CUDA, is not installed")


@needs_libdevice
def test_mathematics_is_linked(tmp_path: Path) -> None:
    text = ptx(mathematics.ir())
    assert re.findall(r"\.visible \.(?:entry|func) (\w+)", text) == ["mathematics_loop_0"]
    assert not re.search(r"\.extern|(add|sub|mul|fma|div)(\.rn)?\.ftz", text)
    if shutil.which("ptxas"):
        assemble(text, "sm_80", tmp_path)


def test_mathematics_without_libdevice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(libdevice, "_places", lambda: iter([tmp_path]))
    monkeypatch.setenv("HPACML_CACHE", "0")
    assert libdevice.find() is None
    fix = f"is in none of {tmp_path}: pip install nvidia-cuda-nvcc, or set CUDA_HOME"
    with pytest.raises(hpacml.CompileError, match=re.escape(fix)):
        ptx(mathematics.ir())
    ptx(heat.ir())


def test_libdevice_is_found_where_cuda_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "nvvm" / "libdevice"
    folder.mkdir(parents=True)
    (folder / "libdevice.10.bc").write_bytes(b"content")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert libdevice.bitcode() == b"content"


def test_mathematics_for_amd() -> None:
    with pytest.raises(
        hpacml.CompileError, match=r"uses acos, .*fmod, .*pow, .*: ROCm's device libraries are not linked"
    ):
        mathematics.amdgcn()


def test_floats_are_rounded_after_each_operation() -> None:
    """As on the CPU: neither fused, nor flushed to zero, nor approximated."""
    operations = re.findall(r"\b(\w+[.\w]*)\.(f32|f64)\b", ptx(rounded.ir()))
    computing = {f"{name}.{kind}" for name, kind in operations if not name.startswith(("ld.", "st."))}
    assert computing == {
        *("mul.rn.f64", "add.rn.f64", "sub.rn.f64", "div.rn.f64", "sqrt.rn.f64"),
        *("mul.rn.f32", "add.rn.f32", "div.rn.f32"),
    }


def test_rows_are_stored_16_bytes_at_once() -> None:
    f = hpacml.functor(f"f: {STENCIL}")
    text = f.ptx("t[1:n-1, 1:m-1]", "to", "sm_90", t=np.zeros((9, 9), np.float32), n=9, m=9)
    assert re.search(r"ld\.shared\.v4", text)
    assert re.search(r"st\.global\.v4", text)
    assert re.search(r"\.shared \.align 16 \.b8 \w+\[5120\]", text)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("features", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("direction", ["to", "from"])
def test_any_number_of_features_goes_16_bytes_at_once(direction: Direction, features: int, dtype: type) -> None:
    f = hpacml.functor(f"f: [i, 0:{features}] = ({', '.join(['[i]'] * features)})")
    arrays = {f"a{n}": np.zeros(512, dtype) for n in range(features)}
    text = f.ptx(", ".join(f"{name}[0:512]" for name in arrays), direction, **arrays)
    access = r"st\.global" if direction == "to" else r"ld\.global\.nc"
    for code in entries_of(text).values():
        assert re.search(rf"{access}\.(v4\.[bf]32|v2\.[bf]64)", code)


def test_kernels_are_named_by_function_and_kind() -> None:
    names = re.findall(r"\.entry (\w+)", heat.ptx("sm_80"))
    assert len(set(names)) == len(names)
    assert {"heat_gather_0", "heat_gather_0_narrow", "heat_scatter_0", "heat_loop_0"} <= set(names)
    assert "heat_loop_0_narrow" not in names
    assert re.findall(r"^(\w+):", heat.amdgcn(), re.MULTILINE) == names


def outlined(module: ModuleOp) -> outlining.Outlined:
    return outlining.outline(pipelines.generic_text(pipelines.run_passes(module, gpu=True)))


def test_the_host_launches_what_the_device_has() -> None:
    parts = outlined(heat.ir())
    code = device_code(parts.device)
    assert {launch.name for launch in parts.launches} == code.kernels.keys()
    assert "hpacml_tile" not in parts.host
    for launch in parts.launches:
        types = tuple(kind for _, kind in launchers.flat(launch.types))
        assert types == code.kernels[launch.name].parameters
        assert f"{launch.name}.launch" in parts.host


def entries_of(text: str) -> dict[str, str]:
    """The kernels in PTX, by name."""
    return dict(re.findall(r"^\.visible \.entry (\w+)(.*?)^}", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", sorted(MODULES.keys() - views.CASES.keys()))
def test_maps_read_through_the_read_only_cache(name: str) -> None:
    """Not where a kernel may write what it reads: in loops, and the indices of a scatter."""
    for kernel, code in entries_of(ptx(MODULES[name]())).items():
        plain = len(re.findall(r"ld\.global\.(?!nc)", code))
        assert ("ld.global.nc" in code) == ("_loop_" not in kernel)
        indices = name == "rows, scattered" and "_scatter_" in kernel
        assert plain == indices or "_loop_" in kernel or "_check_" in kernel  # these read the flag that they may raise


@pytest.mark.parametrize("name", MODULES)
def test_narrow_kernels_compute_indices_in_32_bits(name: str) -> None:
    code = device_code(outlined(MODULES[name]()).device)
    kernels = entries_of(code.text)
    for kernel, signature in code.kernels.items():
        assert signature.narrow == ("_loop_" not in kernel)
        if signature.narrow:
            wide, narrow = (re.findall(r"\.param \.([a-z]\d+)", kernels[each]) for each in (kernel, f"{kernel}_narrow"))
            assert narrow == [
                "u32" if kind == "u64" and of == "i64" else kind
                for kind, of in zip(wide, signature.parameters, strict=True)
            ]
            assert not re.search(r"(div|rem|mul\.lo)\.[bsu]64", kernels[f"{kernel}_narrow"])


def test_device_code_can_be_stored() -> None:
    code = device_code(outlined(triangle.ir()).device)
    assert DeviceCode.from_json(code.to_json()) == code


@pytest.mark.parametrize("chip", ["sm_999", "gfx90a"])
def test_chips_that_are_not_known(chip: str) -> None:
    with pytest.raises(hpacml.HpacmlError, match=f"unknown chip '{chip}': the chips are sm_70"):
        heat.ptx(chip)


@pytest.mark.parametrize(
    ("capability", "chip"), [((8, 0), "sm_80"), ((9, 0), "sm_90"), ((8, 5), "sm_80"), ((99, 0), "sm_121")]
)
def test_the_chip_of_a_device(capability: tuple[int, int], chip: str) -> None:
    assert chip_of(*capability) == chip
    with pytest.raises(hpacml.HpacmlError, match=r"compute capability 6.1 is too old: code is made for sm_70"):
        chip_of(6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("triple", CHIPS)
def test_all_chips(triple: str) -> None:
    for chip in CHIPS[triple]:
        text = (ptx if triple == NVIDIA else amdgcn)(gathered("stencil"), chip)
        assert chip in text


# -- memory traffic ----------------------------------------------------------------------------------

TRAFFIC: dict[str, tuple[str, str, list[tuple[int, ...]], tuple[int, ...]]] = {
    "stencil": (STENCIL, "a[1:513, 1:513]", [(514, 514)], (512, 512, 5)),
    "columns": (
        "[i, 0:5] = ([i], [i], [i], [i], [i])",
        "a[0:4096], b[0:4096], c[0:4096], d[0:4096], e[0:4096]",
        [(4096,)] * 5,
        (4096, 5),
    ),
    "even": ("[i, 0:4] = ([i], [i], [i], [i])", "a[0:4096], b[0:4096], c[0:4096], d[0:4096]", [(4096,)] * 4, (4096, 4)),
    "blocks": ("[i, 0:8] = ([i], [7*i:7*i+7])", "a[0:1024], b[0:1024]", [(1024,), (7168,)], (1024, 8)),
    "long rows": (
        "[i, 0:200] = ([i, 0:100], [i, 0:100])",
        "a[0:64, 0:100], b[0:64, 0:100]",
        [(64, 100)] * 2,
        (64, 200),
    ),
    "channels": ("[0:2, i, j] = ([i, j], [i, j+1])", "a[0:64, 0:256]", [(64, 257)], (2, 64, 256)),
}
"""Functors, targets, the shapes of the arrays and that of the tensor."""


@pytest.mark.parametrize(
    ("case", "direction"),
    [*((case, "to") for case in TRAFFIC), *((case, "from") for case in ("columns", "even", "blocks", "long rows"))],
)
def test_warps_touch_whole_sectors(monkeypatch: pytest.MonkeyPatch, case: str, direction: str) -> None:
    """Of the sectors that a warp touches, it needs 90 % in the tensor, and 80 % in arrays, which begin anywhere."""
    functor, targets, shapes, tensor = TRAFFIC[case]
    traffic = traffic_of(monkeypatch, functor, targets, shapes, tensor, direction)
    dense, views = (traffic.stores, traffic.loads) if direction == "to" else (traffic.loads, traffic.stores)
    assert dense.efficiency >= 0.9
    assert views.efficiency >= 0.8


def test_warps_that_touch_parts_of_sectors_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = traffic_of(monkeypatch, "[0:1, i] = ([8*i])", "a[0:512]", [(4096,)], (1, 512), "to")
    assert traffic.loads.efficiency == 1 / 8
    assert traffic.stores.efficiency == 1


def traffic_of(
    monkeypatch: pytest.MonkeyPatch,
    functor: str,
    targets: str,
    shapes: list[tuple[int, ...]],
    tensor: tuple[int, ...],
    direction: str,
) -> Traffic:
    """What a gather or scatter of float32 moves, by its PTX; all memory begins where a sector does, as that of a GPU."""
    with simulated(monkeypatch) as (device,):
        names = dict(zip("abcde", (OnDevice(torch.zeros(shape).numpy(), device) for shape in shapes), strict=False))
        f = hpacml.functor(f"f: {functor}")
        if direction == "to":
            f.gather(targets, **names)
        else:
            f.scatter(OnDevice(torch.zeros(tensor).numpy(), device), targets, **names)
        (traffic,) = device.traffic
    return traffic
