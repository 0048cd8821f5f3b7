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

from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeGuard

from xdsl.dialects import func, gpu, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, MemRefType, i8
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dtypes import SIZES
from hpacml.functors.arithmetic import minimum
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, located
from hpacml.passes.common.strided import packed_strides, reinterpret_cast
from hpacml.passes.gpu.hoisting import Bound, compute, hoist, is_known, is_natural, most, needs
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


def hoist_checks(checks: Sequence[scf.IfOp], loop: Operation, builder: Builder) -> None:
    """Move what checks need out of a loop, and out of conditions in it.

    Raises `PassFailedException` for those whose numbers may differ between iterations.
    """
    for check in checks:
        if not all(is_known(value, loop) for value in needs(check)):
            raise no_kernel(
                check,
                "has a check of numbers that differ between iterations, as of sizes of slices that must be equal, or "
                "with HPACML_CHECK=bounds: write the loop over the elements, without this check",
            )
        for value in needs(check):
            hoist(value, loop, builder)


def most_sizes(array: memref.AllocOp, loop: Operation) -> list[Bound] | None:
    """Bounds of the dynamic sizes of an array in a loop, None if one is not known before."""
    bounds = [most(size, loop) for size in array.dynamic_sizes]
    known = [bound for bound in bounds if bound is not None]
    return known if len(known) == len(bounds) else None


def no_size(array: memref.AllocOp) -> str:
    """Why an array has no bounds, as in "has ..."."""
    what = "local array" if array.memref.name_hint is None else f"local array '{array.memref.name_hint}'"
    return (
        f"has a {what} whose size is not known before the loop: have all iterations make the largest, with a size "
        "computed of numbers and shapes"
    )


def capacity(array: memref.AllocOp, loop: Operation, a: IndexArithmetic) -> Poly:
    """The most elements that an array has in an iteration of a loop. Raises `PassFailedException` if that is unknown.

    Sizes that differ between iterations and are not negative need no check: memory for the most of them is taken.
    """
    if (bounds := most_sizes(array, loop)) is None:
        raise no_kernel(array, no_size(array))
    for check in _own_checks(array, loop):
        if not all(is_known(value, loop) for value in needs(check)):
            if not all(map(is_natural, array.dynamic_sizes)):
                raise no_kernel(array, no_size(array))
            Rewriter.erase_op(check)
    sizes = [a.number(compute(bound, loop, a.builder)) for bound in bounds]
    return product([*sizes, *(a.constant(size) for size in array.memref.type.get_shape() if size != DYNAMIC_INDEX)])


def _own_checks(array: memref.AllocOp, loop: Operation) -> list[scf.IfOp]:
    """The checks that an array has a size that memory can have."""

    def is_of_array(call: Operation) -> bool:
        return (
            isinstance(call, func.CallOp)
            and call.callee.string_value() == "hpacml_refuse_size"
            and call.arguments[0] in array.dynamic_sizes
        )

    return [check for check in checks_of_sizes(loop) if any(map(is_of_array, check.true_region.block.ops))]


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


def place(arrays: Mapping[memref.AllocOp, Poly], kernel: gpu.LaunchOp, a: IndexArithmetic) -> None:
    """Give each thread of a kernel its own arrays, in memory that the host allocates or in private memory."""
    for free in [each for each in kernel.walk() if isinstance(each, memref.DeallocOp)]:
        Rewriter.erase_op(free)
    memory = _Memory(kernel, a)
    for array, capacity in arrays.items():
        part = memory.part(array, capacity)
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


class _Memory:
    """The memory of the threads of a kernel."""

    def __init__(self, kernel: gpu.LaunchOp, a: IndexArithmetic):
        self._kernel = kernel
        self._host = a.within(Builder(InsertPoint.before(kernel)))
        self._device = device = a.apart(Builder(InsertPoint.at_start(kernel.body.block)))
        self._threads = self._host.settled(a.number(kernel.gridSizeX) * a.constant(THREADS))
        block, thread = kernel.body.block.args[0], kernel.body.block.args[3]
        self._number = device.settled(device.number(block) * device.constant(THREADS) + device.number(thread))

    def part(self, array: memref.AllocOp, capacity: Poly) -> SSAValue:
        """What a thread has of an array."""
        type = array.memref.type
        if is_plain := _takes_any_layout(array):
            _uncast(array)
        if DYNAMIC_INDEX not in type.get_shape() and prod(type.get_shape()) <= _FEW:
            return self._own(type, is_plain)
        is_fixed = not any(self._kernel.is_ancestor(size.owner) for size in array.dynamic_sizes)
        inside = self._device if is_fixed else self._device.within(Builder(InsertPoint.before(array)))
        if is_plain:
            return self._column(array, capacity, self._host if is_fixed else inside, inside)
        return self._piece(array, capacity, inside)

    def _own(self, type: MemRefType, is_plain: bool) -> SSAValue:
        """Memory that a thread has to itself, seen as any other where views are made of it."""
        own = memref.AllocaOp.get(type.element_type, shape=type.get_shape(), memory_space=PRIVATE)
        builder = self._device.builder
        builder.insert(own)
        return own.memref if is_plain else builder.insert(memref.MemorySpaceCastOp(own, type)).dest

    def _column(
        self, array: memref.AllocOp, capacity: Poly, before: IndexArithmetic, inside: IndexArithmetic
    ) -> SSAValue:
        """A part of memory whose innermost dimension are the threads, with strides that are computed `before`."""
        buffer = self._buffer(array, array.memref.type.element_type, capacity)
        sizes = [before.number(size) for size in _sizes(array)]
        strides = [before.settled(stride) for stride in packed_strides([*sizes, self._threads], before)[:-1]]
        return reinterpret_cast(buffer, self._number, sizes, strides, inside)

    def _piece(self, array: memref.AllocOp, capacity: Poly, inside: IndexArithmetic) -> SSAValue:
        """A part of memory that is packed, as views of it have to know."""
        width = SIZES[dtype_name(array.memref.type.element_type)]
        nbytes = self._host.settled(capacity * self._host.constant(width))
        buffer = self._buffer(array, i8, nbytes)
        start = inside.value(inside.settled(self._number * nbytes))
        view = memref.ViewOp(buffer, start, array.dynamic_sizes, array.memref.type)
        return inside.builder.insert(view).result

    def _buffer(self, array: memref.AllocOp, element_type: Attribute, size: Poly) -> SSAValue:
        """Memory for `size` elements of each thread."""
        host = self._host
        count = host.value(minimum(size, host.constant(_TOO_MANY), host) * self._threads)
        type = MemRefType(element_type, [DYNAMIC_INDEX], memory_space=array.memref.type.memory_space)
        buffer = host.builder.insert(memref.AllocOp([count], [], type)).memref
        buffer.name_hint = array.memref.name_hint
        Rewriter.insert_op(located(memref.DeallocOp.get(buffer), self._kernel), InsertPoint.after(self._kernel))
        return buffer
