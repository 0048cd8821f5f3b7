"""Expressions in directives: bounds, conditions and functor indices, as Python `ast` nodes."""

from __future__ import annotations

import ast
import numbers
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import nan
from typing import NamedTuple, Protocol, cast

from hpacml.errors import DirectiveError
from hpacml.functors.polynomials import Poly

Number = int | float | bool

Evaluation = Callable[[Mapping[str, object]], Number]
"""Maps the values of names to the value of an expression."""

MAX_DEPTH = 64
"""The deepest nesting of expressions and targets: code that walks them must not run out of stack."""

MAX_TERMS = 64
MAX_DEGREE = 16
"""The largest functor index, multiplied out: a larger one would take noticeable time."""

ARITHMETIC: dict[str, type[ast.operator]] = {
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
    "/": ast.Div,
    "//": ast.FloorDiv,
    "%": ast.Mod,
}
COMPARISONS: dict[str, type[ast.cmpop]] = {
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
    "==": ast.Eq,
    "!=": ast.NotEq,
}
_SPELLING = {kind: text for text, kind in (ARITHMETIC | COMPARISONS).items()}
COMPUTE: dict[type[ast.operator | ast.cmpop], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class Span(NamedTuple):
    """Characters `start` to `end` of a directive's text."""

    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Expr:
    """An integer or boolean expression of a directive.

    `node` is built of `Name`, `Constant` (bool, int, float), `UnaryOp` (`-`, `not`), `BinOp`
    (`+ - * / // %`), `Compare` and `BoolOp`. The `col_offset` of a node counts the characters of `text`, the
    whole text that was parsed. Expressions are equal if they print alike. Raises `DirectiveError` for an expression
    that is nested too deep.
    """

    node: ast.expr
    span: Span
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        level: list[ast.AST] = [self.node]
        for _ in range(MAX_DEPTH):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        if level:
            raise DirectiveError(
                f"the expression chains more than {MAX_DEPTH} operations: compute a part of it before and use its name",
                self.text,
                *self.span,
            )

    @property
    def names(self) -> frozenset[str]:
        """The names that occur."""
        return frozenset(node.id for node in self.variables)

    @property
    def variables(self) -> list[ast.Name]:
        """The nodes that are names, but for that of a function."""
        functions = [node.func for node in ast.walk(self.node) if isinstance(node, ast.Call)]
        nodes = (node for node in ast.walk(self.node) if isinstance(node, ast.Name))
        return [node for node in nodes if not any(node is function for function in functions)]

    @cached_property
    def evaluation(self) -> Evaluation:
        """The function that `evaluate` calls. It is made once, since maps are evaluated in every call."""
        return _evaluation(self.node, self)

    def __str__(self) -> str:
        return ast.unparse(self.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def index_expr(expr: Expr) -> Expr:
    """Turn `expr` into a bound of a range; `/` becomes `//`. Raises `DirectiveError` for all but integer arithmetic."""
    for node in ast.walk(expr.node):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            node.op = ast.FloorDiv()
        elif isinstance(node, ast.Constant) and type(node.value) is not int:
            raise _error(f"{_written(node, expr)} is not an integer: an index or bound must be one", node, expr)
        elif isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise _error(f"an index or bound is integer arithmetic: '{_spelling(node)}' has no place in it", node, expr)
    return expr


def affine(expr: Expr) -> Poly:
    """Turn `expr` into an index of a functor. Raises `DirectiveError` for all but `+ - *` of names and integers."""

    def poly(node: ast.expr) -> Poly:
        match node:
            case ast.Name(id=name):
                return Poly.name(name)
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                return Poly.constant(value)
            case ast.Constant():
                raise _error(f"{_written(node, expr)} is not an integer, but the indices of a functor are", node, expr)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -poly(operand)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return bounded(poly(left) + poly(right), node)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return bounded(poly(left) - poly(right), node)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return bounded(poly(left) * poly(right), node)
            case _:
                raise _error(
                    f"the indices of a functor are affine, so '{_spelling(node)}' cannot be used in them: "
                    "write + - * of names and integers",
                    node,
                    expr,
                )

    def bounded(value: Poly, node: ast.expr) -> Poly:
        if any(abs(coefficient) >= 1 << 63 for _, coefficient in value.terms):
            raise _error("a number in this index does not fit 64 bits", node, expr)
        if len(value.terms) > MAX_TERMS or any(len(names) > MAX_DEGREE for names, _ in value.terms):
            raise _error(
                f"this index has more than {MAX_TERMS} terms or {MAX_DEGREE} factors when multiplied out: "
                "compute a part of it before and use its name",
                node,
                expr,
            )
        return value

    found = poly(expr.node)
    if gone := sorted(expr.names - found.names):
        raise DirectiveError(
            f"'{gone[0]}' cancels out of '{expr}', which then does not depend on it: leave it out",
            expr.text,
            *expr.span,
        )
    return found


def evaluate(expr: Expr, values: Mapping[str, object]) -> Number:
    """The value of `expr`, where names stand for the numbers (Python's, NumPy's, 0-d tensors) in `values`.

    Raises `DirectiveError` for a name that is no number in `values`, for a division by zero, and for an
    integer that does not fit 64 bits.
    """
    return expr.evaluation(values)


def evaluate_int(expr: Expr, values: Mapping[str, object]) -> int:
    """`evaluate` for an index or bound: also raises `DirectiveError` if the value is not an integer."""
    result = expr.evaluation(values)
    if type(result) is int:
        return result
    raise DirectiveError(f"'{expr}' is {result}, not an integer", expr.text, *expr.span)


def _evaluation(node: ast.expr, expr: Expr) -> Evaluation:
    """Make the function that evaluates `node`, a part of `expr`; it is called often, so it matches no more nodes."""

    def fitting(number: Number) -> Number:
        if isinstance(number, int) and not -(1 << 63) <= number < 1 << 63:
            raise _error(f"'{ast.unparse(node)}' does not fit 64 bits", node, expr)
        return number

    match node:
        case ast.Constant(value=bool() | int() | float() as constant):
            return lambda values: constant
        case ast.Name(id=name):

            def of_name(values: Mapping[str, object]) -> Number:
                number = values.get(name)
                if type(number) is int and -(1 << 63) <= number < 1 << 63:  # as most are
                    return number
                number = _number(number)
                if number is None:
                    raise _error(_unknown(name, values), node, expr)
                return fitting(number)

            return of_name
        case ast.Call(args=[ast.Name(id=array)]):

            def of_length(values: Mapping[str, object]) -> Number:
                shape = getattr(values.get(array), "shape", ())
                if not shape:
                    raise _error(f"'{array}' is no array, whose length this could be", node, expr)
                return int(shape[0])

            return of_length
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            negated = _evaluation(operand, expr)
            return lambda values: not negated(values)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            positive = _evaluation(operand, expr)
            return lambda values: fitting(-positive(values))
        case ast.BinOp(left=left, op=op, right=right):
            a, b, compute = _evaluation(left, expr), _evaluation(right, expr), COMPUTE[type(op)]

            def of_both(values: Mapping[str, object]) -> Number:
                try:
                    return fitting(compute(a(values), b(values)))
                except ZeroDivisionError:
                    raise _error(f"'{ast.unparse(right)}' is 0, and is divided by", right, expr) from None

            return of_both
        case ast.BoolOp(op=op, values=operands):
            combine = all if isinstance(op, ast.And) else any
            each = [_evaluation(operand, expr) for operand in operands]
            return lambda values: combine(one(values) for one in each)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            first = _evaluation(left, expr)
            others = [(COMPUTE[type(op)], _evaluation(c, expr)) for op, c in zip(ops, comparators, strict=True)]

            def of_chain(values: Mapping[str, object]) -> bool:
                a = first(values)
                for holds, other in others:
                    b = other(values)
                    if not holds(a, b):
                        return False
                    a = b
                return True

            return of_chain
        case _:
            raise _error(f"'{ast.unparse(node)}' cannot be used in a directive", node, expr)


class _Scalar(Protocol):
    def item(self) -> object: ...


def _number(value: object) -> Number | None:
    """`value` as a Python number, or None if it is not a number."""
    if type(ndim := getattr(value, "ndim", None)) is int and ndim == 0 and hasattr(value, "item"):
        value = cast(_Scalar, value).item()
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if type(value).__name__ == "SymInt":  # Torch's, for a size that it does not know yet
        return cast(int, value)
    return float(value) if isinstance(value, numbers.Real) else None


def _unknown(name: str, values: Mapping[str, object]) -> str:
    """The error text for a name that is not a number in `values`."""
    if name in values:
        return f"'{name}' is no number but a {type(values[name]).__name__}"
    known = ", ".join(sorted(n for n, v in values.items() if _number(v) is not None))
    return f"'{name}' is not a known number; {f'known are {known}' if known else 'none is known here'}"


def _written(node: ast.expr, expr: Expr) -> str:
    """The text of `node`."""
    return expr.text[node.col_offset : node.end_col_offset]


def _spelling(node: ast.expr) -> str:
    """The operator of `node`."""
    match node:
        case ast.BinOp(op=op) | ast.Compare(ops=[op, *_]):
            return _SPELLING[type(op)]
        case ast.BoolOp(op=op):
            return "and" if isinstance(op, ast.And) else "or"
        case _:
            return "not"


def _error(message: str, node: ast.expr, expr: Expr) -> DirectiveError:
    return DirectiveError(message, expr.text, node.col_offset, node.end_col_offset or 0)


def literal(node: ast.expr) -> int | float:
    """The number that `node` spells; NaN for any other expression."""
    match node:
        case ast.Constant(value=bool()):
            return nan
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(value=int() | float() as value)):
            return -value
        case _:
            return nan
