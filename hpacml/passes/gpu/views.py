"""Sizes of arrays inside parallel loops become those that views and local arrays were made with, or are read before.

```mlir
scf.parallel (%i) = (%c0) to (%n) step (%c1) {
  %m = memref.dim %a, %c1
  %row = memref.subview %a[%i, 0] [1, %m] [1, 1]
  %size = memref.dim %row, %c0
}
```
becomes
```mlir
%size = memref.dim %a, %c1
scf.parallel (%i) = (%c0) to (%n) step (%c1) {
  %row = memref.subview %a[%i, 0] [1, %size] [1, 1]
}
```
"""

from __future__ import annotations

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.origins import sources
from hpacml.passes.gpu.local_arrays import checks_of_sizes

_NE = 1
"""The predicate of `arith.cmpi ne`."""


def resolve_sizes(loop: Operation) -> None:
    """Replace the sizes that are read in a loop, as far as they are known, and remove checks that they are equal."""
    sizes = _Sizes(loop)
    for op in list(loop.walk()):
        match op:
            case memref.DimOp():
                axis = op.index.owner
                if isinstance(axis, arith.ConstantOp) and isinstance(axis.value, IntegerAttr):
                    if (size := sizes.of(op.source, axis.value.value.data)) is not None:
                        op.result.replace_all_uses_with(size)
                        Rewriter.erase_op(op)
            case memref.ExtractStridedMetaDataOp():
                for axis, result in enumerate(op.sizes):
                    if (size := sizes.of(op.source, axis)) is not None:
                        result.replace_all_uses_with(size)
            case _:
                pass
    for check in checks_of_sizes(loop):
        differ = check.cond.owner
        if isinstance(differ, arith.CmpiOp) and differ.lhs is differ.rhs and differ.predicate.value.data == _NE:
            Rewriter.erase_op(check)


class _Sizes:
    """Sizes as values before a loop, or as what arrays in it are made with."""

    def __init__(self, loop: Operation):
        self._loop = loop
        self._builder = Builder(InsertPoint.before(loop))
        self._constants: dict[int, SSAValue] = {}
        self._read: dict[tuple[SSAValue, int], SSAValue] = {}

    def of(self, memory: SSAValue, axis: int) -> SSAValue | None:
        """The size of an array, None if it may be one or another."""
        found: dict[SSAValue, None] = {}
        seen = {memory}
        ahead = [memory]
        while ahead:
            value = ahead.pop()
            shape = SSAValue.get(value, type=MemRefType).type.get_shape()
            position = shape[:axis].count(DYNAMIC_INDEX)
            match op := value.owner:
                case _ if shape[axis] != DYNAMIC_INDEX:
                    found[self._constant(shape[axis])] = None
                case memref.AllocOp():
                    found[op.dynamic_sizes[position]] = None
                case (
                    memref.SubviewOp() | memref.ReinterpretCastOp() | memref.ViewOp()
                ):  # what a subview drops has the constant size 1
                    found[op.sizes[position]] = None
                case _ if not self._loop.is_ancestor(op):
                    found[self._dim(value, axis)] = None
                case memref.CollapseShapeOp() | memref.ExpandShapeOp():  # whose dimensions are others
                    return None
                case _:
                    if not (others := sources(value)):
                        return None
                    ahead += [source for source in others if source not in seen]
                    seen.update(others)
        return next(iter(found)) if len(found) == 1 else None

    def _constant(self, size: int) -> SSAValue:
        if size not in self._constants:
            self._constants[size] = self._builder.index(size)
        return self._constants[size]

    def _dim(self, memory: SSAValue, axis: int) -> SSAValue:
        if (memory, axis) not in self._read:
            self._read[memory, axis] = self._builder.insert(memref.DimOp(memory, self._constant(axis))).result
        return self._read[memory, axis]
