"""`hpacml-refuse-host-accesses`: code beside kernels must not use arrays, which are in a GPU's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import affine, func, gpu, memref
from xdsl.dialects.bufferization import MaterializeInDestinationOp, ToBufferOp, ToTensorOp
from xdsl.dialects.builtin import MemRefType, ModuleOp, StringAttr, TensorType
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.dialects.hpacml_rt.map_checks import RefuseOp
from hpacml.passes.common.bodies import modules
from hpacml.passes.common.located import Rewriter, located, refusal
from hpacml.passes.common.origins import origins

FIX = (
    "write loops with hpacml.prange whose results are in arrays, or whole arrays as in a[1:] = 2 * b[:-1], which "
    "become kernels"
)


@dataclass(frozen=True)
class HpacmlRefuseHostAccessesPass(ModulePass):
    """
    Original code that reads or writes arrays outside of kernels is replaced by an error, so that a region whose model
    runs does not need code that could run on a GPU. Anywhere else such code is an error at once.

    ```mlir
    hpacml.body "heat" @heat_body(%t : memref<?xf32>)
    ...
    func.func private @heat_body(%t: memref<?xf32>) {
      memref.store %x, %t[%i] : memref<?xf32>
    }
    ```
    becomes
    ```mlir
    hpacml.body "heat" @heat_body(%t : memref<?xf32>)
    ...
    func.func private @heat_body(%t: memref<?xf32>) {
      hpacml_rt.refuse "the original code of the region 'heat' uses the array 't' on the host, but ..."
    }
    ```
    """

    name = "hpacml-refuse-host-accesses"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        bodies = {each.function: each.label.data for each in op.walk() if isinstance(each, BodyOp)}
        refused = {code: access for code in bodies if (access := next(_accesses(code), None)) is not None}
        for code, (_, array) in refused.items():
            what = f"the original code of the region '{bodies[code]}' uses {_named(array)} on the host, but"
            _replace(code, RefuseOp(StringAttr(f"{what} it is for a GPU: {FIX}")))
        for function in (each for module in modules(op) for each in module.body.block.ops):
            if isinstance(function, func.FuncOp) and _is_entry(function):
                for access, array in _accesses(function):
                    what = f"'{function.sym_name.data}' uses {_named(array)} on the host, but"
                    raise refusal(access, f"{what} is for a GPU: {FIX}")


def _replace(code: func.FuncOp, refuse: RefuseOp) -> None:
    """Make a function do nothing but refuse."""
    block = code.body.block
    for each in reversed(list(block.ops)):
        if not isinstance(each, func.ReturnOp):
            Rewriter.erase_op(each)
    Rewriter.insert_op(located(refuse, code), InsertPoint.at_start(block))


def _is_entry(function: func.FuncOp) -> bool:
    return function.sym_visibility is None or function.sym_visibility.data != "private"


def _accesses(op: Operation) -> Iterator[tuple[Operation, SSAValue]]:
    """What `op`, or a function that it calls, does with arrays outside of kernels: reads and writes, and the array."""
    for each in (inner for region in op.regions for block in region.blocks for inner in block.ops):
        match each:
            case gpu.LaunchOp():
                continue
            case memref.LoadOp() | memref.StoreOp():
                if not _is_constant(each.memref):
                    yield each, each.memref
            case affine.LoadOp() | affine.StoreOp():
                yield each, each.memref
            case memref.CopyOp():
                yield each, each.source
            case LinalgStructuredOperation() | ToTensorOp() | ToBufferOp() | MaterializeInDestinationOp():
                yield from ((each, value) for value in each.operands if isinstance(value.type, MemRefType | TensorType))
            case func.CallOp():
                if isinstance(callee := SymbolTable.lookup_symbol(each, each.callee), func.FuncOp):
                    yield from _accesses(callee)
            case _:
                yield from _accesses(each)


def _is_constant(array: SSAValue) -> bool:
    """Whether an array is known to be a constant, which the host has in its own memory."""
    return all(isinstance(origin.owner, memref.GetGlobalOp) for origin in origins(array))


def _named(array: SSAValue) -> str:
    return "an array" if array.name_hint is None else f"the array '{array.name_hint}'"
