"""The source of a kernel: its file, lines and syntax tree, and errors that point into them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpacml.errors import CompileError


@dataclass(frozen=True)
class Source:
    """The text of one Python function."""

    file: str
    first_line: int
    text: str

    @staticmethod
    def of(function: Callable[..., Any]) -> Source:
        """The source of a function. Raises `CompileError` if Python does not find it."""
        name = getattr(function, "__name__", "this function")
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError):
            raise CompileError(
                f"no source text for '{name}', so it cannot be compiled: define it in a file or a notebook cell"
            ) from None
        return Source(inspect.getsourcefile(function) or "<unknown>", first, "".join(lines))

    @cached_property
    def function(self) -> ast.FunctionDef:
        """The syntax tree of the function, with lines and columns of the file. Raises `CompileError`."""
        indented = self.text[:1].isspace()
        try:
            # An indented function parses inside a block; dedenting would move the lines of its strings.
            tree = ast.parse(f"if True:\n{self.text}" if indented else self.text)
        except SyntaxError:
            tree = ast.Module([], [])
        found = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
        if found is None:
            raise CompileError(
                "a kernel is a function written with 'def' (no lambda, no 'async def')",
                self.file,
                self.first_line,
                self.text.splitlines()[0],
            )
        return ast.increment_lineno(found, self.first_line - (2 if indented else 1))

    def error(self, node: ast.AST, message: str) -> CompileError:
        """An error with a caret under `node`."""
        line = getattr(node, "lineno", self.first_line)
        shown = self.line(line)
        end_line, end = getattr(node, "end_lineno", line), getattr(node, "end_col_offset", None)
        begin_column = _characters(shown, getattr(node, "col_offset", 0))
        end_column = _characters(shown, end) if end is not None and end_line == line else len(shown.rstrip())
        return CompileError(message, self.file, line, shown, begin_column, end_column)

    def line(self, number: int) -> str:
        """A line of the file."""
        lines = self.text.splitlines()
        index = number - self.first_line
        return lines[index] if 0 <= index < len(lines) else ""


def _characters(line: str, column: int) -> int:
    """Convert a column of a syntax tree, which counts bytes of UTF-8, to characters."""
    return len(line.encode()[:column].decode(errors="ignore"))
