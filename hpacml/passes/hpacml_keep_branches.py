"""`hpacml-keep-branches`: what is slow is computed only where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, llvm, math, scf
from xdsl.dialects.builtin import AnyFloat, ModuleOp
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder
from hpacml.passes.common.loops import has_loops, innermost_loop


@dataclass(frozen=True)
class HpacmlKeepBranchesPass(ModulePass):
    """
    Blocks of branches that divide or take roots get an effect that is nothing to a processor. LLVM would compute them
    in any case and choose between results, which takes longer than most branches. In loops that may become loops of
    vectors, which have no branches, it should: those keep what they have.

    ```mlir
    %r = scf.for %i = %0 to %n step %1 iter_args(%sum = %zero) -> (f64) {
      %s = scf.if %c -> (f64) {
        %q = arith.divf %a, %b : f64
        ...
    ```
    becomes
    ```mlir
      %s = scf.if %c -> (f64) {
        llvm.call_intrinsic "llvm.sideeffect"() : () -> ()
        %q = arith.divf %a, %b : f64
        ...
    ```
    """

    name = "hpacml-keep-branches"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        slow = [each for each in op.walk() if isinstance(each, arith.DivfOp | math.SqrtOp) and _is_in_order(each)]
        for block in dict.fromkeys(each.parent for each in slow):
            if block is not None and isinstance(block.parent_op(), scf.IfOp):
                Builder(InsertPoint.at_start(block)).insert(llvm.CallIntrinsicOp("llvm.sideeffect", [], []))


def _is_in_order(op: arith.DivfOp | math.SqrtOp) -> bool:
    """Whether the innermost loop around an operation cannot become one of vectors."""
    match loop := innermost_loop(op):
        case None:
            return False
        case scf.WhileOp():
            return True
        case scf.ForOp() if not op.fastmath.data and any(isinstance(arg.type, AnyFloat) for arg in loop.iter_args):
            return True  # sums that are taken in their order
        case _:
            return has_loops(loop)
