"""The numbers of maps in kernels: integers of 64 bits, computed in 128 where they may exceed these."""

from __future__ import annotations

import ast
from functools import reduce

from xdsl.dialects.arith import AddiOp, CmpiOp, ConstantOp, IndexCastOp, MuliOp, OrIOp, SelectOp, SubiOp
from xdsl.dialects.builtin import IndexType, IntegerAttr, IntegerType
from xdsl.dialects.memref import DimOp
from xdsl.ir import SSAValue

from hpacml.frontend.python.evaluator import Evaluator
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.scalars import exceeds_int
from hpacml.frontend.python.types import INT
from hpacml.functors.arithmetic import OVERFLOW

I128 = IntegerType(128)
WIDE: dict[type[ast.operator], type[AddiOp | SubiOp | MuliOp]] = {ast.Add: AddiOp, ast.Sub: SubiOp, ast.Mult: MuliOp}
"""The operators whose results may exceed 64 bits, and the operations that compute them in 128."""


def _is_size(*numbers: Number) -> bool:
    return any(isinstance(n.value, SSAValue) and isinstance(n.value.owner, DimOp) for n in numbers)


def integer(evaluator: Evaluator, node: ast.expr) -> Number:
    """A number in a map. If it or a part of it exceeds 64 bits, it is `OVERFLOW`, which every map refuses."""
    number, overflows = _checked(evaluator, node)
    if overflows is None:
        return number
    value = evaluator.emit.value
    overflow = value(ConstantOp(IntegerAttr(OVERFLOW, IndexType())))
    return Number(INT, value(SelectOp(overflows, overflow, evaluator.numbers.ssa(number))))


def _checked(evaluator: Evaluator, node: ast.expr) -> tuple[Number, SSAValue | None]:
    """A number, and whether it overflows; None if it cannot."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = ast.copy_location(ast.BinOp(ast.Constant(0), ast.Sub(), node.operand), node)
    if not isinstance(node, ast.BinOp):
        return _single(evaluator, node)
    (left, left_overflows), (right, right_overflows) = _checked(evaluator, node.left), _checked(evaluator, node.right)
    with evaluator.at(node):
        number = evaluator.numbers.binary(type(node.op), left, right)
    value, ssa = evaluator.emit.value, evaluator.numbers.ssa
    flags = [flag for flag in (left_overflows, right_overflows) if flag is not None]
    wide = WIDE.get(type(node.op))
    constants = [n.constant for n in (left, right)]
    small = any(c is not None and abs(c) < 1 << 32 for c in constants)
    safe = wide is None or None not in constants or (wide is not MuliOp and small and _is_size(left, right))
    if wide is not None and not safe:
        a, b, wrapped = (value(IndexCastOp(ssa(n), I128)) for n in (left, right, number))
        flags.append(value(CmpiOp(value(wide(a, b)), wrapped, "ne")))
    return number, reduce(lambda a, b: value(OrIOp(a, b)), flags) if flags else None


def _single(evaluator: Evaluator, node: ast.expr) -> tuple[Number, SSAValue | None]:
    given = evaluator.number(node)
    with evaluator.at(node):
        number = evaluator.numbers.integer(given, "a number in a map")
    if not exceeds_int(given.type) or given.constant is not None:
        return number, None
    zero = evaluator.emit.index(0)
    return number, evaluator.emit.value(CmpiOp(evaluator.numbers.ssa(number), zero, "slt"))
