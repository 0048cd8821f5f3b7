"""Compiles `a + b` and the like of numbers, arrays and tuples."""

from __future__ import annotations

import ast
from functools import partial

from xdsl.dialects.arith import AndIOp, CmpiOp, MuliOp, SelectOp, ShRSIOp
from xdsl.dialects.builtin import IndexType
from xdsl.dialects.scf import ConditionOp, WhileOp, YieldOp
from xdsl.ir import Region

from hpacml.frontend.python import elementwise, reductions
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import PYTHON, Number
from hpacml.frontend.python.types import INT, Refusal, result_type
from hpacml.frontend.python.values import Static, Tuple, Value, as_tuple, describe


def binary(context: Context, node: ast.AST, operation: type[ast.operator], left: Value, right: Value) -> Value:
    """`left + right` and the like. Raises `Refusal` for what kernels cannot compute."""
    if isinstance(left, Number) and isinstance(right, Number):
        integers = not left.type.is_float and not right.type.is_float
        if operation is ast.Pow and integers and right.constant is None:
            return _integer_power(context, node, left, right)
        return context.numbers.binary(operation, left, right)
    if operation is ast.MatMult:
        return reductions.product(context, node, left, right)
    if elementwise.is_array(left) or elementwise.is_array(right):
        of_elements = partial(context.numbers.binary, operation)
        function = context.numbers.array_power if operation is ast.Pow else of_elements
        return elementwise.lifted(context, node, function, [left, right])
    left, right = as_tuple(left), as_tuple(right)
    if isinstance(left, Tuple) and isinstance(right, Tuple) and operation is ast.Add:
        return Tuple(left.items + right.items)
    if isinstance(left, Tuple) and isinstance(right, Number) and operation is ast.Mult and right.constant is not None:
        return Tuple(left.items * int(right.constant))
    if isinstance(left, Static) and isinstance(right, Static):
        texts = left.object, right.object
        if operation is ast.Add and isinstance(texts[0], str) and isinstance(texts[1], str):
            return Static(texts[0] + texts[1])
    hint = _hint(operation, left, right)
    raise Refusal(f"an operator for {describe(left)} and {describe(right)}, which kernels do not have{hint}")


def _hint(operation: type[ast.operator], left: Value, right: Value) -> str:
    """What to write instead of an operator of other things than numbers and arrays."""
    for owner, other in ((left, right), (right, left)):
        if isinstance(owner, Static) and isinstance(owner.object, str):
            return ": write an f-string where it is printed or raised, as in print(f'n is {n}')"
        if isinstance(owner, Tuple) and isinstance(other, Number) and operation is ast.Mult:
            return ": write np.zeros(n) or np.full(n, x)"
    return ""


def _integer_power(context: Context, node: ast.AST, base: Number, exponent: Number) -> Number:
    """An integer to the power of one that only the run knows. A negative power is an error of the call."""
    emit, numbers = context.emit, context.numbers
    type = result_type(PYTHON[ast.Pow], base.type, exponent.type)
    power, zero = numbers.ssa(numbers.convert(exponent, INT)), emit.index(0)
    if exponent.least is None or exponent.least < 0:
        negative = emit.value(CmpiOp(power, zero, "slt"))
        text = "an integer to the power of {given} is no integer: write float(...) around one of them"
        context.refuse_if(node, negative, text, [power, zero])
    first = [numbers.ssa(numbers.convert(number, type)) for number in (Number(INT, 1), base)]
    kinds = [type.ir, type.ir, IndexType()]
    with emit.block(kinds) as more:
        emit.op(ConditionOp(emit.value(CmpiOp(more.args[2], zero, "sgt")), *more.args))
    with emit.block(kinds) as body:
        product, square, rest = body.args
        odd = emit.value(CmpiOp(emit.value(AndIOp(rest, emit.index(1))), zero, "ne"))
        product = emit.value(SelectOp(odd, emit.value(MuliOp(product, square)), product))
        emit.op(YieldOp(product, emit.value(MuliOp(square, square)), emit.value(ShRSIOp(rest, emit.index(1)))))
    loop = WhileOp([*first, power], kinds, Region(more), Region(body))
    return Number(type, emit.value(loop))
