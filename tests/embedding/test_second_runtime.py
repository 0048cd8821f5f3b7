"""The runtime ABI without hpacml's runtime: code of plain modules, linked to the runtime of docs/linear_runtime.c."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import hpacml
from hpacml.abi.symbols import VERSION

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")

SMOOTH = """
hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @point : [i, 0:1] = ([i])
func.func @NAME(%t: memref<?xf64>, %new: memref<?xf64>, %n: index, %use: i1) {
  %one = arith.constant 1 : index
  %quarter = arith.constant 0.25 : f64
  %end = arith.subi %n, %one : index
  %in = hpacml.map to @sides(%t[1 : %end]) : memref<?xf64> -> !hpacml.mapping<?x2xf64>
  %out = hpacml.map from @point(%new[1 : %end]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>
  hpacml.ml predicated(%use) in(%in : !hpacml.mapping<?x2xf64>) out(%out : !hpacml.mapping<?x1xf64>)
    label "smooth" model "linear" database "größe.txt" {
    scf.for %i = %one to %end step %one {
      %a = memref.load %t[%i] : memref<?xf64>
      %b = arith.mulf %a, %quarter : f64
      memref.store %b, %new[%i] : memref<?xf64>
    }
  }
  func.return
}
"""

MAIN = """
#include "smooth.h"
#include "again.h"
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    double x[] = {1, 2, 4, 8, 16}, y[] = {0, 0, 0, 0, 0};
    const int64_t five[1] = {5};
    int32_t (*function)(const double *, const int64_t[1], const int64_t[1], double *, const int64_t[1],
                        const int64_t[1], int64_t, bool) = count > 3 ? again : smooth;
    int32_t status = function(x, five, NULL, y, five, NULL, atoi(arguments[1]), atoi(arguments[2]) != 0);
    printf("%g %g %g %g %g %s\\n", y[0], y[1], y[2], y[3], y[4], status == 0 ? "well" : hpacml_last_error());
    return status;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of two objects, whose regions have one label, and the runtime."""
    folder = tmp_path_factory.mktemp("second")
    for name in ("smooth", "again"):
        hpacml.build(SMOOTH.replace("NAME", name), folder / f"{name}.o", header=folder / f"{name}.h", plain=True)
    (folder / "main.c").write_text(MAIN)
    _link(folder, DOCS)
    return folder / "program"


def _link(folder: Path, include: Path) -> None:
    sources = [folder / "main.c", DOCS / "linear_runtime.c", folder / "smooth.o", folder / "again.o"]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{include}"]
    subprocess.run(["gcc", *flags, *sources, "-o", folder / "program"], check=True)


def _run(program: Path, *arguments: object) -> tuple[str, int]:
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=program.parent)
    return done.stdout.strip(), done.returncode


@pytest.mark.parametrize("which", [[], ["again"]])
def test_it_infers_and_collects(which: list[str], program: Path) -> None:
    database = program.parent / "größe.txt"
    database.unlink(missing_ok=True)
    assert _run(program, 5, 1, *which) == ("0 2.5 5 10 0 well", 0)
    assert not database.exists()
    assert _run(program, 5, 0, *which) == ("0 0.5 1 2 0 well", 0)
    rows = [line.split()[:3] for line in database.read_text().splitlines()]
    assert rows == [["1", "4", "0.5"], ["2", "8", "1"], ["4", "16", "2"]]


def test_a_map_that_does_not_fit_is_refused_by_its_text(program: Path) -> None:
    said, status = _run(program, 7, 1)
    assert status == 1
    assert said.startswith("0 0 0 0 0 in the map 'sides(t[1 : ?])': it leaves its array, or contradicts its functor")


def test_wrong_arguments_are_refused(program: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(MAIN.replace("{5}", "{-5}"))
    for name in ("smooth", "again"):
        for suffix in ("o", "h"):
            shutil.copy(program.parent / f"{name}.{suffix}", tmp_path)
    _link(tmp_path, DOCS)
    said, status = _run(tmp_path / "program", 5, 1)
    assert (said.split(" ", 5)[5], status) == (
        "dimension 0 of argument 't' of smooth() has the size {given} (given: -5, wanted: 0)",
        2,
    )


def test_another_version_is_refused(program: Path, tmp_path: Path) -> None:
    header = (DOCS / "hpacml_abi.h").read_text()
    other = header.replace(f"HPACML_ABI_VERSION {VERSION}", f"HPACML_ABI_VERSION {VERSION + 1}")
    assert other != header
    (tmp_path / "hpacml_abi.h").write_text(other)
    for name in ("smooth.o", "again.o", "smooth.h", "again.h", "main.c"):
        shutil.copy(program.parent / name, tmp_path)
    shutil.copy(DOCS / "linear_runtime.c", tmp_path)  # it finds the header that lies beside it
    sources = [tmp_path / name for name in ("main.c", "linear_runtime.c", "smooth.o", "again.o")]
    subprocess.run(["gcc", "-std=c11", *sources, "-o", tmp_path / "program"], check=True)
    said, status = _run(tmp_path / "program", 5, 1)
    text = f"smooth() was built for version {VERSION} of the runtime's ABI, and has met one of version {{given}}"
    assert (said.split(" ", 5)[5].split(":")[0], status) == (text, 4)


def test_plain_code_is_an_object(tmp_path: Path) -> None:
    module = SMOOTH.replace("NAME", "smooth")
    for arguments in ({"output": "libsmooth.so"}, {"output": "smooth.o", "standalone": "m.pt2"}):
        with pytest.raises(hpacml.CompileError, match="plain code is an object"):
            hpacml.build(module, tmp_path / arguments.pop("output"), plain=True, **arguments)


def test_the_runtime_has_less_than_100_lines_and_stands_in_the_page() -> None:
    text = (DOCS / "linear_runtime.c").read_text()
    assert len(text.splitlines()) < 100
    assert text in (DOCS / "runtime-abi.md").read_text()
