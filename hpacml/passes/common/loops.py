"""Loops: which may become loops of vectors in LLVM, and their versions."""

from __future__ import annotations

from typing import TypeAlias

from xdsl.dialects import func, scf
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.passes.common.located import Builder, located

_LOOPS = (scf.ForOp, scf.ParallelOp, scf.WhileOp)

CountingLoop: TypeAlias = scf.ForOp | scf.ParallelOp


def loops_of_vectors(op: Operation) -> list[CountingLoop]:
    """The loops in an operation of which LLVM may make vectors: they count, and have neither loops nor calls inside."""

    def ends(inner: Operation, loop: CountingLoop) -> bool:
        return inner is not loop and isinstance(inner, (*_LOOPS, func.CallOp))

    loops = [each for each in op.walk() if isinstance(each, CountingLoop)]
    return [loop for loop in loops if not any(ends(inner, loop) for inner in loop.walk())]


def innermost_loop(op: Operation) -> Operation | None:
    """The innermost loop around an operation; None outside of loops."""
    around = op.parent_op()
    while around is not None and not isinstance(around, _LOOPS):
        around = around.parent_op()
    return around


def give_version(loop: CountingLoop, condition: SSAValue) -> None:
    """Put a loop under a condition, and a copy of it where that does not hold."""
    then, otherwise = Block(), Block()
    choice = scf.IfOp(condition, loop.result_types, Region(then), Region(otherwise))
    Builder(InsertPoint.before(loop)).insert(choice)
    copy = loop.clone()
    for old, new in zip(loop.results, choice.results, strict=True):
        old.replace_all_uses_with(new)
    loop.detach()
    for block, version in (then, loop), (otherwise, copy):
        block.add_op(version)
        block.add_op(located(scf.YieldOp(*version.results), version))


def has_loops(op: Operation) -> bool:
    """Whether there are loops in an operation."""
    return any(inner is not op and isinstance(inner, _LOOPS) for inner in op.walk())


def may_be_inside_vectors(op: Operation) -> bool:
    """Whether there is one loop around an operation or its function, which counts, and none beside it or in calls."""
    around = innermost_loop(op)
    if around is not None:
        return not isinstance(around, scf.WhileOp) and _is_straight(around)
    function = op.parent_op()
    while function is not None and not isinstance(function, func.FuncOp):
        function = function.parent_op()
    return function is not None and _is_straight(function) and any(map(may_be_inside_vectors, calls_of(function)))


def calls_of(function: func.FuncOp) -> list[func.CallOp]:
    """The calls of a function in its module."""
    module, name = function.parent_op(), function.sym_name.data
    calls = () if module is None else (each for each in module.walk() if isinstance(each, func.CallOp))
    return [call for call in calls if call.callee.string_value() == name]


def _is_straight(op: Operation) -> bool:
    """Whether there are neither loops in an operation, nor in what it calls."""
    if has_loops(op):
        return False
    for call in op.walk():
        if isinstance(call, func.CallOp):
            callee = SymbolTable.lookup_symbol(call, call.callee)
            if not isinstance(callee, func.FuncOp) or callee.is_declaration or not _is_straight(callee):
                return False
    return True
