"""Conditions on the elements at a point, from their text to arithmetic in double precision."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import cast

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import AnyFloat, FloatAttr, MemRefType, f64, i1
from xdsl.ir import Attribute, Operation, SSAValue

from hpacml.dialects.hpacml.masks import CheckWhereOp
from hpacml.directives.parser import parse_condition
from hpacml.errors import DirectiveError
from hpacml.passes.common.conversion import convert
from hpacml.passes.common.float_division import floor_divide_floats
from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.common.point_loops import Point

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "olt",
    ast.LtE: "ole",
    ast.Gt: "ogt",
    ast.GtE: "oge",
    ast.Eq: "oeq",
    ast.NotEq: "une",
}
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
    """Builds a condition: numbers are of f64, truth values of i1. A number that is NaN makes no condition hold."""

    def __init__(self, op: CheckWhereOp, values: Mapping[str, SSAValue], builder: Builder):
        self._op, self._values, self._builder = op, values, builder
        self._is_negated = False

    def value(self, node: ast.expr) -> SSAValue:
        insert = self._builder.insert
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return insert(arith.ConstantOp(FloatAttr(float(value), f64))).result
            case ast.Name(id=name) if name in self._values:
                return self._values[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return insert(arith.NegfOp(self._number(operand))).result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                one = insert(arith.ConstantOp.from_int_and_width(1, 1)).result
                self._is_negated = not self._is_negated
                truth = self.truth(operand)
                self._is_negated = not self._is_negated
                return insert(arith.XOrIOp(truth, one)).result
            case ast.BoolOp(op=joins, values=parts):
                join = arith.AndIOp if isinstance(joins, ast.And) else arith.OrIOp
                first, *others = map(self.truth, parts)
                for each in others:
                    first = insert(join(first, each)).result
                return first
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparisons([left, *comparators], ops)
            case ast.BinOp(left=left, op=operator, right=right):
                return self._binary(type(operator), self._number(left), self._number(right))
            case _:
                raise refusal(self._op, f"'{ast.unparse(node)}' has no place in the condition '{self._op.where.data}'")

    def _comparisons(self, operands: list[ast.expr], ops: list[ast.cmpop]) -> SSAValue:
        values = [self._number(each) for each in operands]
        found: SSAValue | None = None
        for left, op, right in zip(values, ops, values[1:], strict=False):
            each = self._builder.insert(arith.CmpfOp(left, right, _COMPARISONS[type(op)])).result
            found = each if found is None else self._builder.insert(arith.AndIOp(found, each)).result
        return values[0] if found is None else found

    def _binary(self, operator: type[ast.operator], left: SSAValue, right: SSAValue) -> SSAValue:
        insert = self._builder.insert
        if operator in _ARITHMETIC:
            return insert(_ARITHMETIC[operator](left, right)).results[0]

        def value(op: Operation) -> SSAValue:
            return insert(op).results[0]

        def constant(number: float, type: Attribute) -> SSAValue:
            return value(arith.ConstantOp(FloatAttr(number, cast(AnyFloat, type))))

        quotient, remainder = floor_divide_floats(value, constant, left, right)
        return quotient if operator is ast.FloorDiv else remainder

    def _number(self, node: ast.expr) -> SSAValue:
        return convert(self.value(node), f64, self._builder)

    def truth(self, node: ast.expr) -> SSAValue:
        """Whether an expression is true."""
        value = self.value(node)
        if value.type == i1:
            return value
        zero = self._builder.insert(arith.ConstantOp(FloatAttr(0.0, f64))).result
        return self._builder.insert(arith.CmpfOp(value, zero, "une" if self._is_negated else "one")).result
