"""Where code comes from: passes give what they make the location of the operation that it is made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float64
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.parser import Parser
from xdsl.transforms.canonicalize import CanonicalizePass
from xdsl.utils.exceptions import DiagnosticException

import hpacml
from hpacml import approx, pipelines
from hpacml.passes import get_pass
from hpacml.passes.hpacml_expand_ml import HpacmlExpandMlPass

Array = Float64[np.ndarray, "n"]

FILES = Path(__file__).parent / "filecheck"

WAYS = {
    "cpu": [*pipelines.STAGES.values()],
    "unfused": [name for stage, name in pipelines.STAGES.items() if stage != "fuse"],
    "gpu": [*pipelines.GPU_STAGES.values()],
    "kernels as loops": [
        *list(pipelines.GPU_STAGES.values())[: [*pipelines.GPU_STAGES].index("gpu") + 1],
        "hpacml-gpu-to-loops",
        "convert-hpacml-to-runtime",
    ],
}


def programs() -> list[str]:
    names = "passes/hpacml-expand-ml-indirect", "mlir/bodies", "mlir/maps", "mlir/maps-indirect"
    return [text for name in names for text in (FILES / f"{name}.mlir").read_text().split("// -----")]


def located(text: str) -> ModuleOp:
    """A module, each operation of which is in a line of its own."""
    module = Parser(pipelines.make_context(), text).parse_module()
    for line, op in enumerate(module.walk()):
        op.location = FileLineColLoc(StringAttr("r.py"), IntAttr(line), IntAttr(0))
    return module


@pytest.mark.parametrize("way", WAYS)
def test_no_operation_is_without_a_location(way: str) -> None:
    context, lowered = pipelines.make_context(), 0
    for text in programs():
        module = located(text)
        CanonicalizePass().apply(context, module)
        known = {op.location for op in module.walk()}
        try:
            for name in WAYS[way]:
                chosen = get_pass(name)
                (HpacmlExpandMlPass(report=True) if chosen is HpacmlExpandMlPass else chosen()).apply(context, module)
                lost = [str(op) for op in module.walk() if op.location not in known]
                assert not lost, (name, lost)
            lowered += 1
        except DiagnosticException:
            assert way == "gpu"  # which refuses some code
    assert lowered >= 2


@hpacml.kernel
def shifted(t: Array, new: Array, first: int):
    approx("tensor functor(point: [i] = ([i]))")
    n = t.shape[0]
    with approx("ml(collect) in(point(t[first:n])) out(point(new[first:n])) database('d.h5')"):
        for i in range(first, n):
            new[i] = 2.0 * t[i]


def test_operations_of_kernels_come_from_the_lines_of_their_statements() -> None:
    lines = shifted.py_func.__code__.co_firstlineno
    for stage in (None, "runtime"):
        module = shifted.ir() if stage is None else shifted.ir(stage)
        places = {op.name: op.location for op in module.walk() if isinstance(op.location, FileLineColLoc)}
        assert {place.filename.data for place in places.values()} == {__file__}
        found = {name: place.line.data - lines for name, place in places.items()}
        assert found["arith.mulf"] == 6
        assert found["scf.for"] == 5
        assert found["hpacml.ml" if stage is None else "llvm.mlir.addressof"] == 4


MAP = """
hpacml.functor @pair : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %n: index) {
  %x = hpacml.map to @pair(%t[%n : %n], %t[0 : 5]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<?x2xf32> loc("heat.py":3:4)
  %y = hpacml.tensor %x : !hpacml.mapping<?x2xf32> -> memref<?x2xf32>
  func.return
}
"""
ARGUMENT = """
func.func @f(%a: !hpacml.mapping<9xf32>, %x: memref<9xf32>) {
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32> loc(callsite("heat" at "main.py":1:2))
  func.return
}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MAP, "heat.py:3:4: the symbol 'i' runs over 0 values in dimension 0 of '.*' but over 5"),
        (ARGUMENT, r'loc\(callsite\("heat" at "main.py":1:2\)\): hpacml.gather takes a mapping that is an argument'),
    ],
)
def test_errors_of_passes_begin_with_the_place_in_the_source(text: str, message: str) -> None:
    module = Parser(pipelines.make_context(), text).parse_module()
    with pytest.raises(hpacml.HpacmlError, match=f"^{message}"):
        pipelines.run_passes(module)


RUN_TIME = """
hpacml.functor @point : [i, 0:1] = ([i])
func.func @run(%t: memref<?xf64>, %u: memref<?xf64>, %n: index, %use: i1) {
  %in = hpacml.map to @point(%t[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?x1xf64> loc("heat.dsl":3:4)
  %out = hpacml.map from @point(%u[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?x1xf64> loc("heat.dsl":4:5)
  hpacml.ml predicated(%use) in(%in : !hpacml.mapping<?x1xf64>) out(%out : !hpacml.mapping<?x1xf64>)
    label "r" model "no.pt2" database "no/d.h5" {
    "memref.copy"(%t, %u) : (memref<?xf64>, memref<?xf64>) -> ()
  } loc("heat.dsl":5:6)
  func.return
}
"""


@pytest.mark.parametrize(
    ("sizes", "n", "use", "message"),
    [
        ((4, 9), 5, False, r"^heat.dsl:3:4: in the map 'point\(t\[0 : \?\]\)': .* index 4 in dimension 0 of 't'"),
        ((9, 4), 5, True, r"^heat.dsl:4:5: in the map 'point\(u\[0 : \?\]\)': "),
        ((9, 9), 5, True, r"^heat.dsl:5:6: in the region 'r': .*no\.pt2"),
        ((9, 9), 5, False, r"^heat.dsl:5:6: .*no/d\.h5"),
    ],
)
def test_errors_at_run_time_begin_with_the_place_in_the_source(
    sizes: tuple[int, int], n: int, use: bool, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    t, u = (np.zeros(size) for size in sizes)
    with pytest.raises(hpacml.HpacmlError, match=message):
        hpacml.compile(RUN_TIME, "run")(t, u, n, use)


def test_a_module_that_only_differs_in_its_places_has_its_own_messages() -> None:
    for file in ("heat.dsl", "cold.dsl"):
        run = hpacml.compile(RUN_TIME.replace("heat.dsl", file), "run")
        with pytest.raises(hpacml.MapError, match=f"^{file}:3:4: "):
            run(np.zeros(4), np.zeros(9), 5, False)


def test_a_model_that_fails_is_logged_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPACML_ON_ERROR", "accurate")
    hpacml.compile(RUN_TIME.replace('label "r"', 'label "logged"'), "run")(np.zeros(5), np.zeros(5), 5, True)
    assert "heat.dsl:5:6: in the region 'logged': " in caplog.text


def test_places_in_the_text_of_the_ir_are_for_the_compiler() -> None:
    text = RUN_TIME.replace(' loc("heat.dsl":3:4)', "")
    with pytest.raises(hpacml.MapError, match=r"^in the map 'point\(t\[0 : \?\]\)'"):
        hpacml.compile(text, "run")(np.zeros(4), np.zeros(9), 5, False)
    with pytest.raises(hpacml.CompileError, match=r"^<module>:4:3: the map's type is !hpacml.mapping<\?x2xf64>, but"):
        hpacml.compile(text.replace("mapping<?x1xf64>", "mapping<?x2xf64>"), "run")
