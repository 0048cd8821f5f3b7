"""Arrays that a parallel loop makes in each iteration become parts of memory that the threads of its kernel own.

```mlir
scf.parallel (%i) = (%c0) to (%n) step (%c1) {
  %b = memref.alloc(%m) : memref<?xf64>
  memref.store %x, %b[%j]
}
```
becomes
```mlir
%buffer = memref.alloc(%all) : memref<?xf64>                          // %all = %m * %threads
gpu.launch blocks(%block) in (%blocks) threads(%thread) in (%c256) {
  %b = memref.reinterpret_cast %buffer to offset: [%own], sizes: [%m], strides: [%threads]
  memref.store %x, %b[%j]                                             // %own = %block * 256 + %thread
}
memref.dealloc %buffer
```
so that the threads of a warp, each at the same element of its own array, access neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, func, gpu, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerAttr, MemRefType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import is_side_effect_free

from hpacml.functors.arithmetic import minimum
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, located
from hpacml.passes.common.regions import captured
from hpacml.passes.common.strided import packed_strides, reinterpret_cast
from hpacml.passes.gpu.launches import PRIVATE, THREADS, no_kernel, product

MOST_BLOCKS = 1024
"""The most blocks of a kernel with local arrays: enough to keep the largest GPUs busy, and a bound of the memory."""

_FEW = 64
"""The most elements of an array in a thread's private memory, which is in registers where indices are known."""

_TOO_MANY = 2**40
"""More elements than any GPU has memory for, yet far from an overflow when each thread has as many."""


def local_arrays(op: Operation) -> list[memref.AllocOp]:
    """The arrays that are made inside an operation."""
    return [each for each in op.walk() if isinstance(each, memref.AllocOp)]


def hoist_sizes(arrays: Sequence[memref.AllocOp], loop: Operation, builder: Builder) -> None:
    """Move the sizes of arrays, and the checks of sizes, out of a loop that is known to have iterations.

    They leave conditions, too: divisions of the original code do not trap. Raises `PassFailedException` for sizes
    that may differ between iterations.
    """
    for array in arrays:
        _resolve_sizes(array)
    for op in [each for each in loop.walk() if is_check(each) or each in arrays]:
        if not all(_hoist(value, loop, builder) for value in _needs(op)):
            why = "has a local array whose size is not known before the loop"
            raise no_kernel(
                loop, f"{why}: have all iterations make the largest, with a size computed of numbers and shapes"
            )
        if is_check(op):
            op.detach()
            builder.insert(op)


def _resolve_sizes(array: memref.AllocOp) -> None:
    """Replace `memref.dim` of an array by its sizes, and remove the casts that inlined calls needed."""
    while casts := [use.operation for use in array.memref.uses if isinstance(use.operation, memref.CastOp)]:
        for cast in casts:
            Rewriter.replace_op(cast, [], [array.memref])
    sizes = _sizes(array)
    for dim in [use.operation for use in array.memref.uses if isinstance(use.operation, memref.DimOp)]:
        index = dim.index.owner
        if isinstance(index, arith.ConstantOp) and isinstance(index.value, IntegerAttr):
            size = sizes[index.value.value.data]
            if isinstance(size, SSAValue):
                Rewriter.replace_op(dim, [], [size])
            else:
                Rewriter.replace_op(dim, arith.ConstantOp(IntegerAttr(size, IndexType())))


def _sizes(array: memref.AllocOp) -> list[int | SSAValue]:
    dynamic = iter(array.dynamic_sizes)
    return [next(dynamic) if size == DYNAMIC_INDEX else size for size in array.memref.type.get_shape()]


def is_check(op: Operation | None) -> bool:
    """Whether an operation checks the size of an array."""
    if not isinstance(op, scf.IfOp):
        return False
    return any(isinstance(each, func.CallOp) and is_refusal(each) for each in op.true_region.block.ops)


def is_refusal(call: func.CallOp) -> bool:
    """Whether a call refuses the size of an array."""
    return call.callee.string_value() in ("hpacml_refuse_size", "hpacml_refuse_sizes")


def _needs(op: Operation) -> list[SSAValue]:
    """The values that an operation, with its regions, uses from outside."""
    return [*op.operands, *(value for region in op.regions for value in captured(region))]


def _hoist(value: SSAValue, loop: Operation, builder: Builder) -> bool:
    """Move the computation of a value out of a loop. Returns False if it depends on values of the loop."""
    op = value.owner
    if not loop.is_ancestor(op):
        return True
    if isinstance(op, Block) or not is_side_effect_free(op):
        return False
    if not all(_hoist(needed, loop, builder) for needed in _needs(op)):
        return False
    op.detach()
    builder.insert(op)
    return True


def place(arrays: Sequence[memref.AllocOp], kernel: gpu.LaunchOp) -> None:
    """Give each thread of a kernel its own arrays, in memory that the host allocates or in private memory."""
    host = IndexArithmetic(Builder(InsertPoint.before(kernel)))
    device = host.apart(Builder(InsertPoint.at_start(kernel.body.block)))
    threads = host.settled(host.number(kernel.gridSizeX) * host.constant(THREADS))
    block, thread = kernel.body.block.args[0], kernel.body.block.args[3]
    number = device.settled(device.number(block) * device.constant(THREADS) + device.number(thread))
    for array in arrays:
        if _is_small(array.memref.type):
            part = _own(array, device)
        else:
            buffer, part = _shared(array, threads, number, host, device)
            Rewriter.insert_op(located(memref.DeallocOp.get(buffer), kernel), InsertPoint.after(kernel))
        for free in [use.operation for use in array.memref.uses if isinstance(use.operation, memref.DeallocOp)]:
            Rewriter.erase_op(free)
        part.name_hint = array.memref.name_hint
        Rewriter.replace_op(array, [], [part])


def _is_small(type: MemRefType) -> bool:
    return DYNAMIC_INDEX not in type.get_shape() and prod(type.get_shape()) <= _FEW


def _own(array: memref.AllocOp, device: IndexArithmetic) -> SSAValue:
    type = array.memref.type
    own = memref.AllocaOp.get(type.element_type, shape=type.get_shape(), memory_space=PRIVATE)
    return device.builder.insert(own).memref


def _shared(
    array: memref.AllocOp, threads: Poly, number: Poly, host: IndexArithmetic, device: IndexArithmetic
) -> tuple[SSAValue, SSAValue]:
    """The memory of all threads, which are its innermost dimension, and the part of one thread."""
    sizes = [host.number(size) for size in _sizes(array)]
    count = minimum(product(sizes), host.constant(_TOO_MANY), host) * threads
    array_type = array.memref.type
    buffer_type = MemRefType(array_type.element_type, [DYNAMIC_INDEX], memory_space=array_type.memory_space)
    buffer = host.builder.insert(memref.AllocOp([host.value(count)], [], buffer_type)).memref
    buffer.name_hint = array.memref.name_hint
    strides = [host.settled(stride) for stride in packed_strides([*sizes, threads], host)[:-1]]
    return buffer, reinterpret_cast(buffer, number, sizes, strides, device)
