"""`hpacml-roll-remainders`: LLVM does not unroll what is left over behind vectors."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from hpacml.passes.common.loops import loops_of_vectors
from hpacml.passes.common.remainders import roll


@dataclass(frozen=True)
class HpacmlRollRemaindersPass(ModulePass):
    """
    LLVM does not unroll innermost loops of neighbours without calls. It makes vectors of them. What is left over behind
    these, and what runs where arrays overlap, would be a third of the machine's code, which takes time to make.

    ```mlir
    scf.for %i = %0 to %n step %1 {
      memref.store %x, %a[%i] : memref<?xf64>
    }
    ```
    becomes
    ```mlir
    scf.for %i = %0 to %n step %1 {
      memref.store %x, %a[%i] : memref<?xf64>
    } {loop_annotation = #llvm.loop_annotation<unroll = <runtimeDisable = true>>}
    ```
    """

    name = "hpacml-roll-remainders"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for loop in loops_of_vectors(op):
            roll(loop)
