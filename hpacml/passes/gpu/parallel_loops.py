"""Parallel loops of the original code as kernels: a thread for each iteration."""

from __future__ import annotations

from typing import NamedTuple

from xdsl.dialects import arith, func, llvm, math, memref, scf
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import is_side_effect_free, is_speculatable

from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.sweeps import number_of
from hpacml.passes.gpu.inlining import inline_calls
from hpacml.passes.gpu.launches import KernelNames, below, launch_points, no_kernel, product
from hpacml.passes.gpu.local_arrays import MOST_BLOCKS, hoist_sizes, is_check, is_refusal, local_arrays, place

_ELEMENTWISE = {*arith.Arith.operations, *math.Math.operations}
_CONTROL = (scf.ForOp, scf.IfOp, scf.WhileOp, scf.ConditionOp, scf.YieldOp, scf.ParallelOp)
_MEMORY = (memref.LoadOp, memref.StoreOp, memref.DimOp, memref.CastOp, memref.AllocOp, memref.DeallocOp)

C_FUNCTIONS = ("erf", "erfc", "expm1", "pow", "powf")
"""The functions of the C library that kernels may call: device libraries have them too."""


class _Dimension(NamedTuple):
    counter: SSAValue
    start: Poly
    step: Poly
    size: Poly


def launch_parallel_loops(module: ModuleOp, names: KernelNames) -> None:
    """Turn outermost parallel loops into kernels; a perfect nest of loops becomes one kernel.

    Raises `PassFailedException` for what a kernel cannot do.
    """
    inline_calls(module, _outermost(module))
    for loop in _outermost(module):
        _check(loop)
        _launch(names.new(loop, "loop"), loop)


def _outermost(module: ModuleOp) -> list[scf.ParallelOp]:
    loops = [each for each in module.walk() if isinstance(each, scf.ParallelOp)]
    return [each for each in loops if not any(other is not each and other.is_ancestor(each) for other in loops)]


def _check(op: Operation) -> None:
    for each in op.walk():
        match each:
            case scf.ReduceOp() if each.args:
                fault = "a reduction: write what each iteration has to an array"
            case func.CallOp():
                if each.callee.string_value() in C_FUNCTIONS or is_refusal(each):
                    continue
                fault = f"a call of '{each.callee.string_value()}', which only the CPU has"
            case scf.ReduceOp():
                continue
            case llvm.AddressOfOp() if is_check(each.parent_op()):
                continue
            case _ if type(each) in _ELEMENTWISE or isinstance(each, (*_CONTROL, *_MEMORY, llvm.FRemOp)):
                continue
            case _ if each.name.startswith(PREFIXES):
                fault = f"a map or a region ({each.name}): these hold parallel loops, not the other way round"
            case _:
                fault = f"{each.name}, which only the CPU has"
        raise no_kernel(op, f"has {fault}")


def _launch(name: str, loop: scf.ParallelOp) -> None:
    a = IndexArithmetic(Builder(InsertPoint.before(loop)))
    dimensions, between, inside = _nest(loop, a)
    sizes = [each.size for each in dimensions]

    def iteration(indices: list[Poly], a: IndexArithmetic) -> None:
        for each, index in zip(dimensions, indices, strict=True):
            each.counter.replace_all_uses_with(a.value(each.start + each.step * index))
        for op in [*between, *inside.ops]:
            if not isinstance(op, scf.ReduceOp):
                op.detach()
                a.builder.insert(op)
                _make_sequential(op)

    def launch_with_arrays(a: IndexArithmetic) -> None:
        hoist_sizes(arrays, loop, a.builder)
        place(arrays, launch_points(name, sizes, a, iteration, *([MOST_BLOCKS] if arrays else [])))

    arrays = local_arrays(loop)
    if arrays or any(map(is_check, loop.walk())):
        where(below(a.constant(0), a.settled(product(sizes)), a), launch_with_arrays, a)
    else:
        launch_points(name, sizes, a, iteration)
    Rewriter.erase_op(loop, safe_erase=False)


def _nest(loop: scf.ParallelOp, a: IndexArithmetic) -> tuple[list[_Dimension], list[Operation], Block]:
    """The dimensions of a perfect nest of parallel loops, the operations between them, and the innermost body."""
    dimensions: list[_Dimension] = []
    between: list[Operation] = []
    while True:
        body = loop.body.block
        for counter, *bounds in zip(body.args, loop.lowerBound, loop.upperBound, loop.step, strict=True):
            start, stop, step = (number_of(value, a) for value in bounds)
            dimensions.append(_Dimension(counter, a.settled(start), step, a.settled(a.extent(stop - start, step))))
        *others, _ = body.ops  # the last is the scf.reduce
        inner = others.pop() if others else None
        if not isinstance(inner, scf.ParallelOp) or not all(map(is_side_effect_free, others)):
            return dimensions, between, body
        bound = [op for op in others if not _hoist(op, loop, a.builder)]
        if any(loop.is_ancestor(value.owner) for value in inner.operands):
            return dimensions, between, body
        between += bound
        loop = inner


def _hoist(op: Operation, loop: scf.ParallelOp, builder: Builder) -> bool:
    """Move an operation out of a loop, and return True, if it uses no value of the loop and may always run."""
    harmless = is_speculatable(op) or isinstance(op, memref.DimOp)
    if not harmless or any(loop.is_ancestor(value.owner) for value in op.operands):
        return False
    op.detach()
    builder.insert(op)
    return True


def _make_sequential(op: Operation) -> None:
    """Make the parallel loops in an operation sequential, with the last dimension innermost."""
    for loop in [each for each in op.walk(reverse=True) if isinstance(each, scf.ParallelOp)]:
        builder = Builder(InsertPoint.before(loop))
        counters: list[SSAValue] = []
        for lower, upper, step in zip(loop.lowerBound, loop.upperBound, loop.step, strict=True):
            body = Block(arg_types=[lower.type])
            builder.insert(scf.ForOp(lower, upper, step, [], body))
            Builder(InsertPoint.at_end(body)).insert(scf.YieldOp())
            counters.append(body.args[0])
            builder = Builder(InsertPoint.at_start(body))
        for counter, own in zip(loop.body.block.args, counters, strict=True):
            counter.replace_all_uses_with(own)
        for each in list(loop.body.block.ops):
            each.detach()
            if not isinstance(each, scf.ReduceOp):
                builder.insert(each)
        Rewriter.erase_op(loop)
