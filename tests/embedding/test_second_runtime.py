"""The runtime ABI without hpacml's runtime: code of plain modules, linked to the runtime of docs/linear_runtime.c."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from xdsl.parser import Parser
from xdsl.passes import PassPipeline

from hpacml.abi.symbols import VERSION
from hpacml.backend import llvm, mlir
from hpacml.passes import get_all_passes
from hpacml.pipelines import STAGES, generic_text, make_context

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")

SMOOTH = """
hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @point : [i, 0:1] = ([i])
func.func @NAME(%t: memref<?xf64>, %new: memref<?xf64>, %n: index, %use: i1)
    attributes {llvm.emit_c_interface} {
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

const char *linear_call(void (*function)(void *), void *arguments);

typedef struct { double *allocated, *aligned; int64_t offset, sizes[1], strides[1]; } vector;
typedef struct { vector *t, *made; int64_t n; _Bool use; } call;
void _mlir_ciface_smooth(vector *t, vector *made, int64_t n, _Bool use);
void _mlir_ciface_again(vector *t, vector *made, int64_t n, _Bool use);

static void smooth(void *given) { call *c = given; _mlir_ciface_smooth(c->t, c->made, c->n, c->use); }
static void again(void *given) { call *c = given; _mlir_ciface_again(c->t, c->made, c->n, c->use); }

int main(int count, char **arguments)
{
    double x[] = {1, 2, 4, 8, 16}, y[] = {0, 0, 0, 0, 0};
    vector t = {x, x, 0, {5}, {1}}, made = {y, y, 0, {5}, {1}};
    call given = {&t, &made, atoi(arguments[1]), atoi(arguments[2]) != 0};
    const char *wrong = linear_call(count > 3 ? again : smooth, &given);
    printf("%g %g %g %g %g %s\\n", y[0], y[1], y[2], y[3], y[4], wrong == NULL ? "well" : wrong);
    return wrong != NULL;
}
"""


def plain_object(name: str) -> bytes:
    """Object code of a module of the function `name`, for runtimes of others."""
    module = Parser(make_context(), SMOOTH.replace("NAME", name)).parse_module()
    passes = [spec + "{plain=true}" * (stage == "runtime") for stage, spec in STAGES.items()]
    PassPipeline.parse_spec(get_all_passes(), ",".join(passes)).apply(make_context(), module)
    return llvm.emit(mlir.lower(generic_text(module)), {f"_mlir_ciface_{name}"})


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of two objects, whose regions have one label, and the runtime."""
    folder = tmp_path_factory.mktemp("second")
    for name in ("smooth", "again"):
        (folder / f"{name}.o").write_bytes(plain_object(name))
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


def test_another_version_is_refused(program: Path, tmp_path: Path) -> None:
    header = (DOCS / "hpacml_abi.h").read_text()
    other = header.replace(f"HPACML_ABI_VERSION {VERSION}", f"HPACML_ABI_VERSION {VERSION + 1}")
    assert other != header
    (tmp_path / "hpacml_abi.h").write_text(other)
    for name in ("smooth.o", "again.o", "main.c"):
        shutil.copy(program.parent / name, tmp_path)
    shutil.copy(DOCS / "linear_runtime.c", tmp_path)
    flags = ["-std=c11", f"-I{tmp_path}"]
    objects = [tmp_path / name for name in ("main.c", "linear_runtime.c", "smooth.o", "again.o")]
    subprocess.run(["gcc", *flags, *objects, "-o", tmp_path / "program"], check=True)
    said, status = _run(tmp_path / "program", 5, 1)
    assert (said.split(" ", 5)[5].split(":")[0], status) == (
        f"'smooth' was compiled for version {VERSION} of hpacml's runtime ABI, and has met a runtime of another",
        1,
    )


def test_the_runtime_has_less_than_100_lines_and_stands_in_the_page() -> None:
    text = (DOCS / "linear_runtime.c").read_text()
    assert len(text.splitlines()) < 100
    assert text in (DOCS / "runtime-abi.md").read_text()
