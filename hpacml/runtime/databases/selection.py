"""Conditions on the numbers of calls, such as `step >= 100 and t < 0.5`, for all calls at once."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, cast

import numpy as np

from hpacml.directives.expressions import COMPUTE
from hpacml.directives.parser import parse_condition
from hpacml.errors import DatabaseError
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.indexing import LazyArray

_COMPUTE = cast("Mapping[type[ast.AST], Callable[[Any, Any], Any]]", COMPUTE)


def calls_where(condition: str, numbers: Mapping[str, LazyArray], label: str) -> Array:
    """Tell for each call of a region whether it meets a condition. Only numbers that it names are read.

    Raises DatabaseError for other names, and DirectiveError for what is no condition.
    """
    expr = parse_condition(condition)
    if unknown := sorted(expr.names - numbers.keys()):
        known = f"has the numbers {', '.join(numbers)}" if numbers else "has none: the clause meta collects them"
        raise DatabaseError(f"'{unknown[0]}' is no number of the calls of '{label}', which {known}")
    if not expr.names:
        raise DatabaseError(f"the condition '{condition}' names no number of the calls")
    values = {name: numbers[name][:] for name in expr.names}
    with np.errstate(all="ignore"):
        return np.asarray(_evaluated(expr.node, values), bool)


def _evaluated(node: ast.AST, values: Mapping[str, Array]) -> Any:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=constant):
            return constant
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_evaluated(operand, values))
        case ast.UnaryOp(operand=operand):
            return -_evaluated(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return _COMPUTE[type(op)](np.asarray(_evaluated(left, values)), _evaluated(right, values))
        case ast.BoolOp(op=op, values=parts):
            combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return reduce(combine, (_evaluated(part, values) for part in parts))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [_evaluated(side, values) for side in (left, *comparators)]
            pairs = (_COMPUTE[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
            return reduce(np.logical_and, pairs)
        case _:
            raise DatabaseError(f"'{ast.unparse(node)}' cannot be used in a condition on numbers of calls")
