"""Kernel launches, whose threads share the points among them, and the loops and conditions inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import count
from typing import Literal, TypeAlias, cast

from xdsl.dialects import arith, gpu, memref, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr, MemRefType, ModuleOp, StringAttr, SymbolRefAttr, i32, i64
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.bodies import origin_of
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Refusal, refusal
from hpacml.passes.common.regions import captured, function_of
from hpacml.passes.common.sweeps import delinearize

THREADS = 256
"""Threads in a block. Neighbours in a block are neighbours in the innermost dimension."""

MOST_BLOCKS = 2**31 - 1
"""The most blocks of a grid; if there are more tiles, blocks stride over them."""

ACCESS = 16
"""Bytes that a thread can read or write at once, where they are aligned."""

WORKGROUP = IntegerAttr(3, i64)
"""The memory space that the threads of a block share."""

PRIVATE = IntegerAttr(5, i64)
"""The memory space that a thread has to itself."""

Kind: TypeAlias = Literal["gather", "scatter", "loop", "check"]

Inside: TypeAlias = Callable[[Poly, IndexArithmetic], None]
"""Builds the inside of a loop from its counter."""


def kind_of(kernel: str) -> Kind:
    """The kind of a kernel with a name from `KernelNames`."""
    return cast(Kind, kernel.rsplit("_", 2)[1])


def no_kernel(op: Operation, why: str, place: str = "on a GPU") -> Refusal:
    """The error for a parallel loop that cannot run in a `place`; `why` continues "it", as in "has a reduction"."""
    function = function_of(op).sym_name.data
    return refusal(op, f"a parallel loop (prange) of '{function}' cannot run {place}: it {why}")


class KernelNames:
    """Makes names for the kernels of a module, `<function>_<kind>_<n>`, that no other symbol has."""

    def __init__(self, module: ModuleOp):
        names = (op.get_attr_or_prop("sym_name") for op in module.body.block.ops)
        self._taken = {name.data for name in names if isinstance(name, StringAttr)}

    def new(self, op: Operation, kind: Kind) -> str:
        """A name for the kernel that `op` becomes."""
        function = re.sub(r"\W", "_", origin_of(op) or "", flags=re.ASCII)  # as assemblers want it
        names = (f"{function}_{kind}_{n}" for n in count())
        name = next(name for name in names if name not in self._taken)
        self._taken.add(name)
        return name


def require_device_memory(module: ModuleOp) -> None:
    """Raise `PassFailedException` if a kernel gets memory from outside that each block or thread has for itself."""
    for kernel in [op for op in module.walk() if isinstance(op, gpu.LaunchOp)]:
        for value in captured(kernel.body):
            is_array = isinstance(value.type, MemRefType)
            if is_array and cast(MemRefType, value.type).memory_space in (WORKGROUP, PRIVATE):
                what = f"an array of type {value.type} cannot be passed to a kernel"
                raise refusal(kernel, f"{what}: the memory of blocks (3) and threads (5) exists only in these")


def product(sizes: Sequence[Poly]) -> Poly:
    """The product of `sizes`."""
    return reduce(lambda a, b: a * b, sizes, Poly.constant(1))


def launch(
    name: str,
    total: Poly,
    tile: int,
    a: IndexArithmetic,
    body: Callable[[Poly, Poly, IndexArithmetic], None],
    most_blocks: int = MOST_BLOCKS,
) -> gpu.LaunchOp:
    """Build a kernel `name` over `total` points in tiles of `tile`; a block with as many threads works on a tile.

    `body` builds the work on a tile, from its first point and the thread's number; barriers may stand in it. Without
    points the grid has no blocks, which no GPU accepts: the runtime does not launch such a kernel.
    """
    tiles = a.settled(_ceildiv(total, tile, a))
    blocks = _least(tiles, a.constant(most_blocks), a)
    block = Block(arg_types=[IndexType()] * 12)
    first, thread = block.args[0], block.args[3]
    first.name_hint, thread.name_hint = "block", "thread"
    unit = a.value(a.constant(1))
    kernel = gpu.LaunchOp(Region(block), [a.value(blocks), unit, unit], [a.value(a.constant(tile)), unit, unit])
    kernel.attributes |= {"module": SymbolRefAttr(name), "function": SymbolRefAttr(name)}  # as outlining names them
    a.builder.insert(kernel)
    inner = a.apart(Builder(InsertPoint.at_end(block)))
    number = inner.number(thread)
    loop(
        inner.number(first),
        tiles,
        blocks,
        lambda n, a: body(a.settled(n * a.constant(tile)), number, a),
        inner,
    )
    inner.builder.insert(gpu.TerminatorOp())
    return kernel


def launch_points(
    name: str,
    sizes: Sequence[Poly],
    a: IndexArithmetic,
    body: Callable[[list[Poly], IndexArithmetic], None],
    most_blocks: int = MOST_BLOCKS,
) -> gpu.LaunchOp:
    """Build a kernel with a thread for each point of dimensions of `sizes`; `body` builds the work at a point."""
    total = a.settled(product(sizes))

    def tile(start: Poly, thread: Poly, a: IndexArithmetic) -> None:
        number = a.settled(start + thread)
        where(below(number, total, a), lambda a: body(delinearize(number, sizes, a), a), a)

    return launch(name, total, THREADS, a, tile, most_blocks)


def guard(kernel: gpu.LaunchOp, flag: SSAValue) -> None:
    """Make a kernel of `launch` do nothing where a flag is raised: it then has no tiles, so barriers need no care."""
    tiles = next(op for op in kernel.body.block.ops if isinstance(op, scf.ForOp))
    a = IndexArithmetic(Builder(InsertPoint.before(tiles)))
    none = a.value(a.constant(0))
    raised = a.builder.insert(memref.LoadOp.get(flag, [none])).res
    zero = a.builder.insert(arith.ConstantOp(IntegerAttr(0, i32))).result
    down = a.builder.insert(arith.CmpiOp(raised, zero, "eq")).result
    tiles.operands[1] = a.builder.insert(arith.SelectOp(down, tiles.ub, none)).result


def loop(start: Poly, stop: Poly, step: Poly, inside: Inside, a: IndexArithmetic) -> None:
    """Build a sequential loop."""
    body = Block(arg_types=[IndexType()])
    a.builder.insert(scf.ForOp(a.value(start), a.value(stop), a.value(step), [], body))
    inner = a.within(Builder(InsertPoint.at_end(body)))
    inside(inner.number(body.args[0]), inner)
    inner.builder.insert(scf.YieldOp())


def below(x: Poly, y: Poly, a: IndexArithmetic) -> SSAValue:
    """`x < y`, of numbers that are not negative."""
    return a.builder.insert(arith.CmpiOp(a.value(x), a.value(y), "ult")).result


def remaining(total: Poly, start: Poly, tile: int, a: IndexArithmetic) -> Poly:
    """The number of points in the tile from `start`: the last tile may not be full."""
    return _least(a.settled(total - start), a.constant(tile), a)


def _least(x: Poly, y: Poly, a: IndexArithmetic) -> Poly:
    known_x, known_y = x.as_int, y.as_int
    if known_x is not None and known_y is not None:
        return a.constant(min(known_x, known_y))
    return a.number(a.builder.insert(arith.MinUIOp(a.value(x), a.value(y))).result)


def _ceildiv(x: Poly, y: int, a: IndexArithmetic) -> Poly:
    if (known := x.as_int) is not None:
        return a.constant(-(-known // y))
    return a.number(a.builder.insert(arith.CeilDivUIOp(a.value(x), a.value(a.constant(y)))).result)
