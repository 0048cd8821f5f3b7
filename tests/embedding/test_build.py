"""`hpacml.build`: the C functions of objects and libraries, called from C and, in this process, by ctypes."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32, Float64, Int32, UInt8

import hpacml
from hpacml.embedding import linking
from tests.compilers import needs_cc, run

Field = Float64[np.ndarray, "N M"]


@hpacml.kernel
def smooth(t: Field, new: Field, w: float, flag: bool, k: np.int32) -> float:
    N, M = t.shape
    total = 0.0
    for i in range(1, N - 1):
        for j in range(1, M - 1):
            new[i, j] = w * (t[i - 1, j] + t[i + 1, j] + t[i, j - 1] + t[i, j + 1])
            total += new[i, j]
    if flag:
        total += k
    return total


@hpacml.kernel
def mixed(
    x: Float32[np.ndarray, "N"], y: Int32[np.ndarray, "N 3"], b: UInt8[np.ndarray, "2"], on: bool
) -> tuple[int, bool, np.float32, np.uint8]:
    for i in range(x.shape[0]):
        x[i] += y[i, 2]
    b[0] = 255
    return x.shape[0], not on, x[0], b[0]


ADD = """
func.func private @helper(%x: f64) -> f64 { func.return %x : f64 }
func.func @scale(%x: memref<?xf64>, %y: memref<?xf64, strided<[?], offset: ?>>, %scale: f64) -> (f64, index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = memref.dim %x, %zero : memref<?xf64>
  scf.for %i = %zero to %n step %one {
    %a = memref.load %x[%i] : memref<?xf64>
    %b = arith.mulf %a, %scale : f64
    memref.store %b, %y[%i] : memref<?xf64, strided<[?], offset: ?>>
  }
  %same = func.call @helper(%scale) : (f64) -> f64
  func.return %same, %n : f64, index
}
"""


class Library:
    """A built library, called with arrays and numbers."""

    def __init__(self, path: Path) -> None:
        self.loaded = ctypes.CDLL(str(path))
        self.loaded.hpacml_last_error.restype = ctypes.c_char_p

    def __call__(self, name: str, *given: object) -> int:
        words = [word for each in given for word in self.words(each)]
        return getattr(self.loaded, name)(*words)

    def words(self, given):
        if isinstance(given, np.ndarray):
            sizes = (ctypes.c_int64 * given.ndim)(*given.shape)
            strides = (ctypes.c_int64 * given.ndim)(*(s // given.itemsize for s in given.strides))
            return [ctypes.c_void_p(given.ctypes.data), sizes, strides]
        if isinstance(given, float):
            return [ctypes.c_double(given)]
        return [given]

    @property
    def error(self) -> str:
        return self.loaded.hpacml_last_error().decode()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    path = tmp_path_factory.mktemp("build") / "libkernels.so"
    hpacml.build([smooth, mixed], path)
    return Library(path)


LAYOUTS = {
    "packed": lambda a: np.ascontiguousarray(a),
    "rows": lambda a: np.pad(a, ((0, 0), (2, 3)))[:, 2:-3],
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "Fortran's order": lambda a: np.asfortranarray(a),
}


@needs_cc
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("other", ["packed", "backwards"])
@pytest.mark.parametrize("shape", [(7, 9), (3, 1), (0, 5)])
def test_a_kernel_gives_what_python_gives(library: Library, layout: str, other: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    t, new = LAYOUTS[layout](rng.random(shape)), LAYOUTS[other](np.zeros(shape))
    expected = new.copy()
    total = smooth.py_func(t.copy(), expected, 0.3, True, np.int32(4))
    result = ctypes.c_double()
    assert library("smooth", t, new, 0.3, ctypes.c_bool(True), ctypes.c_int32(4), ctypes.byref(result)) == 0
    assert result.value == total
    np.testing.assert_array_equal(new, expected)


@needs_cc
def test_several_results_and_types(library: Library) -> None:
    x, y, b = np.ones(3, np.float32), np.full((3, 3), 2, np.int32), np.zeros(2, np.uint8)
    results = ctypes.c_int64(), ctypes.c_bool(), ctypes.c_float(), ctypes.c_uint8()
    assert library("mixed", x, y, b, ctypes.c_bool(False), *map(ctypes.byref, results)) == 0
    assert [each.value for each in results] == [3, True, 3.0, 255]
    assert x.tolist() == [3, 3, 3]
    assert b.tolist() == [255, 0]


def sizes(*given: int):
    return (ctypes.c_int64 * len(given))(*given)


@needs_cc
def test_wrong_calls_are_statuses(library: Library) -> None:
    t, result = np.zeros((4, 5)), ctypes.c_double(7)
    address, here = ctypes.c_void_p(t.ctypes.data), sizes(4, 5)
    rest = ctypes.c_double(1), ctypes.c_bool(False), ctypes.c_int32(0), ctypes.byref(result)

    def refused(*given: object) -> str:
        assert library.loaded.smooth(*given) == 2
        return library.error

    assert refused(address, here, None, address, sizes(4, 6), None, *rest) == (
        "'M' is 5 in dimension 1 of argument 't' of smooth(), but 6 in dimension 1 of 'new'"
    )
    assert refused(address, sizes(-1, 5), None, address, here, None, *rest) == (
        "dimension 0 of argument 't' of smooth() has the size -1"
    )
    assert refused(None, here, None, address, here, None, *rest) == (
        "argument 't' of smooth() is NULL, and its sizes say that it has 20 elements"
    )
    assert "'t_sizes' is NULL" in refused(address, None, None, address, here, None, *rest)
    assert "'result' of smooth() is NULL" in refused(address, here, None, address, here, None, *rest[:-1], None)
    odd = ctypes.c_void_p(t.ctypes.data + 4)
    assert "no multiple of 8" in refused(odd, here, None, address, here, None, *rest)
    assert "more elements" in refused(address, sizes(1 << 40, 1 << 40), None, address, here, None, *rest)
    assert "more elements" in refused(address, sizes(1 << 30, 1 << 31), None, address, here, None, *rest)
    assert library.loaded.smooth(None, sizes(0, 5), None, None, sizes(0, 5), None, *rest) == 0
    x, b = np.ones(3, np.float32), np.zeros(2, np.uint8)
    assert library("mixed", x, np.ones((3, 2), np.int32), b, ctypes.c_bool(False), *[None] * 4) == 2
    outs = ctypes.c_int64(), ctypes.c_bool(), ctypes.c_float(), ctypes.c_uint8()
    wrong = library("mixed", x, np.ones((3, 2), np.int32), b, ctypes.c_bool(False), *map(ctypes.byref, outs))
    assert wrong == 2
    assert library.error == "dimension 1 of argument 'y' of mixed() is 2, but its annotation says 3"


@hpacml.kernel
def flat(x: Field, y: Field) -> float:
    row = x.reshape(-1)
    y[0, 0] = row[x.size - 1]
    return y[0, 0]


@needs_cc
def test_a_kernel_of_packed_arrays_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hpacml.build(flat, tmp_path / "libflat.so", header=tmp_path / "flat.h")
    assert "flat() takes arrays with C order without gaps alone: " in caplog.text
    library, result = Library(tmp_path / "libflat.so"), ctypes.c_double(0)
    x = np.arange(12.0).reshape(3, 4)
    assert library("flat", x, np.zeros((3, 4)), ctypes.byref(result)) == 0
    assert result.value == 11
    for strided in (x[:, ::2], x[:, :3], x.T, x[::-1]):
        assert library("flat", strided, np.zeros(strided.shape), ctypes.byref(result)) == 2
        assert "argument 'x' of flat() has strides for which there is no code" in library.error
        assert re.search(r"it takes C order without gaps \(.*test_build.py:\d+: reshape is of packed", library.error)
    assert "float64[N, M], read, with C order without gaps" in (tmp_path / "flat.h").read_text()


@needs_cc
def test_functions_of_modules(tmp_path: Path) -> None:
    (tmp_path / "add.mlir").write_text(ADD)
    hpacml.build(tmp_path / "add.mlir", tmp_path / "libadd.so")
    library = Library(tmp_path / "libadd.so")
    x, y = np.arange(5.0), np.zeros(10)[::2]
    same, n = ctypes.c_double(), ctypes.c_int64()
    assert library("scale", x, y, 0.5, ctypes.byref(same), ctypes.byref(n)) == 0
    assert (same.value, n.value, y.tolist()) == (0.5, 5, [0, 0.5, 1, 1.5, 2])
    assert library("scale", np.arange(10.0)[::2], y, 0.5, ctypes.byref(same), ctypes.byref(n)) == 2
    assert (
        "argument 'x' of scale() has strides for which there is no code: it takes C order without gaps" in library.error
    )
    assert not hasattr(library.loaded, "helper")


C_MAIN = """
#include "kernels.h"
#include <stdio.h>
int main(void) {
    double t[20], new_[20] = {0}, result = 0;
    const int64_t sizes[2] = {4, 5};
    for (int i = 0; i < 20; i++) t[i] = i * i;
    int32_t status = smooth(t, sizes, NULL, new_, sizes, NULL, 0.25, true, 3, &result);
    printf("%d %.17g\\n", status, result);
    return status;
}
"""


@needs_cc
@pytest.mark.parametrize("kind", ["so", "o"])
def test_a_program_in_c(tmp_path: Path, kind: str) -> None:
    output = tmp_path / ("libkernels.so" if kind == "so" else "kernels.o")
    hpacml.build(smooth, output, header=tmp_path / "kernels.h")
    (tmp_path / "main.c").write_text(C_MAIN)
    from hpacml.embedding.host_library import linker_flags

    flags = [f"-Wl,-rpath,{tmp_path}", *linker_flags(), "-lm"]
    run("cc", "-Wall", "-Wextra", "-Werror", "-o", "main", "main.c", output, *flags, cwd=tmp_path)
    if shutil.which("c++"):
        run("c++", "-Wall", "-Werror", "-fsyntax-only", "-include", "kernels.h", "-x", "c++", "/dev/null", cwd=tmp_path)
    expected = smooth.py_func(np.arange(20.0).reshape(4, 5) ** 2, np.zeros((4, 5)), 0.25, True, np.int32(3))
    assert run("./main", cwd=tmp_path).stdout == f"0 {expected:.17g}\n"


@needs_cc
def test_objects_with_equal_names_link_together(tmp_path: Path) -> None:
    regions = """
import numpy as np
from jaxtyping import Float64
import hpacml
from hpacml import approx

@hpacml.kernel
def NAME(x: Float64[np.ndarray, "N"], y: Float64[np.ndarray, "N"]):
    N = x.shape[0]
    approx("tensor functor(f: [i, 0:1] = ([i]))")
    approx("tensor map(to: f(x[0:N]))")
    approx("tensor map(from: f(y[0:N]))")
    with approx("ml(collect) in(x) out(y) label('same') database('same.h5')"):
        for i in range(N):
            y[i] = 2 * x[i]
"""
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(regions.replace("NAME", name))
        hpacml.build(tmp_path / f"{name}.py", tmp_path / f"{name}.o")
    from hpacml.embedding.host_library import linker_flags

    run("cc", "-shared", "-o", "both.so", "one.o", "two.o", *linker_flags(), "-lm", cwd=tmp_path)
    defined = run("nm", "-D", "--defined-only", "both.so", cwd=tmp_path).stdout.split()
    assert {name for name in defined if len(name) > 1 and not name.isalnum()} == set()
    assert {"one", "two"} <= set(defined)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("@hpacml.kernel\ndef exp(x: float) -> float:\n    return x\n", "the C library has a function 'exp'"),
        ("@hpacml.kernel\ndef main(x: float) -> float:\n    return x\n", "'main' is no name for a function in C"),
        ("x = 1\n", "defines no kernels"),
        ("import nothing_of_the_kind\n", "bad.py: bad.py:5: ModuleNotFoundError"),
        ("raise SystemExit(0)\n", "bad.py: bad.py:5: SystemExit: 0"),
        (
            "@hpacml.kernel\ndef make(n: int) -> Float64[np.ndarray, 'N']:\n    return np.zeros(n)\n",
            "make() returns an array, which a C function cannot",
        ),
    ],
)
def test_what_cannot_be_built(tmp_path: Path, text: str, error: str) -> None:
    head = "import numpy as np\nfrom jaxtyping import Float64\nimport hpacml\n\n"
    (tmp_path / "bad.py").write_text(head + text)
    with pytest.raises(hpacml.CompileError, match=re.escape(error)):
        hpacml.build(tmp_path / "bad.py", tmp_path / "bad.o")
    assert not (tmp_path / "bad.o").exists()


def test_errors_of_a_file_of_ir_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "wrong.mlir").write_text("func.func @f(%x: memref<?xf64>) {\n  hpacml.nothing\n}\n")
    with pytest.raises(hpacml.CompileError, match=r"^\S*wrong\.mlir:\d+:"):
        hpacml.build(tmp_path / "wrong.mlir", tmp_path / "wrong.o")


def test_a_library_needs_a_compiler_and_an_object_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(hpacml.CompileError, match="there is no 'no-such-compiler'"):
        linking.link_library(b"", tmp_path / "lib.so")
    monkeypatch.setattr(subprocess, "run", None)
    hpacml.build(smooth, tmp_path / "smooth.o")
    assert (tmp_path / "smooth.o").read_bytes()[:4] == b"\x7fELF"
