"""`hpacml-expand-functions`: functions in fast loops become polynomials, which LLVM makes vectors of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, math, scf
from xdsl.dialects.arith import FastMathFlagsAttr
from xdsl.dialects.builtin import AnyFloat, Float32Type, Float64Type, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.functions import Functions
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.loops import CountingLoop, give_version, innermost_loop, may_be_inside_vectors
from hpacml.passes.common.remainders import mask
from hpacml.passes.common.vectors import Floats

_MANY = 16
"""The number of iterations from which on a loop is one of vectors."""

_FUNCTIONS: dict[type[Operation], Callable[..., SSAValue]] = {
    math.ExpOp: Functions.exp,
    math.Exp2Op: Functions.exp2,
    math.LogOp: Functions.log,
    math.Log2Op: Functions.log2,
    math.Log10Op: Functions.log10,
    math.PowFOp: Functions.pow,
    math.TanhOp: Functions.tanh,
}


@dataclass(frozen=True)
class HpacmlExpandFunctionsPass(ModulePass):
    """
    `exp`, `log`, `pow` and the like with flags of fast math become arithmetic without calls and branches, where the
    loop around them may then become one of vectors. Elsewhere they stay, as the C library is faster for one number; so
    they do in a second loop, for few iterations. LLVM masks the last vector of the first.

    ```mlir
    scf.for %i = %0 to %n step %1 {
      %e = math.exp %x fastmath<reassoc> : f64
    ```
    becomes
    ```mlir
    scf.if %is_long {
      scf.for %i = %0 to %n step %1 {
        %m = arith.mulf %x, %log2_of_e : f64
        ...
        %e = arith.mulf %p, %power_of_two : f64
      } {loop_annotation = #llvm.loop_annotation<vectorize = <predicateEnable = true>>}
    } else {
      scf.for %i = %0 to %n step %1 {
        %e = math.exp %x fastmath<reassoc> : f64
    ```
    """

    name = "hpacml-expand-functions"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        calls = [each for each in op.walk() if type(each) in _FUNCTIONS and _is_fast(each)]
        calls = [each for each in calls if may_be_inside_vectors(each)]
        for loop in dict.fromkeys(map(innermost_loop, calls)):
            if loop is not None:
                _keep_for_few(loop)
        for call in calls:
            functions = Functions(Floats(cast(AnyFloat, call.results[0].type), Builder(InsertPoint.before(call))))
            Rewriter.replace_op(call, [], [_FUNCTIONS[type(call)](functions, *call.operands)])


def _keep_for_few(loop: Operation) -> None:
    """Have a copy of a loop in its place where it has few iterations."""
    assert isinstance(loop, CountingLoop)
    upper, lower = (loop.ub, loop.lb) if isinstance(loop, scf.ForOp) else (loop.upperBound[-1], loop.lowerBound[-1])
    builder = Builder(InsertPoint.before(loop))
    length = builder.insert(arith.SubiOp(upper, lower)).result
    give_version(loop, builder.insert(arith.CmpiOp(length, builder.index(_MANY), "sge")).result)
    mask(loop)


def _is_fast(op: Operation) -> bool:
    flags = op.properties.get("fastmath")
    is_known = isinstance(op.results[0].type, Float32Type | Float64Type)
    return isinstance(flags, FastMathFlagsAttr) and bool(flags.data) and is_known
