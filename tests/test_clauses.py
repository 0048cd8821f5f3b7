"""Clauses of regions stay with them: from the grammar to an operation, through canonicalization, to the operations that
a region becomes, and to what their call sites tell the runtime."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import pytest
from xdsl.dialects import test
from xdsl.dialects.builtin import ModuleOp, i1
from xdsl.ir import Operation, Region, SSAValue
from xdsl.parser import Parser
from xdsl.transforms.canonicalize import CanonicalizePass

from hpacml.abi.records import (
    CollectSite,
    InferSite,
    SampleSite,
    Site,
    Source,
    TensorType,
)
from hpacml.clauses import Bounds, Sampling
from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.steps import CollectOp, InferOp, SampleOp
from hpacml.directives.parser import _grammar, parse
from hpacml.directives.syntax import MlDirective
from hpacml.errors import MapError
from hpacml.frontend.guarding import Where
from hpacml.frontend.ml import ml_op
from hpacml.functors import targets
from hpacml.pipelines import make_context, run_passes

REGION = """
hpacml.functor @point : [i] = ([i])
func.func @f(%t: memref<9xf32>, %c: i1, %step: f64) {
  %a = hpacml.map inout @point(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %true = arith.constant true
  %false = arith.constant false
  %b = hpacml.map to @point(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml predicated(CONDITION) if(%true) inout(%a : !hpacml.mapping<9xf32>) truth(%b : !hpacml.mapping<9xf32>)
      numbers(%step) guard <range, margin: 0.1, distance: 4.0, below: 0.5> where "x > limit" names ["x", "limit"]
      points(%b : !hpacml.mapping<9xf32>) at(%step) verify <every: 10, tolerance: 0.01> pointwise label "Wärme" model "größe.pt2" batch 16 on_error "accurate" engine "auto" clip <0.0:1.0>
      project "conserve" database "é.h5" sample <every: 2> units <t: "°C"> meta ["step"] attributes {note = "kept"} {
    "test.op"() : () -> ()
  }
  func.return
}
"""
"""A region that has every clause."""

DIRECTIVE = (
    'ml(predicated: c) in(a) out(b) inout(d) model("m.pt2") database("d.h5") label("heat") if(c) batch(16) engine(auto) '
    'sample(every: 2) units(a: "K") meta(step: n + 1) truth(e, f) '
    "guard(where: x > limit, range, margin: 0.1) clip(b: 0:1) project(conserve) pointwise "
    "verify(every: 10, tolerance: 0.01)"
)
"""The same as a directive."""

OPERANDS = {"in", "out", "inout", "if", "truth"}
"""The clauses that are operands of the operation; the others are properties."""

Op = TypeVar("Op", bound=Operation)


def module(condition: str) -> ModuleOp:
    parsed = Parser(make_context(), REGION.replace("CONDITION", condition)).parse_module()
    parsed.verify()
    return parsed


def one(kind: type[Op], module: ModuleOp) -> Op:
    (found,) = (op for op in module.walk() if isinstance(op, kind))
    return found


def directive() -> MlDirective:
    parsed = parse(DIRECTIVE)
    assert isinstance(parsed, MlDirective)
    return parsed


def test_the_directive_has_every_clause() -> None:
    grammar = _grammar()
    words = {terminal.name: terminal.pattern.value for terminal in grammar.terminals}
    clauses = {words[rule.expansion[0].name] for rule in grammar.rules if rule.origin.name == "clause"}
    assert directive().clauses.keys() == clauses
    assert parse(directive().canonical) == directive()


def test_a_region_has_the_clauses_of_its_directive() -> None:
    condition = test.TestOp(result_types=[i1]).results[0]
    where = Where[SSAValue]("x > limit", {}, {})
    clip = [Bounds(None, 0.0, 1.0)]
    region = ml_op(directive(), "f", [], condition, condition, [], Region(), "raise", where, clip)
    assert region.properties.keys() == MlOp.get_irdl_definition().properties.keys()
    assert directive().clauses.keys() - OPERANDS - {"verify"} <= region.properties.keys()


def test_the_region_has_every_clause() -> None:
    assert one(MlOp, module("%c")).properties.keys() == MlOp.get_irdl_definition().properties.keys()


@pytest.mark.parametrize(("condition", "left"), [("%c", set()), ("%true", {"sample"}), ("%false", set())])
def test_canonicalization_keeps_clauses(condition: str, left: set[str]) -> None:
    before, after = module(condition), module(condition)
    CanonicalizePass().apply(make_context(), after)
    after.verify()
    region, kept = one(MlOp, before), one(MlOp, after)
    assert kept.if_condition is None
    assert kept.attributes == region.attributes
    changed = left | {"mode", "operandSegmentSizes"}
    assert kept.properties.keys() == region.properties.keys() - left
    assert {k: v for k, v in kept.properties.items() if k not in changed} == {
        k: v for k, v in region.properties.items() if k not in changed
    }


@pytest.mark.parametrize("kind", [InferOp, CollectOp, SampleOp])
def test_what_a_region_becomes_has_its_clauses(kind: type[Operation]) -> None:
    region = one(MlOp, module("%c"))
    expanded, *_ = (op for op in run_passes(module("%c"), "expand").walk() if isinstance(op, kind))
    definition = kind.get_irdl_definition().properties.keys()
    assert expanded.properties.keys() == definition
    for name in definition - {"maps", "truth", "operandSegmentSizes"}:
        assert expanded.properties[name] == region.properties[name]


ABI_PAGE = (Path(__file__).parents[1] / "docs" / "runtime-abi.md").read_text()
TENSORS = TensorType("f32", 2), TensorType("i64", 0)
SITES = [
    (InferOp, InferSite("heat", Source("m.pt2"), 16, "raise", ("f(a)",), TENSORS[:1], TENSORS[1:], "compiled")),
    (InferOp, InferSite("heat", Source(), None, None, (), TENSORS, TENSORS)),
    (SampleOp, SampleSite("heat", Source(argument="db"), Sampling(every=2, fraction=0.5, seed=7))),
    (CollectOp, CollectSite("heat", Source("d.h5"), ("f(a)",), TENSORS[:1], TENSORS[1:], Sampling(2), (("a", "K"),))),
    (CollectOp, CollectSite("heat", Source(), ("f(a)",), TENSORS, TENSORS, meta=("step",), truth=("f(b)",))),
    (CollectOp, CollectSite("heat", Source(), (), TENSORS, TENSORS)),
]


@pytest.mark.parametrize(("kind", "site"), SITES)
def test_a_call_site_tells_what_its_operation_has(kind: type[Operation], site: Site) -> None:
    told = {field.name for field in fields(site)}
    assert kind.get_irdl_definition().properties.keys() - {"operandSegmentSizes"} == told - {
        "inputs",
        "outputs",
        "place",
        "reasons",
    }


@pytest.mark.parametrize("site", [site for _, site in SITES])
def test_a_call_site_is_read_as_it_was_written(site: InferSite | SampleSite | CollectSite) -> None:
    record = json.loads(site.to_json())
    assert record["kind"] == site.kind
    assert site.parse(record) == site
    assert not [key for key in record if f"`{key}`" not in ABI_PAGE]


def test_a_map_that_is_refused_is_no_use_of_its_array() -> None:
    text = "hpacml.functor @f : [i] = ([i])\nfunc.func @g(%t: memref<4xf32>) {\n  func.return\n}"
    parsed = Parser(make_context(), text).parse_module()
    (array,) = next(op for op in parsed.walk() if op.name == "func.func").regions[0].block.args
    with pytest.raises(MapError):
        MapOp.infer(one(FunctorOp, parsed), Direction.To, [(targets.Bounds(0, 5, 1),)], [array], [], [])
    assert not array.uses
