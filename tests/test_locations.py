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
    "kernels as loops": [*list(pipelines.GPU_STAGES.values())[:4], "hpacml-gpu-to-loops", "convert-hpacml-to-runtime"],
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
