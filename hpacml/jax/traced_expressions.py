"""Expressions of directives on values that a program of JAX knows only when it runs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

from hpacml.directives.expressions import COMPUTE, Expr, evaluate
from hpacml.errors import DirectiveError
from hpacml.jax.libraries import is_traced, jax, jnp, lax

_DIVISIONS = ast.Div, ast.FloorDiv, ast.Mod


def value_of(expr: Expr, values: Mapping[str, object]) -> Any:
    """The value of an expression: a number of Python, or traced if one of its names is, in 64 bits, as Python's are.

    Raises `DirectiveError` as `evaluate` does.
    """
    traced = {name for name in expr.names if is_traced(values.get(name))}
    if not traced:
        return evaluate(expr, values)
    for name in traced:
        if getattr(values[name], "ndim", 0):
            raise DirectiveError(f"'{name}' is an array in '{expr}', which takes numbers", expr.text, *expr.span)
    with jax.enable_x64(True):
        return _traced(expr.node, expr, {**values, **{name: _wide(values[name]) for name in traced}})


def _wide(value: Any) -> Any:
    """A traced number in 64 bits, of which there is no derivative."""
    if value.dtype == bool:
        return value
    is_float = jnp.issubdtype(value.dtype, jnp.floating)
    return jnp.asarray(lax.stop_gradient(value)).astype(
        jnp.float64 if is_float else jnp.promote_types(value.dtype, jnp.int64)
    )


def truth_of(expr: Expr, values: Mapping[str, object]) -> Any:
    """The same as a truth value: a bool, or a traced one."""
    value = value_of(expr, values)
    return value.astype(bool) if is_traced(value) else bool(value)


def _traced(node: ast.expr, expr: Expr, values: Mapping[str, object]) -> Any:
    def part(each: ast.expr) -> Any:
        return _traced(each, expr, values)

    if not any(isinstance(each, ast.Name) and is_traced(values.get(each.id)) for each in ast.walk(node)):
        return evaluate(Expr(node, expr.span, expr.text), values)
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return jnp.logical_not(part(operand))
        case ast.UnaryOp(operand=operand):
            return -_number(part(operand))
        case ast.BinOp(left=left, op=op, right=right):
            return _computed(type(op), _number(part(left)), _number(part(right)))
        case ast.BoolOp(op=op, values=operands):
            combine = jnp.logical_and if isinstance(op, ast.And) else jnp.logical_or
            return reduce(combine, map(part, operands))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            terms = [part(left), *map(part, comparators)]
            held = [COMPUTE[type(op)](a, b) for op, (a, b) in zip(ops, pairwise(terms), strict=True)]
            return reduce(jnp.logical_and, held)
        case _:
            return evaluate(Expr(node, expr.span, expr.text), values)


def _number(value: Any) -> Any:
    """A truth value as 0 or 1: JAX adds two of them to one."""
    return value.astype(jnp.int64) if is_traced(value) and value.dtype == bool else value


def _computed(op: type[ast.operator], a: Any, b: Any) -> Any:
    """The result of an operation; a division by zero, which is an error where numbers are known, makes no number."""
    found = COMPUTE[op](a, b)
    may_be_zero = op in _DIVISIONS and (is_traced(b) or b == 0)
    return jnp.where(jnp.equal(b, 0), jnp.nan, found) if may_be_zero else found
