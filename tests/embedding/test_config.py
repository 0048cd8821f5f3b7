"""`hpacml build` and `hpacml config`, the CMake package and the file of pkg-config."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from hpacml.backend.llvm import Processor, host
from hpacml.embedding import ahead_of_time, host_library, processors
from tests.command import run_hpacml
from tests.compilers import CMAKE, ROOT, needs_cc, needs_cmake, needs_gfortran, run

KERNEL = """
import numpy as np
from jaxtyping import Float64

import hpacml


@hpacml.kernel
def twice(x: Float64[np.ndarray, "N"]) -> float:
    for i in range(x.shape[0]):
        x[i] *= 2
    return x[0]
"""

MAIN = """
#include "twice.h"
#include <stdio.h>
int main(void) {
    double x[] = {1.25, 2}, first;
    const int64_t sizes[] = {2};
    int32_t status = twice(x, sizes, NULL, &first);
    printf("%d %g %g %s", status, first, x[1], hpacml_last_error());
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "twice.py").write_text(KERNEL)
    (tmp_path / "main.c").write_text(MAIN)
    return tmp_path


@needs_cc
def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    build = "build", "twice.py", "-o", "libtwice.so", "--header", "twice.h", "--fortran", "twice.f90"
    assert run_hpacml(monkeypatch, capsys, *build) == (0, "", "")
    status, flags, _ = run_hpacml(monkeypatch, capsys, "config", "--cflags", "--libs")
    assert status == 0
    run("cc", "main.c", "-o", "main", "-L.", "-ltwice", "-Wl,-rpath,$ORIGIN", *flags.split(), cwd=folder)
    assert run("./main", cwd=folder).stdout == "0 2.5 4 "
    assert Path("twice.f90").read_text().startswith("! twice.f90: functions that hpacml has compiled for ")
    assert run_hpacml(monkeypatch, capsys, "config")[0] == 1
    assert "twice" not in sys.modules  # where it would be another program's module of that name
    status, _, error = run_hpacml(monkeypatch, capsys, "build", "twice.py", "-o", "t.o", "--cpu", "pentium")
    assert (status, "unknown kind of processor 'pentium'" in error) == (1, True)
    status, _, error = run_hpacml(monkeypatch, capsys, "build", "thrice.py", "-o", "t.o")
    assert (status, "there is no file thrice.py" in error) == (1, True)
    status, _, error = run_hpacml(monkeypatch, capsys, "build", "twice.py", "-o", "no/where.o")
    assert (status, "cannot be written: No such file" in error) == (1, True)


@needs_cc
@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="needs pkg-config")
def test_pkg_config(folder: Path) -> None:
    found = host_library.folder() / "lib" / "pkgconfig"
    flags = run("pkg-config", "--cflags", "--libs", "hpacml", cwd=folder, PKG_CONFIG_PATH=str(found)).stdout
    assert flags.split() == [*host_library.compiler_flags(), *host_library.linker_flags()]


CMAKE_LISTS = """
cmake_minimum_required(VERSION 3.18)
project(example C Fortran)
find_package(hpacml REQUIRED)
hpacml_add_library(twice twice.py CPU native FORTRAN)
add_executable(main main.c)
target_link_libraries(main PRIVATE twice)
"""


@needs_cc
@needs_cmake
@needs_gfortran
def test_cmake(folder: Path) -> None:
    (folder / "CMakeLists.txt").write_text(CMAKE_LISTS)
    package = host_library.folder() / "lib" / "cmake" / "hpacml"
    run(str(CMAKE), "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={package}", cwd=folder)
    run(str(CMAKE), "--build", "build", cwd=folder, PYTHONPATH=str(ROOT))
    assert run("./build/main", cwd=folder).stdout == "0 2.5 4 "


@needs_cc
@pytest.mark.parametrize("name", processors.names())
def test_processors(folder: Path, name: str) -> None:
    missing = [each for each in processors.processor(name).features.split(",") if each.startswith("+")]
    lacks = {each for each in missing if f"-{each[1:]}" in host().features.split(",")}
    ahead_of_time.build(folder / "twice.py", folder / "twice.o", header=folder / "twice.h", cpu=name)
    run("cc", "main.c", "twice.o", "-o", "main", *host_library.linker_flags(), cwd=folder)
    assert run("./main", cwd=folder).stdout.startswith("3 " if lacks else "0 2.5 4 ")


@needs_cc
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="tells features of x86-64 apart")
def test_a_lesser_processor_is_a_status(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = host().features.split(",")
    lacks = [name for name in processors._FEATURES if f"-{name}" in here]
    if not lacks:
        pytest.skip("this processor has all features that the check knows")
    for name in lacks:
        wanted = Processor("x86-64", f"{processors._BASELINE},+{name}")
        monkeypatch.setattr(processors, "processor", lambda _, wanted=wanted: wanted)
        code = ahead_of_time.object_code(ahead_of_time.exported_of(folder / "twice.py"), "test")
        (folder / "twice.o").write_bytes(code)
        (folder / "twice.h").write_text(
            "#include <stdint.h>\nint32_t twice(double *, const int64_t *, const int64_t *, double *);\nconst char *hpacml_last_error(void);\n"
        )
        run("cc", "main.c", "twice.o", "-o", "main", *host_library.linker_flags(), cwd=folder)
        told = run("./main", cwd=folder).stdout
        assert told.startswith("3 ")
        assert "2 twice() was built for processors of the kind test" in told  # x[1] is still 2


def test_python_without_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_library.sysconfig, "get_config_var", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(host_library.CompileError, match="has no shared library that programs in C could load"):
        host_library.folder()
