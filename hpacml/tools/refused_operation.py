"""Which operation an error of xDSL is about: one line, where xDSL prints the whole module around it."""

from __future__ import annotations

import traceback
from io import StringIO

from xdsl.ir import Operation
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException

from hpacml.dialects.hpacml.locations import place
from hpacml.errors import plain
from hpacml.passes.common.located import Refusal

WIDTH = 200
"""The most characters of an operation that are shown."""


def told(error: Exception) -> str:
    """An error for users: with the operation that it is about, or with its notes."""
    if isinstance(error, DiagnosticException):
        return plain(f"{error}{describe(error)}")
    return plain("\n".join([str(error), *getattr(error, "__notes__", ())]))


def describe(error: DiagnosticException) -> str:
    """The operation that an error is about, its function, and its place unless the error tells it; or nothing."""
    op = _operation(error)
    if op is None:
        return ""
    function = _symbol_around(op)
    inside = f" in @{function}" if function else ""
    where = place(op)
    at = "" if str(error).startswith(where) else f" at {where.removesuffix(': ')}"
    return f"\nin the operation{inside}{at}: {_start(op)}"


def _operation(error: DiagnosticException) -> Operation | None:
    """Errors of passes have it. xDSL hands it to `emit_error`, and keeps only text of it in the error."""
    if isinstance(error, Refusal):
        return error.operation
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is Operation.emit_error.__code__:
            op = frame.f_locals["self"]
            return op if isinstance(op, Operation) else None
    return None


def _symbol_around(op: Operation) -> str:
    around = op.parent_op()
    while around is not None and around.name != "func.func":
        around = around.parent_op()
    return "" if around is None else str(around.properties["sym_name"]).strip('"')


def _start(op: Operation) -> str:
    """The generic form as far as it fits a line: it can be printed also of operations that do not verify."""
    text = StringIO()
    Printer(text, print_generic_format=True).print_op(op)
    line = text.getvalue().split("\n", 1)[0]
    return line if len(line) <= WIDTH else f"{line[:WIDTH]} ..."
