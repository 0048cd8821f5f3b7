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
so that the threads of a warp, each at the same element of its own array, access neighbours in memory. Where views are
made of an array, each thread has its elements side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeGuard

from xdsl.dialects import func, gpu, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, i8
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import is_side_effect_free

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dtypes import SIZES
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


def checks_of_sizes(op: Operation) -> list[scf.IfOp]:
    """The checks of the sizes of arrays inside an operation."""
    return [each for each in op.walk() if is_check(each)]


def hoist_needs(op: Operation, loop: Operation, builder: Builder) -> None:
    """Move what the numbers of an array or a check are computed of out of a loop, and out of conditions in it.

    Divisions of the original code do not trap. Raises `PassFailedException` for numbers that may differ between
    iterations.
    """
    if (why := unknown(op, loop)) is not None:
        raise no_kernel(op, f"has {why}")
    for value in _needs(op):
        _hoist(value, loop, builder)


def unknown(op: Operation, loop: Operation) -> str | None:
    """Why an array or a check cannot be known before a loop, as in "a check of ...", None if it can be."""
    if all(_is_known(value, loop) for value in _needs(op)):
        return None
    if not isinstance(op, memref.AllocOp):
        return (
            "a check of numbers that differ between iterations, as of sizes of slices that must be equal, or with "
            "HPACML_CHECK=bounds: write the loop over the elements, without this check"
        )
    what = "local array" if op.memref.name_hint is None else f"local array '{op.memref.name_hint}'"
    return (
        f"a {what} whose size is not known before the loop: have all iterations make the largest, with a size "
        "computed of numbers and shapes"
    )


def _sizes(array: memref.AllocOp) -> list[int | SSAValue]:
    dynamic = iter(array.dynamic_sizes)
    return [next(dynamic) if size == DYNAMIC_INDEX else size for size in array.memref.type.get_shape()]


def is_check(op: Operation | None) -> TypeGuard[scf.IfOp]:
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


def _is_known(value: SSAValue, loop: Operation) -> bool:
    """Whether a value does not depend on values of a loop."""
    op = value.owner
    if not loop.is_ancestor(op):
        return True
    return not isinstance(op, Block) and is_side_effect_free(op) and all(_is_known(need, loop) for need in _needs(op))


def _hoist(value: SSAValue, loop: Operation, builder: Builder) -> None:
    """Move the computation of a known value out of a loop."""
    op = value.owner
    if isinstance(op, Operation) and loop.is_ancestor(op):
        for need in _needs(op):
            _hoist(need, loop, builder)
        op.detach()
        builder.insert(op)


def place(arrays: Sequence[memref.AllocOp], kernel: gpu.LaunchOp) -> None:
    """Give each thread of a kernel its own arrays, in memory that the host allocates or in private memory."""
    host = IndexArithmetic(Builder(InsertPoint.before(kernel)))
    device = host.apart(Builder(InsertPoint.at_start(kernel.body.block)))
    threads = host.settled(host.number(kernel.gridSizeX) * host.constant(THREADS))
    block, thread = kernel.body.block.args[0], kernel.body.block.args[3]
    number = device.settled(device.number(block) * device.constant(THREADS) + device.number(thread))
    for free in [each for each in kernel.walk() if isinstance(each, memref.DeallocOp)]:
        Rewriter.erase_op(free)
    for array in arrays:
        if is_plain := _takes_any_layout(array):
            _uncast(array)
        if _is_small(array.memref.type):
            part = _own(array, is_plain, device)
        else:
            share = _column if is_plain else _piece
            buffer, part = share(array, threads, number, host, device)
            buffer.name_hint = array.memref.name_hint
            Rewriter.insert_op(located(memref.DeallocOp.get(buffer), kernel), InsertPoint.after(kernel))
        part.name_hint = array.memref.name_hint
        Rewriter.replace_op(array, [], [part])


def _takes_any_layout(array: memref.AllocOp | memref.CastOp) -> bool:
    """Whether an array is accessed by elements alone, so that nothing else depends on how they lie in memory."""
    return all(
        isinstance(user, memref.LoadOp | memref.StoreOp | memref.DimOp)
        or (isinstance(user, memref.CastOp) and _takes_any_layout(user))
        for user in _users(array)
    )


def _uncast(array: memref.AllocOp) -> None:
    """Remove the casts that inlined calls needed."""
    while casts := [user for user in _users(array) if isinstance(user, memref.CastOp)]:
        for cast in casts:
            Rewriter.replace_op(cast, [], [array.memref])


def _users(array: memref.AllocOp | memref.CastOp) -> list[Operation]:
    return [use.operation for use in array.results[0].uses]


def _is_small(type: MemRefType) -> bool:
    return DYNAMIC_INDEX not in type.get_shape() and prod(type.get_shape()) <= _FEW


def _own(array: memref.AllocOp, is_plain: bool, device: IndexArithmetic) -> SSAValue:
    """Memory that a thread has to itself, seen as any other where views are made of it."""
    type = array.memref.type
    own = memref.AllocaOp.get(type.element_type, shape=type.get_shape(), memory_space=PRIVATE)
    device.builder.insert(own)
    return own.memref if is_plain else device.builder.insert(memref.MemorySpaceCastOp(own, type)).dest


def _column(
    array: memref.AllocOp, threads: Poly, number: Poly, host: IndexArithmetic, device: IndexArithmetic
) -> tuple[SSAValue, SSAValue]:
    """The memory of all threads, which are its innermost dimension, and the part of one thread."""
    sizes = [host.number(size) for size in _sizes(array)]
    buffer = _buffer(array, array.memref.type.element_type, product(sizes), threads, host)
    strides = [host.settled(stride) for stride in packed_strides([*sizes, threads], host)[:-1]]
    return buffer, reinterpret_cast(buffer, number, sizes, strides, device)


def _piece(
    array: memref.AllocOp, threads: Poly, number: Poly, host: IndexArithmetic, device: IndexArithmetic
) -> tuple[SSAValue, SSAValue]:
    """The memory of all threads, and the part of one thread, which is packed, as views of it have to know."""
    size = product([host.number(size) for size in _sizes(array)])
    nbytes = host.settled(size * host.constant(SIZES[dtype_name(array.memref.type.element_type)]))
    buffer = _buffer(array, i8, nbytes, threads, host)
    start = device.value(device.settled(number * nbytes))
    return buffer, device.builder.insert(memref.ViewOp(buffer, start, array.dynamic_sizes, array.memref.type)).result


def _buffer(
    array: memref.AllocOp, element_type: Attribute, size: Poly, threads: Poly, host: IndexArithmetic
) -> SSAValue:
    """Memory for `size` elements of each thread."""
    count = host.value(minimum(size, host.constant(_TOO_MANY), host) * threads)
    type = MemRefType(element_type, [DYNAMIC_INDEX], memory_space=array.memref.type.memory_space)
    return host.builder.insert(memref.AllocOp([count], [], type)).memref
