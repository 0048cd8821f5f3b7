"""Code that is nested deeper than Python's recursion limit lets the compiler follow: an error at the place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Generator
from contextlib import contextmanager

from hpacml.errors import CompileError
from hpacml.frontend.python.source import Source


@contextmanager
def shallow_enough(source: Source) -> Generator[None]:
    """Compile a function. Raises `CompileError` at what is nested deepest, where compiling it recurses too deep."""
    try:
        yield
        return
    except RecursionError:
        pass  # and unwind first
    except CompileError as error:
        if not isinstance(error.__cause__, RecursionError):
            raise
    raise too_deep(source)


def too_deep(source: Source) -> CompileError:
    """The error at what is nested deepest in a function."""
    limit = sys.getrecursionlimit()
    return source.error(
        _deepest(source.function),
        f"this is nested too deep to be compiled with Python's recursion limit of {limit}: "
        "divide it into several statements or kernels",
    )


def _deepest(node: ast.AST) -> ast.AST:
    """The place that has the most nodes around it."""
    deepest, most = node, 0
    left = [(node, 0)]
    while left:
        each, depth = left.pop()
        if depth > most and hasattr(each, "lineno"):
            deepest, most = each, depth
        left += [(child, depth + 1) for child in ast.iter_child_nodes(each)]
    return deepest
