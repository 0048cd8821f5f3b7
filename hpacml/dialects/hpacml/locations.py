"""Places in the source: where an operation comes from, for messages about it."""

from __future__ import annotations

from abc import ABC
from bisect import bisect_right
from itertools import accumulate
from typing import NoReturn, cast

from xdsl.context import Context
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, LocationAttr, StringAttr, UnknownLoc
from xdsl.ir import Attribute, BuiltinAttribute, Operation, ParametrizedAttribute
from xdsl.irdl import IRDLOperation, irdl_attr_definition
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException


@irdl_attr_definition
class TextLoc(ParametrizedAttribute, BuiltinAttribute):
    """A place in the text of the IR, for an operation that tells no location: messages of the compiler have it."""

    name = "hpacml.text_loc"

    source: FileLineColLoc

    def print_builtin(self, printer: Printer) -> None:
        self.source.print_builtin(printer)


def place(op: Operation | None) -> str:
    """How messages about an operation begin: `heat.py:3:4: `, or nothing where its place is not known."""
    return "" if op is None else written(op.location)


def written(location: Attribute) -> str:
    """A location as errors begin with it, nothing if it is not known."""
    known = written_location(location)
    return "" if known is None else f"{known}: "


def written_location(location: Attribute) -> str | None:
    """A location as `file:line:column`, or as MLIR writes it if it is more than that; None if it is unknown."""
    match location:
        case UnknownLoc():
            return None
        case TextLoc(source=source):
            return written_location(source)
        case FileLineColLoc(filename=file, line=line, column=column):
            return f"{file.data}:{line.data}:{column.data}"
        case other:
            return str(other)


class PlacedOperation(IRDLOperation, ABC):
    """An operation whose errors begin with its place in the source."""

    def emit_error(self, message: str, underlying_error: Exception) -> NoReturn:
        if isinstance(underlying_error, DiagnosticException):
            underlying_error.args = (f"{place(self)}{underlying_error}",)
        super().emit_error(message, underlying_error)


class Text:
    """The text of IR, which begins in line `first_line` of a file."""

    def __init__(self, text: str, name: str, first_line: int = 1):
        self._name, self._first_line = StringAttr(name), first_line
        self._starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]

    def place(self, op: Operation, start: int) -> Operation:
        """Give an operation that tells no location its place in the text, where character `start` is its first."""
        if isinstance(op.location, UnknownLoc):
            line = bisect_right(self._starts, start)
            column = start - self._starts[line - 1] + 1
            where = FileLineColLoc(self._name, IntAttr(self._first_line + line - 1), IntAttr(column))
            op.location = cast("LocationAttr", TextLoc(where))
        return op


class PlacingParser(Parser):
    """Gives operations that tell no location their places in the text, which begins in line `first_line` of a file."""

    def __init__(self, context: Context, text: str, name: str, first_line: int = 1):
        super().__init__(context, text, name)
        self._text = Text(text, name, first_line)

    def parse_operation(self) -> Operation:
        start = self.pos
        return self._text.place(super().parse_operation(), start)


def locate(op: Operation, where: LocationAttr) -> None:
    """Give an operation, and those inside it, a location unless they have one."""
    for each in op.walk():
        if isinstance(each.location, UnknownLoc):
            each.location = where
