"""Conditions on the elements at a point, from their text to arithmetic in double precision."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import AnyFloat, FloatAttr, MemRefType, f64
from xdsl.ir import Attribute, Operation, SSAValue

from hpacml.dialects.hpacml.masks import CheckWhereOp
from hpacml.directives.parser import parse_condition
from hpacml.errors import DirectiveError
from hpacml.passes.common.conversion import convert
from hpacml.passes.common.float_division import floor_divide_floats
from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.common.point_loops import Point

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("olt", "oge"),
    ast.LtE: ("ole", "ogt"),
    ast.Gt: ("ogt", "ole"),
    ast.GtE: ("oge", "olt"),
    ast.Eq: ("oeq", "one"),
    ast.NotEq: ("one", "oeq"),
}
"""The predicates of comparisons and of their negations: neither holds of NaN."""
_ARITHMETIC: dict[type[ast.operator], Callable[[SSAValue, SSAValue], arith.FloatingPointLikeBinaryOperation]] = {
    ast.Add: arith.AddfOp,
    ast.Sub: arith.SubfOp,
    ast.Mult: arith.MulfOp,
    ast.Div: arith.DivfOp,
}


def condition(op: CheckWhereOp, point: Point, builder: Builder) -> SSAValue:
    """Whether the condition of a check holds at a point. Raises `PassFailedException` for one that is none."""
    values: dict[str, SSAValue] = {}
    names = [name.data for name in op.names]
    for name, tensor in zip(names, op.tensors, strict=False):
        features = cast(MemRefType, tensor.type).get_num_dims() - len(point)
        place = [*point, *(builder.index(0) for _ in range(features))]
        values[name] = convert(builder.insert(memref.LoadOp.get(tensor, place)).res, f64, builder)
    values |= dict(zip(names[len(op.tensors) :], op.numbers, strict=True))
    try:
        node = parse_condition(op.where.data).node
    except DirectiveError as error:
        raise refusal(op, str(error)) from None
    return _Condition(op, values, builder).truth(node)


class _Condition:
    """Builds a condition: numbers are of f64, truth values of i1. Neither what NaN is in nor its negation holds."""

    def __init__(self, op: CheckWhereOp, values: Mapping[str, SSAValue], builder: Builder):
        self._op, self._values, self._builder = op, values, builder

    def truth(self, node: ast.expr, negated: bool = False) -> SSAValue:
        """Whether an expression is true, or false."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.truth(operand, not negated)
            case ast.BoolOp(op=joins, values=parts):
                return self._join([self.truth(each, negated) for each in parts], isinstance(joins, ast.And) != negated)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                values = [self._number(each) for each in (left, *comparators)]
                predicates = [_COMPARISONS[type(op)][negated] for op in ops]
                links = zip(values, values[1:], predicates, strict=False)
                return self._join([self._value(arith.CmpfOp(*link)) for link in links], not negated)
            case _:
                zero = self._constant(0.0, f64)
                predicate = _COMPARISONS[ast.NotEq][negated]
                return self._value(arith.CmpfOp(self._number(node), zero, predicate))

    def _join(self, parts: Sequence[SSAValue], every: bool) -> SSAValue:
        join = arith.AndIOp if every else arith.OrIOp
        found, *others = parts
        for each in others:
            found = self._value(join(found, each))
        return found

    def _number(self, node: ast.expr) -> SSAValue:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return self._constant(float(value), f64)
            case ast.Name(id=name) if name in self._values:
                return self._values[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._value(arith.NegfOp(self._number(operand)))
            case ast.BinOp(left=left, op=operator, right=right):
                return self._binary(type(operator), self._number(left), self._number(right))
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp() | ast.Compare():
                return convert(self.truth(node), f64, self._builder)
            case _:
                raise refusal(self._op, f"'{ast.unparse(node)}' has no place in the condition '{self._op.where.data}'")

    def _binary(self, operator: type[ast.operator], left: SSAValue, right: SSAValue) -> SSAValue:
        if operator in _ARITHMETIC:
            return self._value(_ARITHMETIC[operator](left, right))
        quotient, remainder = floor_divide_floats(self._value, self._constant, left, right)
        return quotient if operator is ast.FloorDiv else remainder

    def _constant(self, number: float, type: Attribute) -> SSAValue:
        return self._value(arith.ConstantOp(FloatAttr(number, cast(AnyFloat, type))))

    def _value(self, op: Operation) -> SSAValue:
        return self._builder.insert(op).results[0]
