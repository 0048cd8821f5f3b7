"""What plain `xdsl-opt` tells of an error about hpacml: what `hpacml-opt` does, in place of a traceback."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation
from xdsl.parser import Parser
from xdsl.utils.exceptions import DiagnosticException, ParseError
from xdsl.utils.lexer import Input

from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.dialects.hpacml.locations import Text
from hpacml.errors import HpacmlError
from hpacml.tools.refused_operation import told

_PLACING = "placed"
"""The name of the function by which `place_operations` is on the stack of every parse."""

_PACKAGE = str(Path(__file__).parents[1])


def shorten_errors() -> None:
    """Have the program print errors about hpacml by `text_of`, and all others as before."""
    others = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if (text := text_of(error)) is None:
            others(kind, error, trace)
        else:
            print(f"xdsl-opt: {text}", file=sys.stderr)

    sys.excepthook = show


def place_operations() -> None:
    """Have the program's parser give operations that tell no location their places in the text, for errors."""
    parse = Parser.parse_operation
    known: dict[int, tuple[Input, Text]] = {}  # with the inputs, so that no other one has the number of one of them

    def placed(self: Parser) -> Operation:
        source = self.lexer.input
        if (found := known.get(id(source))) is None:
            found = known[id(source)] = source, Text(source.content, source.name)
        start = self.pos
        return found[1].place(parse(self), start)

    Parser.parse_operation = placed


def text_of(error: BaseException) -> str | None:
    """The error for a user; None where it is no error for users, or not about hpacml."""
    if isinstance(error, DiagnosticException | HpacmlError | ParseError) and _is_ours(error):
        return told(error)
    return None


def _is_ours(error: BaseException) -> bool:
    """Whether code of hpacml has raised it, or it is about a module that has operations of hpacml."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        parsed = frame.f_locals.get("op_type")
        if isinstance(parsed, type) and issubclass(parsed, IRDLOperation) and parsed.name.startswith(PREFIXES):
            return True
        if frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_code.co_name != _PLACING:
            return True
        if any(isinstance(value, ModuleOp) and _has_ours(value) for value in frame.f_locals.values()):
            return True
    return False


def _has_ours(module: ModuleOp) -> bool:
    return any(op.name.startswith(PREFIXES) for op in module.walk())
