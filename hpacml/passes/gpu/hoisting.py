"""Moves computations out of parallel loops, and bounds before a loop what is computed in its iterations."""

from __future__ import annotations

from functools import reduce
from typing import TypeAlias

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import is_side_effect_free

from hpacml.passes.common.located import Builder
from hpacml.passes.common.regions import captured

Bound: TypeAlias = "SSAValue | tuple[type[_Arithmetic], Bound, Bound]"
"""A number that is known before a loop, or is computed of such numbers."""

_Arithmetic: TypeAlias = arith.MinSIOp | arith.MaxSIOp | arith.AddiOp | arith.SubiOp


def needs(op: Operation) -> list[SSAValue]:
    """The values that an operation, with its regions, uses from outside."""
    return [*op.operands, *(value for region in op.regions for value in captured(region))]


def is_known(value: SSAValue, loop: Operation) -> bool:
    """Whether a value does not depend on values of a loop."""
    op = value.owner
    if not loop.is_ancestor(op):
        return True
    return not isinstance(op, Block) and is_side_effect_free(op) and all(is_known(need, loop) for need in needs(op))


def hoist(value: SSAValue, loop: Operation, builder: Builder) -> SSAValue:
    """Move the computation of a known value out of a loop. Divisions of the original code do not trap."""
    op = value.owner
    if isinstance(op, Operation) and loop.is_ancestor(op):
        for need in needs(op):
            hoist(need, loop, builder)
        op.detach()
        builder.insert(op)
    return value


# -- bounds ------------------------------------------------------------------------------------------


def most(value: SSAValue, loop: Operation) -> Bound | None:
    """A number that a value in a loop is not greater than, None if none is known."""
    return _bound(value, loop, upper=True)


def _bound(value: SSAValue, loop: Operation, upper: bool) -> Bound | None:
    if is_known(value, loop):
        return value
    match op := value.owner:
        case arith.MinSIOp() | arith.MaxSIOp():
            found = [each for operand in op.operands if (each := _bound(operand, loop, upper)) is not None]
            enough = 1 if isinstance(op, arith.MinSIOp) is upper else 2
            return reduce(lambda a, b: (type(op), a, b), found) if len(found) >= enough else None
        case arith.SelectOp():
            pair = _bound(op.lhs, loop, upper), _bound(op.rhs, loop, upper)
            operation = arith.MaxSIOp if upper else arith.MinSIOp
        case arith.AddiOp():
            pair = _bound(op.lhs, loop, upper), _bound(op.rhs, loop, upper)
            operation = arith.AddiOp
        case arith.SubiOp():
            pair = _bound(op.lhs, loop, upper), _bound(op.rhs, loop, not upper)
            operation = arith.SubiOp
        case Block():
            return None if (end := _end(value, op, upper)) is None else _bound(end, loop, upper)
        case _:
            return None
    a, b = pair
    return None if a is None or b is None else (operation, a, b)


def _end(value: SSAValue, block: Block, upper: bool) -> SSAValue | None:
    """What a loop counts from, or up to."""
    match around := block.parent_op():
        case scf.ForOp() if value is block.args[0]:
            return around.ub if upper else around.lb
        case scf.ParallelOp():
            return (around.upperBound if upper else around.lowerBound)[block.args.index(value)]
        case _:
            return None


def compute(bound: Bound, loop: Operation, builder: Builder) -> SSAValue:
    """Build a bound before a loop."""
    if isinstance(bound, SSAValue):
        return hoist(bound, loop, builder)
    operation, a, b = bound
    return builder.insert(operation(compute(a, loop, builder), compute(b, loop, builder))).result


def is_natural(value: SSAValue) -> bool:
    """Whether a number is known not to be negative."""
    match op := value.owner:
        case arith.ConstantOp(value=IntegerAttr() as constant):
            return constant.value.data >= 0
        case memref.DimOp():
            return True
        case arith.MaxSIOp():
            return any(map(is_natural, op.operands))
        case arith.MinSIOp() | arith.AddiOp() | arith.MuliOp() if isinstance(value.type, IndexType):
            return all(map(is_natural, op.operands))
        case arith.SelectOp():
            return is_natural(op.lhs) and is_natural(op.rhs)
        case arith.SubiOp():
            return is_natural(op.lhs) and _is_zero(op.rhs)
        case Block():
            return (start := _end(value, op, upper=False)) is not None and is_natural(start)
        case _:
            return False


def _is_zero(value: SSAValue) -> bool:
    op = value.owner
    return isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr) and op.value.value.data == 0
