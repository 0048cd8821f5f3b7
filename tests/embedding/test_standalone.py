"""Libraries that stand alone: a network compiled in, no Python, and errors as statuses."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
import torch
from test_build import Library

import hpacml
from hpacml import CompileError, ModelError
from hpacml.embedding import processors
from hpacml.embedding.host_library import linker_flags
from tests.compilers import needs_cc, needs_gfortran, run

pytestmark = needs_cc

KERNELS = """
import numpy as np
from jaxtyping import Float32, Float64, Int32
import hpacml
from hpacml import approx


@hpacml.kernel
def heat(t: Float32[np.ndarray, "N M"], new: Float32[np.ndarray, "N M"], use: bool):
    N, M = t.shape
    approx("tensor functor(around: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2]))")
    approx("tensor functor(point: [i, j, 0:1] = ([i, j]))")
    approx("tensor map(to: around(t[1:N-1, 1:M-1]))")
    approx("tensor map(from: point(new[1:N-1, 1:M-1]))")
    with approx("ml(predicated: use) in(t) out(new) model('heat.safetensors') database('heat.h5')"):
        for i in hpacml.prange(1, N - 1):
            for j in range(1, M - 1):
                new[i, j] = t[i, j] + t[i, j + 1]


@hpacml.kernel
def others(x: Float64[np.ndarray, "N 5"], y: Float64[np.ndarray, "M"], first: int, last: int, written: int):
    approx("tensor functor(row: [i, 0:5] = ([i, 0:5]))")
    approx("tensor functor(one: [i] = ([i]))")
    approx("tensor map(to: row(x[first:last, 0:5]))")
    approx("tensor map(from: one(y[0:written]))")
    with approx("ml(infer) in(x) out(y) model('heat.safetensors')"):
        y[0] = -1.0


@hpacml.kernel
def found(x: Float32[np.ndarray, "N 5"], at: Int32[np.ndarray, "K"], y: Float32[np.ndarray, "K"]):
    K = at.shape[0]
    approx("tensor functor(row: [i, 0:5] = ([i, 0:5]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    approx("tensor map(to: row(x[at[0:K], 0:5]))")
    approx("tensor map(from: one(y[0:K]))")
    with approx("ml(infer) in(x) out(y) model('heat.safetensors')"):
        y[0] = -1.0


@hpacml.kernel
def part(x: Float32[np.ndarray, "N 5"], y: Float32[np.ndarray, "N"], last: int, use_model: bool, runs: bool):
    approx("tensor functor(row: [i, 0:5] = ([i, 0:5]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    approx("tensor map(to: row(x[0:last, 0:5]))")
    approx("tensor map(from: one(y[0:last]))")
    with approx("ml(predicated: use_model) if(runs) in(x) out(y) model('heat.safetensors')"):
        y[0] = -1.0


@hpacml.kernel
def says(x: float, s: np.float32, n: int, u: np.uint16, yes: bool, fails: bool):
    print("x", x, s, n, u, yes, f"{x:.3f} {x:+10.2e} {x:g} {s} {n:05d} {n} {yes}", end="!\\n")
    if fails:
        raise ValueError(f"größe {x} and {n:5d} at {s:.4f}")


@hpacml.kernel
def says_much(x: float):
    print(MUCH)


@hpacml.kernel
def makes(n: int, m: int) -> float:
    return np.zeros((n, m)).sum()
"""


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    layers = [
        torch.nn.Linear(5, 24),
        torch.nn.Tanh(),
        torch.nn.Linear(24, 9),
        torch.nn.LeakyReLU(),
        torch.nn.Linear(9, 1),
    ]
    return torch.nn.Sequential(hpacml.Normalize([0.5] * 5, [2.0] * 5), *layers).eval()


def expected(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return network()(torch.from_numpy(np.ascontiguousarray(x, np.float32))).numpy()[..., 0]


def around(t: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.stack([t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]], axis=-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with kernels, a model, a library that stands alone, and its header."""
    folder = tmp_path_factory.mktemp("standalone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        much = " ".join(f"{{x:{width}.3f}}" for width in range(35, 99))
        Path("kernels.py").write_text(KERNELS.replace("MUCH", f'f"{much} {much}"'))
        hpacml.save_model(network(), "heat.safetensors", example=torch.zeros(3, 5))
        hpacml.build("kernels.py", "libheat.so", header="heat.h", standalone="heat.safetensors")
    return folder


@pytest.fixture(scope="module")
def library(folder: Path) -> Library:
    return Library(folder / "libheat.so")


@pytest.fixture(scope="module")
def kernels(folder: Path) -> ModuleType:
    """The same kernels in this process."""
    spec = importlib.util.spec_from_file_location("standalone_kernels", folder / "kernels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(given: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-6)


# -- results -------------------------------------------------------------------------------------------

VIEWS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "packed": lambda a: a,
    "rows": lambda a: np.pad(a, ((0, 0), (1, 2)))[:, 1:-2],
    "columns": lambda a: np.repeat(a, 3, axis=1)[:, ::3],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
}


@pytest.mark.parametrize("shape", [(70, 90), (6, 8), (3, 300), (2, 9), (3, 3), (0, 0)])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("other", ["packed", "columns"])
def test_it_infers_on_any_views(library: Library, view: str, other: str, shape: tuple[int, int]) -> None:
    t = VIEWS[view](np.random.default_rng(1).random(shape, np.float32))
    new = VIEWS[other](np.full(shape, 7, np.float32))
    assert library("heat", t, new, ctypes.c_bool(True)) == 0, library.error
    wanted = np.full(shape, 7, np.float32)
    if min(shape) > 2:
        wanted[1:-1, 1:-1] = expected(around(t))
    close(new, wanted)


def test_the_result_may_be_where_the_input_is(library: Library) -> None:
    t = np.random.default_rng(2).random((40, 90), np.float32)
    wanted = t.copy()
    wanted[1:-1, 1:-1] = expected(around(t))
    assert library("heat", t, t, ctypes.c_bool(True)) == 0, library.error
    close(t, wanted)
    base = np.random.default_rng(3).random(41 * 90, np.float32)
    t, new = base[: 40 * 90].reshape(40, 90), base[90:].reshape(40, 90)
    inner = expected(around(t))
    assert library("heat", t, new, ctypes.c_bool(True)) == 0, library.error
    close(new[1:-1, 1:-1], inner)


def test_without_the_condition_the_original_code_runs(library: Library) -> None:
    t, new = np.random.default_rng(1).random((20, 90), np.float32), np.zeros((20, 90), np.float32)
    assert library("heat", t, new, ctypes.c_bool(False)) == 0, library.error
    np.testing.assert_array_equal(new[1:-1, 1:-1], t[1:-1, 1:-1] + t[1:-1, 2:])


@pytest.mark.parametrize("view", ["packed", "columns"])
def test_other_elements_and_sweeps(library: Library, view: str) -> None:
    x, y = np.random.default_rng(4).random((300, 5)), np.zeros(300)
    x = VIEWS[view](x)
    assert library("others", x, y, *map(ctypes.c_int64, (10, 290, 280))) == 0, library.error
    close(y[:280], expected(x[10:290]))
    assert not y[280:].any()


def test_indices(library: Library) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.random((50, 5), np.float32), np.zeros(90, np.float32)
    at = rng.integers(0, 50, 90).astype(np.int32)
    assert library("found", x, at, y) == 0, library.error
    close(y, expected(x[at]))
    y[:] = -7
    at[80] = 50
    assert library("found", x, at, y) == 1
    assert re.match(
        r".*kernels\.py:\d+:\d+: in the map 'row\(x\[at\[0:K\], 0:5\]\)': an index lies outside", library.error
    )
    assert (y == -7).all()


def test_it_computes_what_this_process_computes(
    library: Library, kernels: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built for this processor, to the last bit."""
    monkeypatch.chdir(folder)
    hpacml.build(kernels.heat, "libnative.so", cpu="native", standalone="heat.safetensors")
    native = Library(folder / "libnative.so")
    t = np.random.default_rng(1).random((70, 90), np.float32)
    new, here = np.zeros((2, 70, 90), np.float32)
    assert native("heat", t, new, ctypes.c_bool(True)) == 0, native.error
    kernels.heat(t, here, True)
    np.testing.assert_array_equal(new, here)


# -- errors --------------------------------------------------------------------------------------------


def without_place(text: str) -> str:
    """A text without the place in the source with which it begins, if it has one."""
    return re.sub(r"^\S*kernels\.py:\d+:\d+: ", "", text)


def test_maps_that_do_not_fit_are_statuses(library: Library) -> None:
    x, y = np.zeros((30, 5)), np.zeros(20)
    assert library("others", x, y, *map(ctypes.c_int64, (0, 31, 20))) == 1
    assert without_place(library.error) == (
        "in the map 'row(x[first:last, 0:5])': it leaves its array, or contradicts its functor, where 'x' has the "
        "sizes [30, 5], the open numbers of the ranges are 0, 31"
    )
    assert library("others", x, y, *map(ctypes.c_int64, (0, 20, 19))) == 1
    assert without_place(library.error) == (
        "the model does not fit the region 'others': its inputs and its outputs have not as many points"
    )
    assert library("others", x[:20], y, *map(ctypes.c_int64, (0, 20, 20))) == 0


@pytest.mark.parametrize("uses_model", [True, False])
def test_a_map_that_does_not_fit_is_a_status_without_the_model_too(library: Library, uses_model: bool) -> None:
    x, y = np.zeros((30, 5), np.float32), np.zeros(30, np.float32)

    def status(last: int, runs: bool) -> int:
        return library("part", x, y, ctypes.c_int64(last), ctypes.c_bool(uses_model), ctypes.c_bool(runs))

    assert status(31, True) == 1
    assert without_place(library.error).startswith("in the map 'row(x[0:last, 0:5])': it leaves its array")
    assert y[0] == 0
    assert status(31, False) == 0
    assert y[0] == -1
    assert status(30, True) == 0


NUMBERS = [
    0.0,
    -0.0,
    1.0,
    0.1,
    1e16,
    123456789012345680.0,
    9999999999999998.0,
    1e-4,
    9.9e-5,
    1 / 3,
    2e22,
    5e-324,
    1e300,
]


@pytest.mark.parametrize("x", [*NUMBERS, float("nan"), float("inf"), -float("inf"), -1234.5678])
def test_texts_are_those_of_python(
    x: float, library: Library, kernels: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    with np.errstate(all="ignore"):
        s = np.float32(x)
    kernels.says(x, s, -42, np.uint16(65535), True, False)
    wanted = capfd.readouterr().out
    numbers = ctypes.c_float(s), ctypes.c_int64(-42), ctypes.c_uint16(65535), ctypes.c_bool(True)
    assert library("says", x, *numbers, ctypes.c_bool(False)) == 0
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == wanted
    with pytest.raises(ValueError, match="größe") as error:
        kernels.says(x, s, -42, np.uint16(65535), True, True)
    assert library("says", x, *numbers, ctypes.c_bool(True)) == 1
    ctypes.CDLL(None).fflush(None)
    assert re.fullmatch(rf"ValueError: {re.escape(str(error.value))} \(raised in .*kernels\.py:\d+\)", library.error)


def test_a_print_is_whole_that_is_longer_than_any_message(
    library: Library, kernels: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    kernels.says_much(-1.5)
    wanted = capfd.readouterr().out
    assert len(wanted) > 8192
    assert library("says_much", -1.5) == 0
    ctypes.CDLL(None).fflush(None)
    assert (capfd.readouterr().out, library.error) == (wanted, "")


def test_sizes_that_no_array_has(library: Library) -> None:
    result = ctypes.c_double()
    assert library("makes", ctypes.c_int64(2), ctypes.c_int64(3), ctypes.byref(result)) == 0
    for _ in range(2):
        assert library("makes", ctypes.c_int64(2), ctypes.c_int64(-3), ctypes.byref(result)) == 1
        assert library.error == (
            "a kernel cannot make an array of the shape [2, -3]: write max(n, 0) for a size that may be negative"
        )
    assert library("makes", ctypes.c_int64(1 << 30), ctypes.c_int64(1 << 30), ctypes.byref(result)) == 1
    assert library.error.endswith("no memory has so many bytes") or library.error.startswith("no memory for")


# -- the library itself ----------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_it_needs_the_c_library_alone(folder: Path) -> None:
    def symbols(*options: str) -> set[str]:
        done = subprocess.run(["nm", "-D", *options, folder / "libheat.so"], capture_output=True, text=True, check=True)
        return {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines() if " w " not in line}

    libraries = [ctypes.CDLL(name) for name in ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2")]
    assert not [name for name in symbols("-u") if not any(hasattr(each, name) for each in libraries)]
    names = {"heat", "others", "found", "part", "says", "says_much", "makes"}
    assert symbols("--defined-only") == {*names, "hpacml_last_error", "hpacml_message"}
    assert (folder / "libheat.so").stat().st_size < 400_000


MAIN = r"""
#include "heat.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    enum { N = 64, M = 130, CALLS = 200 };
    const int64_t sizes[2] = {N, M}, wrong[2] = {N, M - 1};
    static float t[N][M], first[N][M];
    int bad = 0;
    for (int i = 0; i < N * M; i++) t[i / M][i % M] = (float)sin(i);
    if (heat(t[0], sizes, NULL, first[0], sizes, NULL, true)) { puts(hpacml_last_error()); return 1; }
#pragma omp parallel for num_threads(8) schedule(dynamic) reduction(+ : bad)
    for (int call = 0; call < CALLS; call++) {
        float(*own)[M] = calloc(N, sizeof *own);
        if (call % 3 == 0) {
            bad += heat(t[0], sizes, NULL, own[0], wrong, NULL, true) != 2;
            bad += strstr(hpacml_last_error(), "'M' is 130") == NULL;
        } else {
            bad += heat(t[0], sizes, NULL, own[0], sizes, NULL, true) != 0;
            bad += memcmp(own, first, sizeof first) != 0;
        }
        free(own);
    }
    printf("%d\n", bad);
    return bad;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc, for OpenMP")
@pytest.mark.parametrize("kind", ["so", "o"])
def test_eight_threads_of_a_program_without_python(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if kind == "o":
        hpacml.build("kernels.py", "heat.o", standalone="heat.safetensors")
    (folder / "main.c").write_text(MAIN)
    code = "libheat.so" if kind == "so" else "heat.o"
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fopenmp", "-Wl,-rpath,$ORIGIN"]
    run("gcc", *options, "-o", f"main_{kind}", "main.c", code, "-lm", cwd=folder)
    assert run("/usr/bin/env", "-i", f"./main_{kind}", cwd=folder).stdout == "0\n"


@pytest.mark.parametrize("order", [["-lheat", "-lsecond"], ["-lsecond", "-lheat"]])
@pytest.mark.parametrize("alone", [True, False])
def test_libraries_of_one_program_share_the_message(
    folder: Path, alone: bool, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one of them stands alone and the other does not."""
    monkeypatch.chdir(folder)
    Path("second.py").write_text(KERNELS.replace("def heat", "def second").partition("@hpacml.kernel\ndef others")[0])
    hpacml.build("second.py", "libsecond.so", header="second.h", standalone="heat.safetensors" if alone else None)
    Path("both.c").write_text(
        '#include "heat.h"\n#include "second.h"\n#include <stdio.h>\n'
        "int main(void) {\n    int64_t none[2] = {-1, 2};\n    float x = 0;\n"
        "    second(&x, none, NULL, &x, none, NULL, true); puts(hpacml_last_error());\n"
        "    heat(&x, none, NULL, &x, none, NULL, true); puts(hpacml_last_error());\n    return 0;\n}\n"
    )
    flags = [] if alone else linker_flags()
    run("cc", "-o", "both", "both.c", "-L.", *order, *flags, "-Wl,-rpath,$ORIGIN", cwd=folder)
    assert run("./both", cwd=folder).stdout.splitlines() == [
        "dimension 0 of argument 't' of second() has the size -1",
        "dimension 0 of argument 't' of heat() has the size -1",
    ]


ONE = """
import numpy as np
from jaxtyping import Float32
import hpacml
from hpacml import approx

@hpacml.kernel
def NAME(x: Float32[np.ndarray, "N"], y: Float32[np.ndarray, "N"], on: bool):
    N = x.shape[0]
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    approx("tensor map(to: f(x[0:N]))")
    approx("tensor map(from: f(y[0:N]))")
    with approx("ml(predicated: on) in(x) out(y) label('same')"):
        for i in range(N):
            y[i] = 2 * x[i]
"""


@pytest.fixture(scope="module")
def two_objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two objects, whose regions have one label and each a network of its own."""
    folder = tmp_path_factory.mktemp("two")
    for factor, name in enumerate(("one", "two"), 10):
        model = torch.nn.Sequential(torch.nn.Linear(1, 1))
        with torch.no_grad():
            cast(Any, model[0]).weight.fill_(factor)
            cast(Any, model[0]).bias.fill_(0)
        (folder / f"{name}.py").write_text(ONE.replace("NAME", name))
        hpacml.save_model(model, folder / f"{name}.safetensors", example=torch.zeros(3, 1))
        texts = {"header": folder / f"{name}.h", "fortran": folder / f"{name}.f90"}
        hpacml.build(folder / f"{name}.py", folder / f"{name}.o", standalone=folder / f"{name}.safetensors", **texts)
    return folder


def test_objects_of_one_program(two_objects: Path) -> None:
    (two_objects / "main.c").write_text(
        '#include "one.h"\n#include "two.h"\n#include <stdio.h>\n'
        "int main(void) {\n    const int64_t sizes[1] = {2}, none[1] = {-1};\n    float x[2] = {1, 2}, y[4];\n"
        '    printf("%d ", one(x, sizes, NULL, y, sizes, NULL, true));\n'
        '    printf("%d ", two(x, sizes, NULL, y + 2, sizes, NULL, true));\n'
        '    printf("%g %g %g %g\\n", y[0], y[1], y[2], y[3]);\n'
        "    two(x, none, NULL, y, sizes, NULL, true); puts(hpacml_last_error());\n"
        "    one(x, none, NULL, y, sizes, NULL, true); puts(hpacml_last_error());\n    return 0;\n}\n"
    )
    run("cc", "-Wall", "-Werror", "-o", "main", "main.c", "one.o", "two.o", "-lm", cwd=two_objects)
    assert run("./main", cwd=two_objects).stdout.splitlines() == [
        "0 0 10 20 11 22",
        "dimension 0 of argument 'x' of two() has the size -1",
        "dimension 0 of argument 'x' of one() has the size -1",
    ]


@needs_gfortran
def test_in_fortran(two_objects: Path) -> None:
    """What the modules declare is there without libhpacml."""
    (two_objects / "main.f90").write_text(
        "program main\n  use, intrinsic :: iso_c_binding\n  use hpacml_one, only: one, hpacml_error\n"
        "  use hpacml_two, only: two\n  implicit none\n  real(c_float) :: x(2) = [1, 2], y(2), z(3)\n"
        "  print '(2i2, 4f5.1)', one(x, y, .true.), two(x, z(1:3:2), .true.), y, z(1:3:2)\n"
        "  print '(i2, x, a)', one(x, z, .true.), hpacml_error()\nend program\n"
    )
    assert "hpacml_stop" not in (two_objects / "one.f90").read_text()
    files = "one.f90", "two.f90", "main.f90", "one.o", "two.o"
    run("gfortran", "-o", "main_f", *files, cwd=two_objects)
    assert run("./main_f", cwd=two_objects).stdout.splitlines() == [
        " 0 0 10.0 20.0 11.0 22.0",
        " 2 'N' is 2 in dimension 0 of argument 'x' of one(), but 3 in dimension 0 of 'y'",
    ]


@pytest.mark.skipif("x86-64-v3" not in processors.names(), reason="is about processors of x86-64")
def test_a_processor_without_the_instructions_is_a_status(
    folder: Path, kernels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As no processor has all that is asked for here: a bit that has no meaning stands for AVX2."""
    monkeypatch.chdir(folder)
    missing = processors._FEATURES["avx2"]._replace(leaf=0x80000001, register=2, bit=31)
    monkeypatch.setitem(processors._FEATURES, "avx2", missing)
    hpacml.build(kernels.heat, "libother.so", standalone="heat.safetensors")
    other = Library(folder / "libother.so")
    t = np.ones((70, 90), np.float32)
    new = np.zeros_like(t)
    for _ in range(2):
        assert other("heat", t, new, ctypes.c_bool(True)) == 3
        assert "heat() was built for processors of the kind x86-64-v3, and this one lacks" in other.error
    assert not new.any()


# -- what is refused -----------------------------------------------------------------------------------

REGION = """
import numpy as np
from jaxtyping import Float32
import hpacml
from hpacml import approx

@hpacml.kernel
def f(x: Float32[np.ndarray, "N"], y: Float32[np.ndarray, "N"], net: str):
    N = x.shape[0]
    approx("tensor functor(g: [i, 0:1] = ([i]))")
    approx("tensor map(to: g(x[0:N]))")
    approx("tensor map(from: g(y[0:N]))")
    with approx("ml(MODE) in(x) out(y) CLAUSES"):
        y[0] = 0.0
"""

SAYS = """
import hpacml

@hpacml.kernel
def f(n: int):
    print(f"{n:,}")
"""


@pytest.mark.parametrize(
    ("mode", "clauses", "message"),
    [
        ("collect", "database('d.h5')", "the region 'f' collects, and code that stands alone has no databases"),
        ("infer", "model('other.safetensors')", "the region 'f' has the model 'other.safetensors', and '.*/one.safe"),
        ("infer", "engine(torch)", "the region 'f' wants Torch to compute its model"),
    ],
)
def test_regions_that_need_python(
    mode: str, clauses: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hpacml.save_model(torch.nn.Sequential(torch.nn.Linear(1, 1)), "one.safetensors", example=torch.zeros(3, 1))
    Path("f.py").write_text(REGION.replace("MODE", mode).replace("CLAUSES", clauses))
    with pytest.raises(CompileError, match=message):
        hpacml.build("f.py", "f.o", standalone="one.safetensors")
    assert not Path("f.o").exists()


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (torch.nn.Linear(2, 1), (3, 2), r"linear\(2, 1\) takes 2 features, and there are 1"),
        (torch.nn.Linear(1, 1), (2, 3, 1), "takes a batch of what the region 'f' has"),
        (torch.nn.Softplus(), (3, 1), "softplus.* is no layer that is compiled"),
        (torch.nn.Conv1d(1, 1, 1), (3, 1, 1), "it is one of images, whose sizes calls have"),
    ],
)
def test_models_that_are_not_compiled(
    module: torch.nn.Module, shape: tuple[int, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hpacml.save_model(torch.nn.Sequential(module).eval(), "m.pt2", example=torch.zeros(*shape))
    Path("f.py").write_text(REGION.replace("MODE", "infer").replace("CLAUSES", ""))
    with pytest.raises(CompileError, match=message):
        hpacml.build("f.py", "f.o", standalone="m.pt2")


def test_arguments_that_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could name another model, or a database: a call that does is refused."""
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Sequential(torch.nn.Linear(1, 1))
    hpacml.save_model(net, "one.safetensors", example=torch.zeros(3, 1))
    Path("f.py").write_text(REGION.replace("MODE", "infer").replace("CLAUSES", "model(net)"))
    hpacml.build("f.py", "libf.so", standalone="one.safetensors")
    library = Library(tmp_path / "libf.so")
    x, y = np.ones(5, np.float32), np.zeros(5, np.float32)
    assert library("f", x, y, ctypes.c_char_p(b"one.safetensors")) == 2
    assert library.error == "argument 'net' of f() is a path, and code that stands alone opens no file: pass NULL"
    assert not y.any()
    assert library("f", x, y, None) == 0, library.error
    close(y, np.full(5, net(torch.ones(1, 1)).item(), np.float32))


def test_a_model_of_other_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maps = ["to: g: [i, 0:1] = ([i + 1]) | g(x[0:N])", "from: g: [i, 0:1] = ([i]) | g(y[0:N])"]
    hpacml.save_model(torch.nn.Sequential(torch.nn.Linear(1, 1)), "m.safetensors", example=torch.zeros(3, 1), maps=maps)
    Path("f.py").write_text(REGION.replace("MODE", "infer").replace("CLAUSES", ""))
    with pytest.raises(ModelError, match="it was trained for the maps"):
        hpacml.build("f.py", "f.o", standalone="m.safetensors")


def test_formats_that_c_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hpacml.save_model(torch.nn.Sequential(torch.nn.Linear(1, 1)), "one.safetensors", example=torch.zeros(3, 1))
    Path("f.py").write_text(SAYS)
    with pytest.raises(CompileError, match=r"has no text for the int in '\{...:,\}'"):
        hpacml.build("f.py", "f.o", standalone="one.safetensors")


def test_there_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"missing\.pt2"):
        hpacml.build(SAYS, tmp_path / "f.o", standalone=tmp_path / "missing.pt2")


def test_modules_that_call_the_runtime_themselves(tmp_path: Path) -> None:
    hpacml.save_model(
        torch.nn.Sequential(torch.nn.Linear(1, 1)), tmp_path / "one.safetensors", example=torch.zeros(3, 1)
    )
    module = """
func.func private @hpacml_call_body(i64) -> ()
func.func @f(%n: i64) {
  func.call @hpacml_call_body(%n) : (i64) -> ()
  func.return
}
"""
    with pytest.raises(
        CompileError, match=r"code that stands alone cannot call hpacml_call_body\(\), which needs Python"
    ):
        hpacml.build(module, tmp_path / "f.o", standalone=tmp_path / "one.safetensors")
