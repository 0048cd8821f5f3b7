"""Arrays that a parallel loop makes for each iteration, as parts of memory that the threads of its kernel have.

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
so that the threads of a warp, which access the same element, each of its own array, have neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.builder import Builder
from xdsl.dialects import arith, func, gpu, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerAttr, MemRefType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import is_side_effect_free

from hpacml.functors.arithmetic import minimum
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.regions import captured
from hpacml.passes.common.strided import packed_strides, reinterpret_cast
from hpacml.passes.gpu.launches import PRIVATE, THREADS, product, refusal

MOST_BLOCKS = 1024
"""Of a kernel with local arrays: they keep the largest GPUs busy, and bound the memory."""

_FEW = 64
"""Elements that an array may have for a thread to keep it to itself, in registers where indices are known."""

_TOO_MANY = 2**40
"""Elements that no GPU has memory for, and far from an overflow when each thread has as many."""


def local_arrays(op: Operation) -> list[memref.AllocOp]:
    return [each for each in op.walk() if isinstance(each, memref.AllocOp)]


def hoist_sizes(arrays: Sequence[memref.AllocOp], loop: Operation, builder: Builder) -> None:
    """Move the sizes of arrays, and the checks of these, out of a loop, to where it is known to have iterations.

    Also from under conditions: the original code's divisions do not trap. Raises `PassFailedException` for sizes that
    may differ between iterations.
    """
    for array in arrays:
        _resolve_sizes(array)
    for op in [each for each in loop.walk() if _is_check(each) or each in arrays]:
        if not all(_hoist(value, loop, builder) for value in _needs(op)):
            why = "has a local array whose size is not known before the loop"
            raise refusal(
                loop, f"{why}: have all iterations make the largest, with a size computed of numbers and shapes"
            )
        if _is_check(op):
            op.detach()
            builder.insert(op)


def _resolve_sizes(array: memref.AllocOp) -> None:
    """Replace questions for the sizes of an array by these, also where it is cast for what was called with it."""
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


def _is_check(op: Operation) -> bool:
    if not isinstance(op, scf.IfOp):
        return False
    return any(isinstance(each, func.CallOp) and is_refusal(each) for each in op.true_region.block.ops)


def is_refusal(call: func.CallOp) -> bool:
    return call.callee.string_value() == "hpacml_refuse_size"


def _needs(op: Operation) -> list[SSAValue]:
    """The values from outside that an operation uses."""
    return [*op.operands, *(value for region in op.regions for value in captured(region))]


def _hoist(value: SSAValue, loop: Operation, builder: Builder) -> bool:
    """Move what a value is computed of out of a loop, if nothing of that is the loop's own."""
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
    """Give each thread of a kernel a part of its own of memory that the host allocates, or its own memory."""
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
            Rewriter.insert_op(memref.DeallocOp.get(buffer), InsertPoint.after(kernel))
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
    """The memory of all threads, of which the innermost dimension is that of the threads, and the part of one."""
    sizes = [host.number(size) for size in _sizes(array)]
    count = minimum(product(sizes), host.constant(_TOO_MANY), host) * threads
    buffer_type = MemRefType(array.memref.type.element_type, [DYNAMIC_INDEX])
    buffer = host.builder.insert(memref.AllocOp([host.value(count)], [], buffer_type)).memref
    buffer.name_hint = array.memref.name_hint
    strides = [host.settled(stride) for stride in packed_strides([*sizes, threads], host)[:-1]]
    return buffer, reinterpret_cast(buffer, number, sizes, strides, device)
