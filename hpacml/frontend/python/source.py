"""The source of a kernel: its file, lines and syntax tree, and errors that point into them."""

from __future__ import annotations
import __future__ as futures

import ast
import builtins
import linecache
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, cast

from hpacml.directives.private import class_of, mangled
from hpacml.errors import CompileError

_FUTURES = sum(getattr(futures, name).compiler_flag for name in futures.all_feature_names) & ~0xFF
"""The flags of code that stand for `from __future__ import ...`; `compile` takes the same. (The low bits do not.)"""

_FAILURES = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What compiling a text raises that no Python module can have."""


@dataclass(frozen=True)
class Source:
    """The lines of one Python function and its syntax tree, which has the lines and columns of the file.

    Names that are private to the class around the function are those that Python uses, `_Class__x`.
    """

    file: str
    first_line: int
    lines: tuple[str, ...]
    function: ast.FunctionDef | ast.Lambda
    owner: str | None
    """The class around the function."""

    @staticmethod
    def of(function: Callable[..., Any]) -> Source:
        """The source of a function, compared with the code that Python runs. Raises `CompileError` if it differs.

        It is read now: later changes of the file have no effect.
        """
        code: CodeType = function.__code__
        texts = 0
        for text in _texts(code.co_filename, function.__globals__):
            texts += 1
            if (node := _definition(code, text)) is not None:
                return _source(function, code, text, node)
        if not texts:
            raise CompileError(
                f"no source text for '{code.co_name}', so it cannot be compiled: define it in a file or a notebook cell"
            )
        raise CompileError(
            f"the source of '{code.co_name}' is not the code that Python runs: the file has changed since it was "
            "imported, or an import hook rewrites functions. Start Python anew, or keep the hook from this module",
            code.co_filename,
            code.co_firstlineno,
        )

    def error(self, node: ast.AST, message: str) -> CompileError:
        """An error with a caret under `node`."""
        line = getattr(node, "lineno", self.first_line)
        shown = self.line(line)
        end_line, end = getattr(node, "end_lineno", line), getattr(node, "end_col_offset", None)
        begin_column = _characters(shown, getattr(node, "col_offset", 0))
        end_column = _characters(shown, end) if end is not None and end_line == line else len(shown.rstrip())
        return CompileError(message, self.file, line, shown, begin_column, end_column)

    def place(self, node: ast.AST) -> tuple[str, int, int]:
        """The file, the line and the column of `node`, both from 1 on."""
        line = getattr(node, "lineno", self.first_line)
        return self.file, line, _characters(self.line(line), getattr(node, "col_offset", 0)) + 1

    def line(self, number: int) -> str:
        """A line of the file."""
        index = number - self.first_line
        return self.lines[index] if 0 <= index < len(self.lines) else ""


def _texts(file: str, names: dict[str, Any]) -> Iterator[str]:
    """The texts of a file: as Python has read it last, as it is now, and as its importer has it."""
    before = linecache.getlines(file, names)
    if before:
        yield "".join(before)
    linecache.checkcache(file)
    now = linecache.getlines(file, names)
    if now and now != before:
        yield "".join(now)
    get_source = getattr(names.get("__loader__"), "get_source", None)
    try:
        text = None if get_source is None else get_source(names.get("__name__"))
    except (ImportError, OSError, SyntaxError, UnicodeDecodeError):
        text = None
    if isinstance(text, str):  # linecache may have split it at other characters than Python does
        yield text


def surroundings_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The names outside of a function that it sees: built-in, of its module, of the functions around it."""
    names = {**vars(builtins), **function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # assigned later
            names.pop(name, None)
    return names


def _definition(code: CodeType, text: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The definition in a text of which Python made this code, None if it made the code of another text."""
    compiled = _compiled(text, code.co_flags & _FUTURES)
    if compiled is None or all(code_key(code) != code_key(found) for found in _inner(compiled[1], code)):
        return None
    return next(filter(None, (_as_definition(node, code) for node in ast.walk(compiled[0]))), None)


@lru_cache(8)
def _compiled(text: str, futures: int) -> tuple[ast.Module, CodeType] | None:
    """The syntax tree and the code of a module, None if it has none."""
    flags = futures | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as cells of notebooks have it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has given them already
            tree = compile(text, "<source>", "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
            return tree, compile(tree, "<source>", "exec", flags, dont_inherit=True)
    except _FAILURES:
        return None


def _inner(module: CodeType, code: CodeType) -> Iterator[CodeType]:
    """The codes in a module that begin in the line of `code`."""
    ahead = [module]
    while ahead:
        inner = [constant for constant in ahead.pop().co_consts if isinstance(constant, CodeType)]
        yield from (each for each in inner if each.co_firstlineno == code.co_firstlineno)
        ahead += inner


def code_key(constant: object) -> object:
    """What tells code and its constants from others: numbers also by their type and sign."""
    if isinstance(constant, CodeType):
        names = (constant.co_names, constant.co_varnames, constant.co_freevars, constant.co_cellvars)
        counts = (constant.co_argcount, constant.co_posonlyargcount, constant.co_kwonlyargcount, constant.co_flags)
        constants = tuple(map(code_key, constant.co_consts))
        return constant.co_qualname, constant.co_code, names, counts, constants, tuple(constant.co_lines())
    if isinstance(constant, tuple):
        return tuple(map(code_key, cast("tuple[object, ...]", constant)))
    if isinstance(constant, frozenset):
        return frozenset(map(code_key, cast("frozenset[object]", constant)))
    return type(constant), repr(constant)


def _as_definition(node: ast.AST, code: CodeType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The node, if it is the definition that begins in the line of `code`."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != code.co_name:
        return None
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return node if first == code.co_firstlineno else None


def _source(
    function: Callable[..., Any], code: CodeType, text: str, node: ast.FunctionDef | ast.AsyncFunctionDef
) -> Source:
    lines = tuple(text.split("\n")[code.co_firstlineno - 1 : node.end_lineno])  # splitlines splits at more than Python
    if isinstance(node, ast.AsyncFunctionDef):
        message = "a kernel is a function written with 'def' (no lambda, no 'async def')"
        raise CompileError(message, code.co_filename, code.co_firstlineno, lines[0])
    if (owner := class_of(code.co_qualname)) is not None:
        _mangle(node, owner)
    return Source(code.co_filename, code.co_firstlineno, lines, node, owner)


def _mangle(function: ast.FunctionDef, owner: str) -> None:
    """Give the private names of a function in the class `owner` the form that Python uses."""
    for node in ast.walk(function):
        match node:
            case ast.Name():
                node.id = mangled(node.id, owner)
            case ast.Attribute():
                node.attr = mangled(node.attr, owner)
            case ast.arg():
                node.arg = mangled(node.arg, owner)
            case _:
                pass


def _characters(line: str, column: int) -> int:
    """Convert a column of a syntax tree, which counts bytes of UTF-8, to characters."""
    return len(line.encode()[:column].decode(errors="ignore"))
