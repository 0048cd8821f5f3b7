"""What the pipeline verifies between its passes: all that they change, and nothing twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xdsl.dialects import arith, func
from xdsl.dialects.builtin import ModuleOp, StringAttr, f32, f64
from xdsl.ir import Operation
from xdsl.parser import Parser

from hpacml import pipelines
from hpacml.errors import CompileError
from hpacml.passes.hpacml_mask_nests import HpacmlMaskNestsPass

MODULE = """
hpacml.functor @f : [i, 0:1] = ([i])
func.func @g(%a: memref<?xf64>, %t: memref<?x1xf64>, %n: index, %x: f64, %y: f32) -> f64 {
  %z = arith.addf %x, %x : f64
  %in = hpacml.map to @f(%a[0 : %n]) : memref<?xf64> -> !hpacml.mapping<?x1xf64>
  hpacml.gather %in into %t : !hpacml.mapping<?x1xf64>, memref<?x1xf64>
  func.return %z : f64
}
"""


def first(module: ModuleOp, kind: type[Operation]) -> Operation:
    return next(op for op in module.walk() if isinstance(op, kind))


def give_other_type(module: ModuleOp) -> None:
    first(module, arith.AddfOp).results[0]._type = f32


def give_other_operand(module: ModuleOp) -> None:
    first(module, arith.AddfOp).operands[1] = first(module, func.FuncOp).regions[0].block.args[4]


def give_other_property(module: ModuleOp) -> None:
    first(module, func.FuncOp).properties["sym_name"] = StringAttr("f")


def give_other_argument(module: ModuleOp) -> None:
    first(module, func.FuncOp).regions[0].block.args[4]._type = f64


def take_the_end(module: ModuleOp) -> None:
    first(module, func.ReturnOp).detach()


def move_behind_the_end(module: ModuleOp) -> None:
    op = first(module, arith.AddfOp)
    block = op.parent
    assert block is not None
    op.detach()
    block.add_op(op)


CHANGES = [
    give_other_type,
    give_other_operand,
    give_other_property,
    give_other_argument,
    take_the_end,
    move_behind_the_end,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_pass_breaks_is_seen_behind_it(
    change: Callable[[ModuleOp], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passes behind the one that breaks something are not reached."""
    reached: list[str] = []
    monkeypatch.setattr(HpacmlMaskNestsPass, "apply", lambda _, __, module: change(module))
    monkeypatch.setattr(
        "hpacml.passes.hpacml_compact_points.HpacmlCompactPointsPass.apply", lambda *_: reached.append("compact")
    )
    with pytest.raises((CompileError, ValueError)):
        pipelines.run_passes(Parser(pipelines.make_context(), MODULE).parse_module())
    assert not reached


def test_nothing_is_verified_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    verify = ModuleOp.verify

    def counted(module: ModuleOp, verify_nested_ops: bool = True) -> None:
        seen.append(str(module))
        verify(module, verify_nested_ops)

    monkeypatch.setattr(ModuleOp, "verify", counted)
    pipelines.run_passes(Parser(pipelines.make_context(), MODULE).parse_module())
    assert len(seen) == len(set(seen)) > 3
