"""`hpacml-fold-subviews`: no views that reach beyond their memory, which upstream MLIR refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, ModuleOp
from xdsl.ir import SSAValue, Use
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.intervals import interval
from hpacml.passes.common.located import Builder, Rewriter


@dataclass(frozen=True)
class HpacmlFoldSubviewsPass(ModulePass):
    """
    A subview that is larger than what is left of its memory goes, where all accesses through it are known to be inside
    of that memory. xDSL's `convert-stencil-to-ll-mlir` makes such subviews: all of a field, moved to the element at
    the origin, from which accesses go back by negative indices.

    ```mlir
    %v = memref.subview %a[1] [66] [1] : memref<66xf64> to memref<66xf64, strided<[1], offset: 1>>
    scf.for %i = %c0 to %c64 step %c1 {
      %x = memref.load %v[%i] : memref<66xf64, strided<[1], offset: 1>>
    }
    ```
    becomes
    ```mlir
    scf.for %i = %c0 to %c64 step %c1 {
      %j = arith.addi %i, %c1 : index
      %x = memref.load %a[%j] : memref<66xf64>
    }
    ```
    Others stay, and upstream MLIR refuses them. It is in no pipeline: `hpacml.compile` runs it first, and modules for
    other tools have it behind `convert-stencil-to-ll-mlir`, before loops are tiled.
    """

    name = "hpacml-fold-subviews"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for view in [each for each in op.walk() if isinstance(each, memref.SubviewOp)]:
            dims = _dims(view)
            if any(_reaches_beyond(*dim) for dim in dims) and all(_is_inside(use, dims) for use in view.result.uses):
                for use in list(view.result.uses):
                    _fold(use, view, dims)
                Rewriter.erase_op(view)


_Dim = tuple[int, int, int, int]
"""Of a dimension: the size of the memory, and offset, size and stride of the view. `DYNAMIC_INDEX` is unknown."""


def _dims(view: memref.SubviewOp) -> list[_Dim]:
    numbers = (each.get_values() for each in (view.static_offsets, view.static_sizes, view.static_strides))
    source = cast("MemRefType", view.source.type)
    return list(zip(source.get_shape(), *numbers, strict=True))


def _reaches_beyond(memory: int, offset: int, size: int, stride: int) -> bool:
    return DYNAMIC_INDEX not in (memory, offset, size, stride) and offset + (size - 1) * stride >= memory


def _is_inside(use: Use, dims: Sequence[_Dim]) -> bool:
    if not isinstance(use.operation, memref.LoadOp | memref.StoreOp) or len(use.operation.indices) != len(dims):
        return False
    for index, (memory, offset, _, stride) in zip(use.operation.indices, dims, strict=True):
        known = interval(index)
        if known is None or DYNAMIC_INDEX in (memory, offset, stride):
            return False
        if not all(0 <= offset + number * stride < memory for number in known):
            return False
    return use.operation.memref is use.operation.operands[use.index]


def _fold(use: Use, view: memref.SubviewOp, dims: Sequence[_Dim]) -> None:
    """Have an access take the element of the memory that the view has at its indices."""
    access = use.operation
    builder = Builder(InsertPoint.before(access))
    first = use.index + 1
    for position, (_, offset, _, stride) in enumerate(dims, first):
        access.operands[position] = _moved(access.operands[position], offset, stride, builder)
    access.operands[use.index] = view.source


def _moved(index: SSAValue, offset: int, stride: int, builder: Builder) -> SSAValue:
    if stride != 1:
        index = builder.insert(arith.MuliOp(index, builder.index(stride))).result
    return index if offset == 0 else builder.insert(arith.AddiOp(index, builder.index(offset))).result
