"""Modules of other dialects: their lowerings run before, between and behind our passes; other tools read each stage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.passes import PassPipeline
from xdsl.transforms import get_all_passes as passes_of_xdsl
from xdsl.xdsl_opt_main import xDSLOptMain

import hpacml
from examples.binomial_options.app import lattice
from examples.heat2d.heat import heat
from hpacml.passes import get_all_passes
from hpacml.pipelines import GPU_STAGES, STAGES, generic_text, make_context

STENCIL = """
hpacml.functor @three : [i, j, 0:3] = ([i, j - 1 : j + 2])
hpacml.functor @point : [i, j, 0:1] = ([i, j])
func.func @step(%t: memref<10x66xf64>, %new: memref<10x66xf64>, %use: i1) {
  %a = stencil.external_load %t : memref<10x66xf64> -> !stencil.field<[-1,9]x[-1,65]xf64>
  %b = stencil.external_load %new : memref<10x66xf64> -> !stencil.field<[-1,9]x[-1,65]xf64>
  %in = hpacml.map to @three(%t[1 : 9, 1 : 65]) : memref<10x66xf64> -> !hpacml.mapping<8x64x3xf64>
  %out = hpacml.map from @point(%new[1 : 9, 1 : 65]) : memref<10x66xf64> -> !hpacml.mapping<8x64x1xf64>
  hpacml.ml predicated(%use) in(%in : !hpacml.mapping<8x64x3xf64>) out(%out : !hpacml.mapping<8x64x1xf64>)
    label "s" model "m.safetensors" database "d.h5" {
    %temp = stencil.load %a : !stencil.field<[-1,9]x[-1,65]xf64> -> !stencil.temp<?x?xf64>
    %next = stencil.apply(%x = %temp : !stencil.temp<?x?xf64>) -> (!stencil.temp<?x?xf64>) {
      %west = stencil.access %x[0, -1] : !stencil.temp<?x?xf64>
      %east = stencil.access %x[0, 1] : !stencil.temp<?x?xf64>
      %sum = arith.addf %west, %east : f64
      stencil.return %sum : f64
    }
    stencil.store %next to %b(<[0, 0], [8, 64]>) : !stencil.temp<?x?xf64> to !stencil.field<[-1,9]x[-1,65]xf64>
  }
  stencil.external_store %b to %new : !stencil.field<[-1,9]x[-1,65]xf64> to memref<10x66xf64>
  func.return
}
"""

VARIANTS = {
    "values": ["shape-inference", "convert-stencil-to-ll-mlir"],
    "buffers": ["shape-inference", "stencil-bufferize", "convert-stencil-to-ll-mlir"],
}
OURS = [STAGES[stage] for stage in ("expand", "resolve", "loops", "runtime")]


def run(module: ModuleOp, specs: Sequence[str]) -> ModuleOp:
    passes = {**passes_of_xdsl(), **get_all_passes()}
    PassPipeline.parse_spec(passes, ",".join(specs), lambda _, module, __: module.verify()).apply(
        make_context(), module
    )
    return module


def parsed(text: str) -> ModuleOp:
    return Parser(make_context(), text).parse_module()


def orders(theirs: Sequence[str]) -> Iterator[list[str]]:
    """All orders of two pipelines together, each of which keeps its own."""
    for places in itertools.combinations_with_replacement(range(len(OURS) + 1), len(theirs)):
        order = [*OURS]
        for place, name in reversed(list(zip(places, theirs, strict=True))):
            order.insert(place, name)
        yield order


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_stencils_are_lowered_before_between_and_behind_our_passes(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    t = np.random.default_rng(1).random((10, 66))
    expected = np.full((10, 66), -1.0)
    expected[1:9, 1:65] = t[1:9, :64] + t[1:9, 2:]
    count = 0
    for order in orders(VARIANTS[variant]):
        new = np.full((10, 66), -1.0)
        hpacml.compile(run(parsed(STENCIL), order), "step")(t, new, False)
        np.testing.assert_array_equal(new, expected)
        count += 1
    hpacml.flush()
    data = hpacml.open_database("d.h5")["s"].dataset()
    assert len(data) == count
    x, y = data[-1]
    np.testing.assert_array_equal(x[..., 0] + x[..., 2], y[..., 0])


LIBRARY = """
hpacml.functor @point : [i, 0:1] = ([i])
"memref.global"() <{sym_name = "table", sym_visibility = "private", type = memref<2xf32>,
  initial_value = dense<[1.0, 2.0]> : tensor<2xf32>, constant}> : () -> ()
func.func private @scaled(%t: memref<?xf32>, %i: index, %s: f32) -> f32 {
  %v = memref.load %t[%i] : memref<?xf32>
  %w = arith.mulf %v, %s : f32
  func.return %w : f32
}
func.func @library(%t: memref<?xf32>, %u: memref<?xf32>, %n: index, %use: i1) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %in = hpacml.map to @point(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  %out = hpacml.map from @point(%u[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x1xf32>
  hpacml.ml predicated(%use) in(%in : !hpacml.mapping<?x1xf32>) out(%out : !hpacml.mapping<?x1xf32>)
    label "r" model "m.safetensors" database "d.h5" {
    %table = memref.get_global @table : memref<2xf32>
    %two = memref.load %table[%one] : memref<2xf32>
    linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%t : memref<?xf32>) outs(%u : memref<?xf32>) {
    ^bb0(%x: f32, %y: f32):
      %z = arith.mulf %x, %two : f32
      linalg.yield %z : f32
    }
    %first = func.call @scaled(%t, %zero, %two) : (memref<?xf32>, index, f32) -> f32
    affine.store %first, %u[0] : memref<?xf32>
  }
  func.return
}
"""
PROGRAMS = {"library": lambda: parsed(LIBRARY), "heat": heat.ir, "lattice": lattice.ir}
UPSTREAM = "builtin.module(canonicalize,cse,symbol-dce,convert-linalg-to-loops,lower-affine,canonicalize)"


def upstream(module: ModuleOp, pipeline: str = UPSTREAM) -> str:
    """What upstream MLIR, which knows nothing of hpacml, makes of a module."""
    ir = pytest.importorskip("mlir.ir")
    from mlir.passmanager import PassManager

    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        taken = ir.Module.parse(generic_text(module))
        PassManager.parse(pipeline).run(taken.operation)
        assert taken.operation.verify()
        return taken.operation.get_asm(print_generic_op_form=True, use_local_scope=True)


@pytest.mark.parametrize("target", [STAGES, GPU_STAGES], ids=["cpu", "gpu"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_upstream_takes_every_stage(program: str, target: dict[str, str]) -> None:
    module = PROGRAMS[program]()
    upstream(module)
    for name in target.values():
        if name == "hpacml-refuse-host-accesses" and program == "library":
            break  # it is for the host
        upstream(run(module, [name]))


@pytest.mark.parametrize("last", [None, "expand", "resolve", "loops"])
def test_upstream_passes_between_ours_change_nothing(
    last: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [*STAGES.values()]
    done = names[: 0 if last is None else names.index(STAGES[last]) + 1]
    t, u = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
    hpacml.compile(upstream(run(parsed(LIBRARY), done)), "library")(t, u, 5, False)
    np.testing.assert_array_equal(u, 2 * t)
    hpacml.flush()
    x, y = hpacml.open_database("d.h5")["r"].dataset()[0]
    np.testing.assert_array_equal(2 * x, y)


@pytest.mark.parametrize("generic", [False, True])
def test_plain_xdsl_opt_takes_every_stage(generic: bool, tmp_path: Path) -> None:
    module = PROGRAMS["library"]()
    for name in STAGES.values():
        path = tmp_path / "m.mlir"
        path.write_text(generic_text(module) if generic else str(module))
        plain = xDSLOptMain(args=[str(path), "-p", name, "-o", str(tmp_path / "out.mlir")])
        plain.run()
        module = parsed((tmp_path / "out.mlir").read_text())
    assert not any(op.name.startswith("hpacml") for op in module.walk())


@pytest.mark.parametrize("stage", [None, "expand", "loops", "runtime"])
def test_loops_become_those_of_openmp_at_any_stage(stage: str | None) -> None:
    names = [*STAGES.values()]
    done = 0 if stage is None else names.index(STAGES[stage]) + 1
    stencils = ["shape-inference", "convert-stencil-to-ll-mlir", "hpacml-fold-subviews"]
    module = run(parsed(STENCIL), [*stencils, *names[:done], "convert-scf-to-openmp", *names[done:]])
    assert any(op.name == "omp.wsloop" for op in module.walk())
    assert not any(op.name.startswith("hpacml") for op in module.walk())
    upstream(module, "builtin.module(canonicalize)")
