"""Whether names outside of kernels still stand for the objects that they stood for: one function that tells it fast."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType
from typing import Any

Meanings = Mapping[str, tuple[ast.expr, object]]
"""Names such as `sqrt` and `math.sqrt`, and what they stand for, by their spellings."""


def unchanged(used: Iterable[tuple[Callable[..., Any], Meanings]]) -> Callable[[], bool] | None:
    """A function that tells whether names still have their meanings, None for no names. Each function uses some names.

    Its code is Python's for `sqrt is .0 and math.exp is .1`, which the interpreter makes faster than any other look-up.
    """
    together: dict[tuple[int, ...], tuple[Callable[..., Any], dict[str, tuple[ast.expr, object]]]] = {}
    for function, meanings in used:
        if meanings:
            key = id(function.__globals__), *map(id, function.__closure__ or ())
            known = together.setdefault(key, (function, {}))[1]
            known.update({**meanings, **known})  # of two meanings, while this was compiled, the first is old
    checks = [_check(function, list(meanings.values())) for function, meanings in together.values()]
    if len(checks) < 2:
        return checks[0] if checks else None
    return lambda: all([check() for check in checks])  # noqa: C419 (a list is faster)


def _check(function: Callable[..., Any], meanings: list[tuple[ast.expr, object]]) -> Callable[[], bool]:
    """The function for names that `function` uses, with its globals and its closure."""
    cells = function.__code__.co_freevars
    module = ast.parse(_TEMPLATE.format(cells=", ".join(cells)))
    [*_, inner] = (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))
    [attempt] = (node for node in ast.walk(module) if isinstance(node, ast.Try))
    objects = [f".{k}" for k in range(len(meanings))]  # no name of Python's has a dot
    inner.args.args = [ast.arg(name) for name in (*objects, ".failure")]
    attempt.handlers[0].type = ast.Name(".failure", ast.Load())
    tests: list[ast.expr] = [
        ast.Compare(node, [ast.Is()], [ast.Name(each, ast.Load())])
        for (node, _), each in zip(meanings, objects, strict=True)
    ]
    attempt.body = [ast.Return(ast.BoolOp(ast.And(), tests) if len(tests) > 1 else tests[0])]
    code = _inside(_inside(compile(ast.fix_missing_locations(module), "<names>", "exec")))
    closure = dict(zip(cells, function.__closure__ or (), strict=True))
    defaults = (*(meaning for _, meaning in meanings), Exception)  # of a name that is gone, or of an attribute
    return FunctionType(code, function.__globals__, None, defaults, tuple(closure[k] for k in code.co_freevars))


_TEMPLATE = """
def outer({cells}):
    def unchanged():
        try:
            pass
        except ...:
            return False
"""


def _inside(code: CodeType) -> CodeType:
    return next(each for each in code.co_consts if isinstance(each, CodeType))
