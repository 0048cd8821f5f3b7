"""`convert-hpacml-to-loops`: packing and unpacking become loops over the sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import BoolAttr, IntegerAttr, ModuleOp, StridedLayoutAttr, i8, i32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.packing import WATCH, view_type
from hpacml.dialects.hpacml_rt.bad_indices import BadIndexOp, NoneBadOp, WatchOp
from hpacml.dialects.hpacml_rt.map_checks import DistinctOp, InBoundsOp
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import Condition, IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.packed import as_packed, is_packed
from hpacml.passes.common.regions import function_of
from hpacml.passes.common.streams import bytes_of, can_stream, stream
from hpacml.passes.common.sweeps import Sweep, as_index, erase_unused_views, locate, nest, size_of

DENSE = Poly.constant(16)
"""How many bytes of scratch memory for each element touched are still cleared as a whole."""


@dataclass(frozen=True)
class ConvertHpacmlToLoopsPass(ModulePass):
    """
    One parallel loop nest over the sweep for each operation, and one of loops in order where elements are added;
    elements are converted on the way. Blocks of elements that
    lie in memory as in the tensor are one loop: at compile time where the strides are known, else where a test at run
    time (`scf.if`) finds that. With the option `stream` large tensors that are given are filled tile by tile, and the
    tiles written past the caches.

    ```mlir
    hpacml.fused_gather %west, %east into %x at %c0, %c1 features [1] : ... -> memref<?x2xf32>
    ```
    becomes
    ```mlir
    scf.parallel (%i) = (%c0) to (%n) step (%c1) {
      %a = memref.load %west[%i]
      memref.store %a, %x[%i, %c0]
      %b = memref.load %east[%i]
      memref.store %b, %x[%i, %c1]
    }
    ```
    """

    name = "convert-hpacml-to-loops"

    stream: int = 0
    """Gathers into given tensors of more bytes than this are written past the caches (x86-64); 0: none."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(_ToLoops(self.stream), apply_recursively=False).rewrite_module(op)
        erase_unused_views(op)
        for watch in [each for each in op.walk() if isinstance(each, WatchOp)]:
            _watch(watch)


@dataclass
class _ToLoops(RewritePattern):
    stream: int

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        builder = Builder(InsertPoint.before(op))
        match op:
            case InBoundsOp():
                rewriter.replace(op, [], [_in_bounds(op, builder)])
            case DistinctOp():
                rewriter.replace(op, [], [_distinct(op, builder)])
            case _:
                a = IndexArithmetic(builder)
                if (sweep := Sweep.of(op, a)) is not None:
                    _emit(sweep, self.stream, a)
                    rewriter.erase(op)


def _emit(sweep: Sweep, most: int, a: IndexArithmetic) -> None:
    """Copy what is one row in memory as one, else point by point: loops over blocks of a few elements take longer."""
    flat = _is_one_row(sweep, a)
    if flat is True:
        _copy_row(sweep, a)
    elif flat is False:
        _copy_points(sweep, most, a)
    else:
        where(a.truth(flat), lambda a: _copy_row(sweep, a), a, lambda a: _copy_points(sweep, most, a))


def _is_one_row(sweep: Sweep, a: IndexArithmetic) -> Condition:
    """Whether both the elements of blocks and those of the tensor are a row in memory, and the same."""
    if len(sweep.slices) > 1 or not sweep.sizes or isinstance(sweep.tensor_type.layout, StridedLayoutAttr):
        return False
    (slice,) = sweep.slices
    if slice.count == 1:
        return False
    whole = a.eq(sweep.feature_count, prod(slice.width, start=a.constant(1)))
    return a.all([whole, is_packed(slice.view, sweep.tensor_type, sweep.features, a)])


def _copy_row(sweep: Sweep, a: IndexArithmetic) -> None:
    length = prod([*sweep.sizes, *sweep.feature_sizes], start=a.constant(1))
    view, tensor = (as_packed(each, [length], a) for each in (sweep.slices[0].view, sweep.tensor))
    _over([length], lambda at, a: sweep.move((view, at), (tensor, at), a), a)


def _copy_points(sweep: Sweep, most: int, a: IndexArithmetic) -> None:
    if sweep.adds:  # one after the other: points may meet in an element, and sums depend on their order
        nest(sweep.sizes, (), lambda point, a: sweep.copy([a.value(index) for index in point], a), a)
        return

    def by_caches(a: IndexArithmetic) -> None:
        _over(sweep.sizes, sweep.copy, a)

    if not most or not can_stream(sweep):
        by_caches(a)
        return
    large = a.truth(a.le(a.constant(most + 1), bytes_of(sweep, a)))
    where(large, lambda a: stream(sweep, a), a, by_caches)


def _over(
    sizes: Sequence[Poly], work: Callable[[Sequence[SSAValue], IndexArithmetic], None], a: IndexArithmetic
) -> None:
    """Build parallel loops over `sizes` around `work`."""
    if not sizes:
        work([], a)
        return
    ends = [a.value(size) for size in sizes]
    zero, one = a.value(a.constant(0)), a.value(a.constant(1))
    body = Block(arg_types=[zero.type] * len(ends))
    a.builder.insert(scf.ParallelOp([zero] * len(ends), ends, [one] * len(ends), [body]))
    inner = a.within(Builder(InsertPoint.at_end(body)))
    work(body.args, inner)
    inner.builder.insert(scf.ReduceOp())


def _watch(op: WatchOp) -> None:
    """Put a watch on the stack of its function, where LLVM makes a register of it."""
    start = Builder(InsertPoint.at_start(function_of(op).body.blocks[0]), op)
    memory = start.insert(memref.AllocaOp.get(WATCH.element_type, 4, WATCH.get_shape())).memref
    for user in [op, *(use.operation for use in op.watch.uses)]:
        builder = Builder(InsertPoint.before(user))
        first = builder.index(0)
        number = builder.insert(arith.ConstantOp(IntegerAttr(int(isinstance(user, BadIndexOp)), i32))).result
        match user:
            case WatchOp():
                builder.insert(memref.StoreOp.get(number, memory, [first]))
            case BadIndexOp():
                builder.insert(memref.StoreOp.get(number, memory, [first]))
                Rewriter.erase_op(user)
            case NoneBadOp():
                noted = builder.insert(memref.LoadOp.get(memory, [first])).res
                Rewriter.replace_op(user, arith.CmpiOp(noted, number, "eq"))
            case _:
                raise refusal(user, f"a watch is told of bad indices, and asked; {user.name} does neither")
    Rewriter.erase_op(op)


def _in_bounds(op: InBoundsOp, builder: Builder) -> SSAValue:
    def test(place: Sequence[SSAValue], inside: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        memory, element = locate(op.view, place, builder)
        found = builder.insert(memref.LoadOp.get(memory, element)).res
        if op.copy is not None:
            builder.insert(memref.StoreOp.get(found, op.copy, place))
        index = as_index(found, builder)
        below = builder.insert(arith.CmpiOp(index, op.size, "ult")).result  # a negative index is a huge one
        return [builder.insert(arith.AndIOp(inside[0], below)).result]

    return _fold(op.view, [_true(builder)], test, builder)[0]


def _distinct(op: DistinctOp, builder: Builder) -> SSAValue:
    def mark(place: Sequence[SSAValue], different: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        memory, element = locate(view, place, builder)
        marked = builder.insert(memref.LoadOp.get(memory, element)).res
        builder.insert(memref.StoreOp.get(one, memory, element))
        new = builder.insert(arith.CmpiOp(marked, zero, "eq")).result
        return [builder.insert(arith.AndIOp(different[0], new)).result]

    zero, one = (builder.insert(arith.ConstantOp(IntegerAttr(n, i8))).result for n in (0, 1))
    _clear(op, zero, IndexArithmetic(builder))
    different: Sequence[SSAValue] = [_true(builder)]
    for view in op.views:
        different = _fold(view, different, mark, builder)
    return different[0]


def _clear(op: DistinctOp, zero: SSAValue, a: IndexArithmetic) -> None:
    """Clear what the views lead to, or all of the memory if that is not much more: one fill beats many jumps."""

    def clear(views: Sequence[SSAValue], a: IndexArithmetic) -> None:
        def one(place: Sequence[SSAValue], _: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
            builder.insert(memref.StoreOp.get(zero, *locate(view, place, builder)))
            return []

        for view in views:
            _fold(view, [], one, a.builder)

    if (whole := op.memory) is None:
        clear(op.views, a)
        return
    sizes = [[size_of(view, d, a) for d in range(view_type(view).get_num_dims())] for view in op.views]
    touched = sum((prod(each, start=Poly.constant(1)) for each in sizes), Poly.constant(0))
    dense = a.truth(a.le(size_of(whole, 0, a), touched * DENSE))
    where(dense, lambda a: clear([whole], a), a, lambda a: clear(op.views, a))


def _true(builder: Builder) -> SSAValue:
    return builder.insert(arith.ConstantOp(BoolAttr.from_bool(True))).result


def _fold(
    view: SSAValue,
    initial: Sequence[SSAValue],
    body: Callable[[Sequence[SSAValue], Sequence[SSAValue], Builder], Sequence[SSAValue]],
    builder: Builder,
) -> Sequence[SSAValue]:
    """Loop over all places of a view: `body` makes new values from a place and the values so far."""
    a = IndexArithmetic(builder)
    zero, one = a.value(a.constant(0)), a.value(a.constant(1))
    sizes = [a.value(size_of(view, d, a)) for d in range(view_type(view).get_num_dims())]

    def level(place: Sequence[SSAValue], carried: Sequence[SSAValue], builder: Builder) -> Sequence[SSAValue]:
        if len(place) == len(sizes):
            return body(place, carried, builder)
        block = Block(arg_types=[zero.type, *(value.type for value in carried)])
        loop = builder.insert(scf.ForOp(zero, sizes[len(place)], one, carried, block))
        inner = Builder(InsertPoint.at_end(block))
        inner.insert(scf.YieldOp(*level([*place, block.args[0]], block.args[1:], inner)))
        return loop.results

    return level([], initial, builder)
