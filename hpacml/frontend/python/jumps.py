"""Rewrites `break`, `continue` and `return` as `if` and `else`.

    for i in range(n):                      for i in range(n):       # until `stop`
        if a:                                   if a:
            break                  ->               stop = True
        b                                       else:
                                                    b

The statements after an `if` that may jump move into its branches; then no statement jumps. Before that, loops lose
the jumps that go further than to their end: `return`, and a `break` that skips an `else`.

    for i in range(n):                      returned = value = False
        if a:                               for i in range(n):
            return i               ->           if a:
                                                    value = i
                                                    returned = True
                                                    break
                                            if returned:
                                                return value
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

RESULT = ".result"
"""The variable that holds what a function returns. No Python name has a dot."""

JumpT = TypeVar("JumpT", bound=ast.stmt)

Rewrite = Callable[[ast.stmt], list[ast.stmt] | None]
"""The statements that replace a jump; None if the statement is no jump that it replaces."""


def loop_body(statements: Sequence[ast.stmt], stop: str) -> list[ast.stmt]:
    """The body of a loop without `break` and `continue`. A `break` sets the variable `stop` instead."""

    def jump(statement: ast.stmt) -> list[ast.stmt] | None:
        if isinstance(statement, ast.Break):
            return [assign(stop, ast.Constant(True), statement)]
        return [] if isinstance(statement, ast.Continue) else None

    return _structured(statements, jump)


def function_body(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The body of a function without `return`. A `return x` sets the variable `RESULT` instead."""

    def jump(statement: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(statement, ast.Return):
            return None
        if statement.value is None or (isinstance(statement.value, ast.Constant) and statement.value.value is None):
            return []
        return [assign(RESULT, statement.value, statement)]

    return _structured(_plain_loops(statements), jump)


def breaks(statements: Sequence[ast.stmt]) -> bool:
    """Whether the loop with this body has a `break`."""
    return bool(_jumps(statements, ast.Break))


def hidden(what: str, node: ast.stmt) -> str:
    """A variable that no Python name can clash with."""
    return f".{what}@{node.lineno}:{node.col_offset}"


def assign(name: str, value: ast.expr, place: ast.stmt) -> ast.Assign:
    """The statement `name = value` at the position of `place`."""
    target = ast.copy_location(ast.Name(name, ast.Store()), place)
    value = value if hasattr(value, "lineno") else ast.copy_location(value, place)
    return ast.copy_location(ast.Assign([target], value), place)


def _structured(statements: Sequence[ast.stmt], rewrite: Rewrite) -> list[ast.stmt]:
    done: list[ast.stmt] = []
    for position, statement in enumerate(statements):
        instead = rewrite(statement)
        if instead is not None:
            return done + instead
        if isinstance(statement, ast.If) and _may_jump(statement, rewrite):
            rest = list(statements[position + 1 :])
            body, orelse = (_structured([*branch, *rest], rewrite) for branch in (statement.body, statement.orelse))
            done.append(ast.copy_location(ast.If(statement.test, body, orelse), statement))
            return done
        done.append(statement)
    return done


def _plain_loops(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Equivalent statements, whose loops have no `return` and no `else`."""
    done: list[ast.stmt] = []
    for statement in statements:
        if not isinstance(statement, ast.If | ast.With | ast.For | ast.While):
            done.append(statement)
            continue
        statement = copy.copy(statement)
        statement.body = _plain_loops(statement.body)
        if not isinstance(statement, ast.With):
            statement.orelse = _plain_loops(statement.orelse)
        done += _plain_loop(statement) if isinstance(statement, ast.For | ast.While) else [statement]
    return done


def _plain_loop(loop: ast.For | ast.While) -> list[ast.stmt]:
    """Statements equivalent to a loop, which is changed."""
    leaves = _take_returns(loop)
    otherwise = _take_else(loop)
    before = [statement for first, _ in (leaves, otherwise) for statement in first]
    return [*before, loop, *otherwise[1], *leaves[1]]


def _take_returns(loop: ast.For | ast.While) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Replace `return` in a loop by `break`. Returns the statements that go before and after the loop."""
    returns = _jumps(loop.body, ast.Return)
    if not returns:
        return [], []
    returned, value = hidden("returned", loop), hidden("value", loop)
    has_value = any(each.value for each in returns)
    forever = isinstance(loop, ast.While) and isinstance(loop.test, ast.Constant) and bool(loop.test.value)
    ends = not forever or breaks(loop.body)

    def leave(statement: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(statement, ast.Return):
            return None
        result = [assign(value, statement.value or ast.Constant(None), statement)] if has_value else []
        return [*result, assign(returned, ast.Constant(True), statement), ast.copy_location(ast.Break(), statement)]

    loop.body = _replaced(loop.body, leave)
    result = ast.copy_location(ast.Return(_read(value, loop) if has_value else None), returns[0])
    after = ast.copy_location(ast.If(_read(returned, loop), [result], []), loop) if ends else result
    names = [returned, value] if has_value else [returned]
    return [assign(name, ast.Constant(False), loop) for name in names], [after]


def _take_else(loop: ast.For | ast.While) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Remove the `else` of a loop. Returns the statements that go before and after the loop."""
    otherwise, loop.orelse = loop.orelse, []
    if not otherwise or not breaks(loop.body):
        return [], otherwise
    broken = hidden("broken", loop)

    def stop(statement: ast.stmt) -> list[ast.stmt] | None:
        is_break = isinstance(statement, ast.Break)
        return [assign(broken, ast.Constant(True), statement), statement] if is_break else None

    loop.body = _replaced(loop.body, stop)
    test = ast.copy_location(ast.UnaryOp(ast.Not(), _read(broken, loop)), loop)
    return [assign(broken, ast.Constant(False), loop)], [ast.copy_location(ast.If(test, otherwise, []), loop)]


def _replaced(statements: Sequence[ast.stmt], rewrite: Rewrite) -> list[ast.stmt]:
    done: list[ast.stmt] = []
    for statement in statements:
        replacement = rewrite(statement)
        if replacement is None and isinstance(statement, ast.If):
            branches = [_replaced(branch, rewrite) for branch in (statement.body, statement.orelse)]
            replacement = [ast.copy_location(ast.If(statement.test, *branches), statement)]
        done += [statement] if replacement is None else replacement
    return done


def _jumps(statements: Sequence[ast.stmt], kind: type[JumpT]) -> list[JumpT]:
    """The jumps of a kind among statements and in branches of `if`."""
    found: list[JumpT] = []
    for statement in statements:
        if isinstance(statement, kind):
            found.append(statement)
        elif isinstance(statement, ast.If):
            found += _jumps(statement.body, kind) + _jumps(statement.orelse, kind)
    return found


def _read(name: str, place: ast.stmt) -> ast.Name:
    return ast.copy_location(ast.Name(name, ast.Load()), place)


def _may_jump(statement: ast.stmt, rewrite: Rewrite) -> bool:
    if isinstance(statement, ast.If):
        return any(_may_jump(s, rewrite) for s in (*statement.body, *statement.orelse))
    return rewrite(statement) is not None
