"""`hpacml-mask-divisions`: LLVM masks the last vector of loops that divide or take roots."""

from __future__ import annotations

import math as numbers
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, FloatAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from hpacml.passes.common.loops import CountingLoop, loops_of_vectors
from hpacml.passes.common.remainders import mask, varies


@dataclass(frozen=True)
class HpacmlMaskDivisionsPass(ModulePass):
    """
    LLVM masks the last vector of innermost loops that divide or take roots. A vector of these takes hardly longer than
    one number, so that what is left over behind the last whole vector may take longer than all vectors. Loops without
    such operations are faster without masks.

    ```mlir
    scf.for %i = %0 to %n step %1 {
      %q = arith.divf %x, %y : f64
      ...
    }
    ```
    becomes
    ```mlir
    scf.for %i = %0 to %n step %1 {
      %q = arith.divf %x, %y : f64
      ...
    } {loop_annotation = #llvm.loop_annotation<vectorize = <predicateEnable = true>>}
    ```
    """

    name = "hpacml-mask-divisions"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for loop in loops_of_vectors(op):
            if any(_is_slow(each, loop) for each in loop.body.ops):
                mask(loop)


def _is_slow(op: Operation, loop: CountingLoop) -> bool:
    """Whether an operation is a root or a division at each iteration, which does not become a multiplication."""
    if not op.results or not isinstance(op.results[0].type, Float32Type | Float64Type):
        return False
    match op:
        case math.SqrtOp():
            return varies(op.operand, loop)
        case arith.DivfOp() if op.fastmath.data:
            return varies(op.rhs, loop)
        case arith.DivfOp():
            return not _is_power_of_two(op.rhs) and (varies(op.lhs, loop) or varies(op.rhs, loop))
        case _:
            return False


def _is_power_of_two(value: SSAValue) -> bool:
    match value.owner:
        case arith.ConstantOp(value=FloatAttr() as constant):
            return abs(numbers.frexp(constant.value.data)[0]) == 0.5
        case _:
            return False
