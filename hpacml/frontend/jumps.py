"""`break`, `continue` and early `return`, written out as `if` and `else`.

    for i in range(n):                      for i in range(n):       # until `stop`
        if a:                                   if a:
            break                  ->               stop = True
        b                                       else:
                                                    b

What follows an `if` that may jump moves into its branches, so that afterwards nothing jumps.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

RESULT = ".result"
"""The variable that holds what a function returns. No Python name has a dot."""

Jump = Callable[[ast.stmt], list[ast.stmt] | None]
"""What to write instead of a jump; None for what is none."""


def loop_body(statements: Sequence[ast.stmt], stop: str) -> list[ast.stmt]:
    """The body of a loop without `break` and `continue`; `break` sets the variable `stop`."""

    def jump(statement: ast.stmt) -> list[ast.stmt] | None:
        if isinstance(statement, ast.Break):
            return [assign(stop, ast.Constant(True), statement)]
        return [] if isinstance(statement, ast.Continue) else None

    return _structured(statements, jump)


def function_body(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The body of a function without `return`: `return x` sets the variable `RESULT`."""

    def jump(statement: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(statement, ast.Return):
            return None
        if statement.value is None or (isinstance(statement.value, ast.Constant) and statement.value.value is None):
            return []
        return [assign(RESULT, statement.value, statement)]

    return _structured(statements, jump)


def breaks(statements: Sequence[ast.stmt]) -> bool:
    """Whether the loop with this body has a `break`."""
    return any(
        isinstance(s, ast.Break) or (isinstance(s, ast.If) and (breaks(s.body) or breaks(s.orelse))) for s in statements
    )


def assign(name: str, value: ast.expr, place: ast.stmt) -> ast.Assign:
    """`name = value`, said to stand where `place` does."""
    target = ast.copy_location(ast.Name(name, ast.Store()), place)
    value = value if hasattr(value, "lineno") else ast.copy_location(value, place)
    return ast.copy_location(ast.Assign([target], value), place)


def _structured(statements: Sequence[ast.stmt], jump: Jump) -> list[ast.stmt]:
    done: list[ast.stmt] = []
    for position, statement in enumerate(statements):
        instead = jump(statement)
        if instead is not None:
            return done + instead
        if isinstance(statement, ast.If) and _may_jump(statement, jump):
            rest = list(statements[position + 1 :])
            body, orelse = (_structured([*branch, *rest], jump) for branch in (statement.body, statement.orelse))
            done.append(ast.copy_location(ast.If(statement.test, body, orelse), statement))
            return done
        done.append(statement)
    return done


def _may_jump(statement: ast.stmt, jump: Jump) -> bool:
    if isinstance(statement, ast.If):
        return any(_may_jump(s, jump) for s in (*statement.body, *statement.orelse))
    return jump(statement) is not None
