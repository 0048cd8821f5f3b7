"""Rewrites `break`, `continue` and `return` as `if` and `else`.

    for i in range(n):                      for i in range(n):       # until `stop`
        if a:                                   if a:
            break                  ->               stop = True
        b                                       else:
                                                    b

The statements after an `if` of which one branch jumps move into the other; then no statement jumps. Where that is not
enough, the first statements mark by `Leave` the paths that have jumped, and a `Landing` runs the rest on the others.

    if a:                                   Landing
        if b:                                   if a:
            continue               ->               if b:
        c                                               Leave
    d                                               else:
                                                        c
                                                d

Before that, loops lose the jumps that go further than to their end: `return`, and a `break` that skips an `else`.

    for i in range(n):                      returned, value = False, Anything
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

from hpacml.frontend.python.values import Value

RESULT = ".result"
"""The variable that holds what a function returns. No Python name has a dot."""

MOST_NESTED = 16
"""The most statements after an `if` that jumps, each with the rest in its `else`, before the code becomes flat."""


class Leave(ast.stmt):
    """The end of a path that has jumped. It goes on after the innermost `Landing`."""


class Rest(ast.stmt):
    """Statements that run on the paths that have not left."""

    _fields = ("body",)

    def __init__(self, body: Sequence[ast.stmt] = ()):
        super().__init__()
        self.body = list(body)


class Landing(ast.stmt):
    """Statements that some paths leave, and the rest, which runs on the others."""

    _fields = ("first", "rest")

    def __init__(self, first: Sequence[ast.stmt] = (), rest: Sequence[ast.stmt] = ()):
        super().__init__()
        self.first, self.rest = list(first), list(rest)

    @staticmethod
    def at(place: ast.stmt, first: list[ast.stmt], rest: list[ast.stmt]) -> Landing:
        """A landing at the position of `place`."""
        return ast.copy_location(Landing(first=first, rest=rest), place)


class Anything(ast.expr):
    """What a variable begins as that no path reads before it is assigned."""


class Computed(ast.expr):
    """What `value` computes, where the expression stands."""

    def __init__(self, value: Callable[[], Value] | None = None):
        super().__init__()
        self.value = value


class Upto(ast.expr):
    """The range up to the value of a variable."""

    _fields = ("size",)

    def __init__(self, size: str = ""):
        super().__init__()
        self.size = size


JumpT = TypeVar("JumpT", bound=ast.stmt)
NodeT = TypeVar("NodeT", bound=ast.AST)

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
        return [assign(RESULT, statement.value, statement)] if statement.value and _has_value(statement) else []

    return _structured(_plain_loops(statements), jump)


def breaks(statements: Sequence[ast.stmt]) -> bool:
    """Whether the loop with this body has a `break`."""
    return bool(_jumps(statements, ast.Break))


def at(place: ast.AST, node: NodeT) -> NodeT:
    """A new node at the position of another."""
    return ast.copy_location(node, place)


def hidden(what: str, node: ast.stmt) -> str:
    """A variable that no Python name can clash with."""
    return f".{what}@{node.lineno}:{node.col_offset}"


def nest(loop: ast.For, count: int) -> list[ast.stmt]:
    """A loop over `count` indices as nested loops, each up to the variable `hidden("size<axis>", loop)`."""
    stop = hidden("left", loop)

    def leave(statement: ast.stmt) -> list[ast.stmt] | None:
        is_break = isinstance(statement, ast.Break)
        return [assign(stop, ast.Constant(True), statement), statement] if is_break else None

    indices = [hidden(f"index{axis}", loop) for axis in range(count)]
    index = ast.copy_location(ast.Tuple([_read(name, loop) for name in indices], ast.Load()), loop)
    body: list[ast.stmt] = [ast.copy_location(ast.Assign([loop.target], index), loop), *_replaced(loop.body, leave)]
    for axis in reversed(range(count)):
        target = ast.copy_location(ast.Name(indices[axis], ast.Store()), loop)
        size = ast.copy_location(Upto(hidden(f"size{axis}", loop)), loop)
        inner = ast.For(target, size, body, [])
        inner.lineno, inner.col_offset = loop.lineno, loop.col_offset + axis
        inner.end_lineno, inner.end_col_offset = loop.end_lineno, loop.end_col_offset
        body = [inner]
        if axis and breaks(loop.body):
            left = ast.copy_location(ast.Break(), loop)
            body.append(ast.copy_location(ast.If(_read(stop, loop), [left], []), loop))
    return [assign(stop, ast.Constant(False), loop), *body] if breaks(loop.body) else body


def assign(name: str, value: ast.expr, place: ast.stmt) -> ast.Assign:
    """The statement `name = value` at the position of `place`."""
    target = ast.copy_location(ast.Name(name, ast.Store()), place)
    value = value if hasattr(value, "lineno") else ast.copy_location(value, place)
    return ast.copy_location(ast.Assign([target], value), place)


def _structured(statements: Sequence[ast.stmt], rewrite: Rewrite) -> list[ast.stmt]:
    """Statements without jumps, after which nothing comes."""
    cut = _after_many_jumps(statements, rewrite)
    if cut is not None:
        first, rest = _leaving(statements[:cut], rewrite), _structured(statements[cut:], rewrite)
        return [Landing.at(statements[0], first, rest)]
    done: list[ast.stmt] = []
    for position, statement in enumerate(statements):
        if (instead := rewrite(statement)) is not None:
            return done + instead
        if not isinstance(statement, ast.If) or not _may_jump(statement, rewrite):
            done.append(statement)
            continue
        rest = statements[position + 1 :]
        if (branches := _with_rest(statement, rest, rewrite)) is not None:
            body, orelse = (_structured(branch, rewrite) for branch in branches)
            return [*done, ast.copy_location(ast.If(statement.test, body, orelse), statement)]
        return [*done, Landing.at(statement, _leaving([statement], rewrite), _structured(rest, rewrite))]
    return done


def _leaving(statements: Sequence[ast.stmt], rewrite: Rewrite) -> list[ast.stmt]:
    """Statements that end by `Leave` on the paths that have jumped."""
    cut = _after_many_jumps(statements, rewrite)
    if cut is not None:
        first, rest = _leaving(statements[:cut], rewrite), _leaving(statements[cut:], rewrite)
        return [*first, ast.copy_location(Rest(body=rest), statements[cut])]
    done: list[ast.stmt] = []
    for position, statement in enumerate(statements):
        if (instead := rewrite(statement)) is not None:
            return [*done, *instead, ast.copy_location(Leave(), statement)]
        if not isinstance(statement, ast.If) or not _may_jump(statement, rewrite):
            done.append(statement)
            continue
        rest = statements[position + 1 :]
        branches = _with_rest(statement, rest, rewrite)
        body, orelse = (_leaving(branch, rewrite) for branch in branches or (statement.body, statement.orelse))
        done.append(ast.copy_location(ast.If(statement.test, body, orelse), statement))
        if branches is None:
            done.append(ast.copy_location(Rest(body=_leaving(rest, rewrite)), statement))
        return done
    return done


def _with_rest(
    statement: ast.If, rest: Sequence[ast.stmt], rewrite: Rewrite
) -> tuple[list[ast.stmt], list[ast.stmt]] | None:
    """The branches of an `if` with the statements after it in one of them; None if they belong to both."""
    if not rest or _jumps_always(statement.body, rewrite):
        return statement.body, [*statement.orelse, *rest]
    if _jumps_always(statement.orelse, rewrite):
        return [*statement.body, *rest], statement.orelse
    return None


def _after_many_jumps(statements: Sequence[ast.stmt], rewrite: Rewrite) -> int | None:
    """Where to cut statements, so that no more than `MOST_NESTED` of them are nested in each other."""
    jumps = [k for k, each in enumerate(statements) if isinstance(each, ast.If) and _may_jump(each, rewrite)]
    return jumps[MOST_NESTED - 1] + 1 if len(jumps) > MOST_NESTED else None


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
    has_value = any(map(_has_value, returns))
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
    before: list[ast.stmt] = [assign(returned, ast.Constant(False), loop)]
    if has_value:
        before.append(assign(value, Anything(), loop))
    return before, [after]


def _has_value(statement: ast.Return) -> bool:
    """Whether a function returns something else than None."""
    value = statement.value
    return value is not None and not (isinstance(value, ast.Constant) and value.value is None)


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


def _jumps_always(statements: Sequence[ast.stmt], rewrite: Rewrite) -> bool:
    """Whether every path through statements jumps."""
    return any(
        rewrite(each) is not None
        or (isinstance(each, ast.If) and all(_jumps_always(branch, rewrite) for branch in (each.body, each.orelse)))
        for each in statements
    )


def _may_jump(statement: ast.stmt, rewrite: Rewrite) -> bool:
    if isinstance(statement, ast.If):
        return any(_may_jump(s, rewrite) for s in (*statement.body, *statement.orelse))
    return rewrite(statement) is not None
