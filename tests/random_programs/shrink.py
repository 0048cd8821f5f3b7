"""Makes programs that show a difference smaller."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from tests.random_programs.program import Program


def smaller(program: Program, fails: Callable[[Program], bool], tries: int = 400) -> Program:
    """A program with fewer statements and smaller expressions that still fails."""
    best, improved = program, True
    while improved and tries > 0:
        improved = False
        for text in _reductions(best.text):
            tries -= 1
            candidate = Program(text, best.parameters, best.seed)
            if tries > 0 and len(text) < len(best.text) and fails(candidate):
                best, improved = candidate, True
                break
    return best


def _reductions(text: str) -> Iterator[str]:
    """Texts with one statement removed, one block in place of its statement, or one expression replaced by a part."""
    count = sum(1 for _ in ast.walk(ast.parse(text)))
    for position in range(count):
        tree = ast.parse(text)
        node = list(ast.walk(tree))[position]
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if not isinstance(block, list):
                continue
            for k in range(len(block)):
                for instead in ([], getattr(block[k], "body", None), getattr(block[k], "orelse", None)):
                    is_kept = isinstance(block[k], ast.FunctionDef | ast.ClassDef) and instead != []
                    if isinstance(instead, list) and not is_kept:
                        changed = [*block[:k], *instead, *block[k + 1 :]]
                        setattr(node, name, changed or ([ast.Pass()] if name == "body" else []))
                        yield _unparsed(tree)
                        setattr(node, name, block)
        yield from _with_parts(tree, node)


def _with_parts(tree: ast.AST, node: ast.AST) -> Iterator[str]:
    """Texts with an expression of a node replaced by a part of it."""
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.expr) and not isinstance(value, ast.Name | ast.Constant) and name != "annotation":
            for part in ast.iter_child_nodes(value):
                if isinstance(part, ast.expr):
                    setattr(node, name, part)
                    yield _unparsed(tree)
            setattr(node, name, value)


def _unparsed(tree: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(tree))


def reproducer(program: Program, calls: int, compare: Callable[..., str | None]) -> str:
    """A script that shows a difference."""
    return (
        f"from collections import Counter\n\nfrom {compare.__module__} import {compare.__name__}\n"
        f"from tests.random_programs import Program\n\nTEXT = '''\n{program.text}\n'''\n"
        f"print({compare.__name__}(Program(TEXT, {program.parameters!r}, {program.seed}), {calls}, Counter()))\n"
    )
