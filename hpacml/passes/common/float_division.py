"""Division and remainders of floats by the rules of Python and NumPy, which are not those of LLVM."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith, llvm, math
from xdsl.ir import Attribute, Operation, SSAValue


def floor_divide_floats(
    value: Callable[[Operation], SSAValue], constant: Callable[[float, Attribute], SSAValue], a: SSAValue, b: SSAValue
) -> tuple[SSAValue, SSAValue]:
    """`a // b` and `a % b`, by the steps of CPython's floatobject.c and NumPy's npy_divmod.

    `value` inserts an operation, and `constant` one that is a number of a type.
    """
    zero, one, half = (constant(x, a.type) for x in (0.0, 1.0, 0.5))

    def compare(x: SSAValue, predicate: str, y: SSAValue) -> SSAValue:
        return value(arith.CmpfOp(x, y, predicate))

    def select(condition: SSAValue, x: SSAValue, y: SSAValue) -> SSAValue:
        return value(arith.SelectOp(condition, x, y))

    rest = value(llvm.FRemOp(a, b))
    inexact = compare(rest, "une", zero)
    other_sign = value(arith.XOrIOp(compare(b, "olt", zero), compare(rest, "olt", zero)))
    adjust = value(arith.AndIOp(inexact, other_sign))
    quotient = value(arith.DivfOp(value(arith.SubfOp(a, rest)), b))
    quotient = select(adjust, value(arith.SubfOp(quotient, one)), quotient)
    rest = select(adjust, value(arith.AddfOp(rest, b)), rest)
    remainder = select(inexact, rest, value(math.CopySignOp(zero, b)))
    floor = value(math.FloorOp(quotient))
    far = compare(value(arith.SubfOp(quotient, floor)), "ogt", half)
    floor = select(far, value(arith.AddfOp(floor, one)), floor)
    exact = value(arith.DivfOp(a, b))
    floor = select(compare(quotient, "une", zero), floor, value(math.CopySignOp(zero, exact)))
    return select(compare(b, "oeq", zero), exact, floor), remainder
