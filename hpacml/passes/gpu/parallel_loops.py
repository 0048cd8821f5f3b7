"""Parallel loops of the original code as kernels: a thread for each iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xdsl.dialects import arith, func, llvm, math, memref, scf
from xdsl.dialects.builtin import ModuleOp, UnrealizedConversionCastOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import is_side_effect_free, is_speculatable

from hpacml.dialects.hpacml.attributes import PREFIXES, number_type
from hpacml.functors.polynomials import Poly
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.origins import VIEWS
from hpacml.passes.common.runtime_calls import C_FUNCTIONS
from hpacml.passes.common.sweeps import number_of
from hpacml.passes.gpu import constants
from hpacml.passes.gpu.inlining import inline_calls
from hpacml.passes.gpu.launches import KernelNames, below, launch_points, no_kernel, product
from hpacml.passes.gpu.local_arrays import (
    MOST_BLOCKS,
    capacity,
    checks_of_sizes,
    hoist_checks,
    is_check,
    is_refusal,
    local_arrays,
    place,
)
from hpacml.passes.gpu.overlaps import versions
from hpacml.passes.gpu.views import resolve_sizes

_ELEMENTWISE = {*arith.Arith.operations, *math.Math.operations}
_CONTROL = (scf.ForOp, scf.IfOp, scf.WhileOp, scf.ConditionOp, scf.YieldOp, scf.ParallelOp)
_MEMORY = (
    *(memref.LoadOp, memref.StoreOp, memref.DimOp, memref.AllocOp, memref.DeallocOp, memref.GetGlobalOp),
    *VIEWS,
)

_SAYING = ("hpacml_fail", "hpacml_print", "hpacml_number")
"""The functions by which code on the CPU says something."""


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
    constants.copy_to_gpu(module)
    for each in _outermost(module):
        resolve_sizes(each)
        for loop in versions(each):
            constants.take_in(loop)
            _check(loop)
            _launch(names.new(loop, "loop"), loop)


def _outermost(module: ModuleOp) -> list[scf.ParallelOp]:
    loops = [each for each in module.walk() if isinstance(each, scf.ParallelOp)]
    return [each for each in loops if not any(other is not each and other.is_ancestor(each) for other in loops)]


def _check(loop: Operation) -> None:
    for op in loop.walk():
        if (fault := _fault(op)) is not None:
            raise no_kernel(op, f"has {fault}")


def _fault(op: Operation) -> str | None:
    """What a kernel cannot do, as in "a reduction", None if it can do this."""
    match op:
        case scf.ReduceOp():
            return "a reduction: write what each iteration has to an array" if op.args else None
        case llvm.AddressOfOp():  # of the text for the call behind it
            return None
        case UnrealizedConversionCastOp() if _keeps_bits(op):
            return None
        case func.CallOp():
            name = op.callee.string_value()
            if name in C_FUNCTIONS or is_refusal(op):
                return None
            if name in _SAYING:
                what = "an 'assert', a 'raise' or a 'print', which only the CPU has"
                return f"{what}: write what it would tell to an array, and look at that after the call"
            return f"a call of '{name}', which only the CPU has"
        case _ if type(op) in _ELEMENTWISE or isinstance(op, (*_CONTROL, *_MEMORY, llvm.FRemOp)):
            return None
        case _ if op.name.startswith(PREFIXES):
            return f"a map or a region ({op.name}): these hold parallel loops, not the other way round"
        case _:
            return f"{op.name}, which only the CPU has"


def _keeps_bits(cast: UnrealizedConversionCastOp) -> bool:
    """Whether it only takes the sign from an integer, or gives it one."""
    given, wanted = ([number_type(value.type) for value in values] for values in (cast.operands, cast.results))
    return given == wanted


def _launch(name: str, loop: scf.ParallelOp) -> None:
    a = IndexArithmetic(Builder(InsertPoint.before(loop)))
    dimensions, between, inside = _nest(loop, a)
    sizes = [each.size for each in dimensions]
    arrays = {array: capacity(array, loop, a) for array in local_arrays(loop)}
    checks = checks_of_sizes(loop)
    hoist_checks(checks, loop, a.builder)

    def iteration(indices: list[Poly], a: IndexArithmetic) -> None:
        for each, index in zip(dimensions, indices, strict=True):
            each.counter.replace_all_uses_with(a.value(each.start + each.step * index))
        for op in [*filter(loop.is_ancestor, between), *inside.ops]:
            if not isinstance(op, scf.ReduceOp):
                op.detach()
                a.builder.insert(op)
                _make_sequential(op)

    def launch_with_arrays(a: IndexArithmetic) -> None:
        _move(checks, a.builder)
        place(arrays, launch_points(name, sizes, a, iteration, *([MOST_BLOCKS] if arrays else [])), a)

    if arrays or checks:
        where(_has_points(dimensions, a), launch_with_arrays, a)
    else:
        launch_points(name, sizes, a, iteration)
    Rewriter.erase_op(loop, safe_erase=False)


def _nest(loop: scf.ParallelOp, a: IndexArithmetic) -> tuple[list[_Dimension], list[Operation], Block]:
    """The dimensions of a perfect nest of parallel loops, the operations between them, and the innermost body.

    Checks of sizes between the loops move before them.
    """
    dimensions: list[_Dimension] = []
    between: list[Operation] = []
    level = loop
    while True:
        body = level.body.block
        for counter, *bounds in zip(body.args, level.lowerBound, level.upperBound, level.step, strict=True):
            start, stop, step = (number_of(value, a) for value in bounds)
            dimensions.append(_Dimension(counter, a.settled(start), step, a.settled(a.extent(stop - start, step))))
        *others, _ = body.ops  # the last is the scf.reduce
        inner = others.pop() if others else None
        checks = [op for op in others if is_check(op)]
        if not isinstance(inner, scf.ParallelOp) or not all(op in checks or is_side_effect_free(op) for op in others):
            return dimensions, between, body
        hoist_checks(checks, loop, a.builder)
        if checks:
            where(_has_points(dimensions, a), lambda a, checks=checks: _move(checks, a.builder), a)
        bound = [op for op in others if loop.is_ancestor(op) and not _hoist(op, loop, a.builder)]
        if any(loop.is_ancestor(value.owner) for value in inner.operands):
            return dimensions, between, body
        between += bound
        level = inner


def _has_points(dimensions: Sequence[_Dimension], a: IndexArithmetic) -> SSAValue:
    return below(a.constant(0), a.settled(product([each.size for each in dimensions])), a)


def _move(ops: Sequence[Operation], builder: Builder) -> None:
    for op in ops:
        op.detach()
        builder.insert(op)


def _hoist(op: Operation, loop: scf.ParallelOp, builder: Builder) -> bool:
    """Move an operation out of a loop, and return True, if it uses no value of the loop and may always run."""
    harmless = is_speculatable(op) or isinstance(op, memref.DimOp)
    if not harmless or any(loop.is_ancestor(value.owner) for value in op.operands):
        return False
    _move([op], builder)
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
