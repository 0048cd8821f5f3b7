"""Constant arrays in parallel loops: their kernels have the elements, since the host's memory is out of reach.

```mlir
%w = memref.get_global @hpacml_table_0 : memref<3xf64>
%rest = memref.subview %w[1] [2] [1]
scf.parallel (%i) = (%c0) to (%n) step (%c1) {
  memref.load %rest[%c0]
}
```
becomes
```mlir
scf.parallel (%i) = (%c0) to (%n) step (%c1) {
  %w = memref.get_global @hpacml_table_0_on_gpu : memref<3xf64>
  %rest = memref.subview %w[1] [2] [1]
  memref.load %rest[%c0]
}
```
Kernels have a symbol of their own, or the host's table would be taken for theirs where equal operations become one. An
array that may be a constant or another, as behind a call, is a copy in the memory of the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects import func, gpu, memref, scf
from xdsl.dialects.builtin import IndexType, ModuleOp, NoneAttr, StringAttr, SymbolRefAttr
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.origins import VIEWS
from hpacml.passes.common.regions import captured

ON_GPU = "_on_gpu"
"""The end of the names of tables that kernels have."""

_HOST = (memref.LoadOp, memref.DimOp, *VIEWS)
"""What the host does with its own tables."""


def copy_to_gpu(module: ModuleOp) -> None:
    """Have what is neither a parallel loop nor of the host use copies of constant arrays."""
    for function in [each for each in module.walk() if isinstance(each, func.FuncOp)]:
        tables: dict[str, SSAValue] = {}
        for op in list(_outside_of_loops(function)):
            for position, operand in enumerate(op.operands if not isinstance(op, _HOST) else ()):
                copies: dict[SSAValue, SSAValue] = {}
                for step in _steps(operand):
                    if isinstance(step, memref.GetGlobalOp):
                        name = step.name_.string_value()
                        if name not in tables:
                            tables[name] = _copy(step, function)
                        copies[step.memref] = tables[name]
                    else:
                        Rewriter.insert_op(step.clone(copies), InsertPoint.before(op))
                op.operands[position] = copies.get(operand, operand)


def _outside_of_loops(op: Operation) -> Iterator[Operation]:
    for each in (inner for region in op.regions for block in region.blocks for inner in block.ops):
        if not isinstance(each, scf.ParallelOp | gpu.LaunchOp):
            yield each
            yield from _outside_of_loops(each)


def _copy(op: memref.GetGlobalOp, function: func.FuncOp) -> SSAValue:
    """A copy at the start of a function, whose memory is freed when the call ends."""
    builder = Builder(InsertPoint.at_start(function.body.blocks[0]))
    table = builder.insert(memref.GetGlobalOp(op.name_, op.memref.type)).memref
    copy = builder.insert(memref.AllocOp([], [], table.type)).memref
    zero, one, *sizes = (builder.index(n) for n in (0, 1, *table.type.get_shape()))
    block = Block(arg_types=[IndexType()] * len(sizes))
    inside = Builder(InsertPoint.at_end(block))
    inside.insert(memref.StoreOp.get(inside.insert(memref.LoadOp.get(table, block.args)).res, copy, block.args))
    inside.insert(scf.ReduceOp())
    builder.insert(scf.ParallelOp([zero] * len(sizes), sizes, [one] * len(sizes), Region(block)))
    return copy


def take_in(loop: scf.ParallelOp) -> None:
    """Have a loop that becomes a kernel use its own constants, also where they are named outside."""
    copies: dict[SSAValue, SSAValue] = {}
    builder = Builder(InsertPoint.at_start(loop.body.block))
    for step in dict.fromkeys(step for value in captured(loop.body) for step in _steps(value)):
        builder.insert(step.clone(copies))
    for op in loop.walk() if copies else ():
        if op is not loop:
            for position, operand in enumerate(op.operands):
                op.operands[position] = copies.get(operand, operand)
    for op in [each for each in loop.walk() if isinstance(each, memref.GetGlobalOp)]:
        op.name_ = SymbolRefAttr(_table_on_gpu(op))


def _steps(value: SSAValue) -> list[Operation]:
    """The operations from a constant array to a view of it, none for other values."""
    steps: list[Operation] = []
    while isinstance(value.owner, VIEWS):
        steps.insert(0, value.owner)
        value = value.owner.operands[0]
    match value.owner:
        case memref.GetGlobalOp() as op if isinstance(op.memref.type.memory_space, NoneAttr):
            return [op, *steps]
        case _:
            return []


def _table_on_gpu(op: memref.GetGlobalOp) -> str:
    """The symbol of the table that kernels have in the place of another."""
    name = op.name_.string_value() + ON_GPU
    table = SymbolTable.lookup_symbol(op, op.name_)
    if isinstance(table, memref.GlobalOp) and SymbolTable.lookup_symbol(op, name) is None:
        copy = table.clone()
        copy.sym_name = StringAttr(name)
        Rewriter.insert_op(copy, InsertPoint.after(table))
    return name
