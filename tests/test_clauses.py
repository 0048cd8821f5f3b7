"""Clauses of regions stay with them: through canonicalization, and to the operations that a region becomes."""

from __future__ import annotations

from typing import TypeVar

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.transforms.canonicalize import CanonicalizePass

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.control import CollectOp, InferOp, MlOp, SampleOp
from hpacml.errors import MapError
from hpacml.functors.targets import Bounds
from hpacml.pipelines import make_context, run_passes

REGION = """
func.func @f(%a: !hpacml.mapping<9xf32>, %c: i1) {
  %true = arith.constant true
  %false = arith.constant false
  hpacml.ml predicated(CONDITION) if(%true) inout(%a : !hpacml.mapping<9xf32>) label "Wärme" model "größe.pt2" batch 16
      on_error "accurate" database "é.h5" sample <every: 2> units <t: "°C"> attributes {note = "kept"} {
    "test.op"() : () -> ()
  }
  func.return
}
"""
"""A region that has every clause."""

Op = TypeVar("Op", bound=Operation)


def module(condition: str) -> ModuleOp:
    parsed = Parser(make_context(), REGION.replace("CONDITION", condition)).parse_module()
    parsed.verify()
    return parsed


def one(kind: type[Op], module: ModuleOp) -> Op:
    (found,) = (op for op in module.walk() if isinstance(op, kind))
    return found


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
    expanded = one(kind, run_passes(module("%c"), "expand"))
    definition = kind.get_irdl_definition().properties.keys()
    assert expanded.properties.keys() == definition
    for name in definition - {"maps", "operandSegmentSizes"}:
        assert expanded.properties[name] == region.properties[name]


def test_a_map_that_is_refused_is_no_use_of_its_array() -> None:
    text = "hpacml.functor @f : [i] = ([i])\nfunc.func @g(%t: memref<4xf32>) {\n  func.return\n}"
    parsed = Parser(make_context(), text).parse_module()
    (array,) = next(op for op in parsed.walk() if op.name == "func.func").regions[0].block.args
    with pytest.raises(MapError):
        MapOp.infer(one(FunctorOp, parsed), Direction.To, [(Bounds(0, 5, 1),)], [array], [], [])
    assert not array.uses
