"""`hpacml-mask-nests`: original code that is a nest of loops over the points of a sweep makes only those asked for."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from hpacml.dialects.hpacml.original_code import BodyWhereOp


@dataclass(frozen=True)
class HpacmlMaskNestsPass(ModulePass):
    """
    Code whose stores tell which point each of its iterations makes is run with the mask: in the application's memory,
    of which the other points stay as they are. What shares memory in a call is left to `hpacml-copy-for-points`, as is
    all other code: whose stores are not seen to be of one point, or whose loops, unless they are parallel, load what
    other points store.

    ```mlir
    hpacml.body_where "r" @r_body(%n, %t, %u) at %mask from (%in) to (%out) into (%y)   // %out maps %u[1 : %n]
    ...
    func.func private @r_body(%n, %t, %u) {
      scf.parallel (%i) = (%c1) to (%n) step (%c1) {
        ...
        memref.store %x, %u[%i]
    ```
    becomes
    ```mlir
    scf.if %apart {                                                                     // %t from %u
      hpacml.body "r" @r_body_masked(%n, %mask, %t, %u)
      hpacml.gather %out into %original
      hpacml.merge %original into %y at %mask
    } else {
      hpacml.body_where "r" @r_body(%n, %t, %u) at %mask from (%in) to (%out) into (%y)
    }
    ...
    func.func private @r_body_masked(%n, %mask, %t, %u) {
      scf.parallel (%i) = (%c1) to (%n) step (%c1) {
        %p = arith.subi %i, %c1
        %reasons = memref.load %mask[%p]
        %is_rejected = arith.cmpi ne, %reasons, %c0
        scf.if %is_rejected {
          ...
          memref.store %x, %u[%i]
    ```
    """

    name = "hpacml-mask-nests"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for body in [each for each in op.walk() if isinstance(each, BodyWhereOp)]:
            # Few programs have guards, and all others do not load what it takes to follow original code.
            from hpacml.passes.masking.replacing import mask_body

            mask_body(body)
