"""The language: stencil programs as text. Here they are read and checked; `compiler.py` makes IR of them."""

import ast
import re
import sys
from collections import namedtuple
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from hpacml import HpacmlError

STATEMENT = re.compile(r"\s*(?:(program|field|param)\s+(\w+)\s*$|(next\s+)?([^\W\d]\w*)\s*=\s*(?=\S))")
Statement = namedtuple("Statement", "name is_next value line")  # of each point, or the next value of a field there


class Line(NamedTuple):
    """A line of a program; `column` is where its expression begins, counted from 0."""

    file: str
    number: int
    text: str
    column: int = 0

    def place(self, node=None):
        """File, line and column, counted from 1, of an expression or of the line."""
        start = len(self.text) - len(self.text.lstrip()) if node is None else self.column + node.col_offset
        return self.file, self.number, start + 1

    def error(self, message, node=None):
        """An error that shows the line, and where in it."""
        file, line, column = self.place(node)
        end = len(self.text.rstrip()) if node is None else self.column + (node.end_col_offset or 0)
        carets = " " * (column - 1) + "^" * max(1, end - column + 1)
        return HpacmlError(f"{file}:{line}:{column}: {message}\n  {self.text.rstrip()}\n  {carets}")


class Program:
    """A program: each step computes its statements at each point whose neighbours exist; the edge stays."""

    def __init__(self, path):
        self.name, self.fields, self.params, self.statements = "", [], [], []
        self.accesses = {}  # what a step reads, fields with offsets, and where that stands first
        self.numbers = []  # names of parameters and of values
        line = Line(str(path), 1, "")
        for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            line = Line(str(path), number, text.partition("#")[0])
            if line.text.strip():
                self._read(line)
        for what, found in {"program name": self.name, "next u = ...": self.updated, "fields": self.accesses}.items():
            if not found:
                raise line.error(f"the program lacks {what}")

    @property
    def updated(self):
        """The fields that have next values."""
        return [each.name for each in self.statements if each.is_next]

    def _read(self, line):
        found = STATEMENT.match(line.text)
        if found is None or not line.text.isascii():
            raise line.error("expected program, field or param and a name, name = ..., or next name = ..., in ASCII")
        kind, declared, is_next, name = found.groups()
        if kind is None:
            self._compute(name, bool(is_next), line._replace(column=found.end()))
        elif declared in {*self.fields, *self.numbers, "steps", "mode"} or (kind == "program" and self.name):
            raise line.error("the program has a name already" if kind == "program" else f"'{declared}' is taken")
        elif kind == "program":
            self.name = declared
        else:
            (self.fields if kind == "field" else self.params).append(declared)
            self.numbers += [declared] * (kind == "param")

    def _compute(self, name, is_next, line):
        if is_next != (name in self.fields):
            wrong = f"no field{self._similar(name)}" if is_next else f"a field: write next {name} = ..."
            raise line.error(f"'{name}' is {wrong}")
        if name in (self.updated if is_next else self.numbers):
            raise line.error(f"'{name}' has a value already")
        try:
            value = ast.parse(line.text[line.column :].rstrip(), mode="eval").body
        except SyntaxError as error:
            raise line.error(error.msg, ast.Name("", col_offset=(error.offset or 1) - 1, end_col_offset=0)) from None
        self._check(value, line)
        self.statements.append(Statement(name, is_next, value, line))
        self.numbers += [name] * (not is_next)

    def _check(self, node, line):
        """Check an expression, and note what it reads."""
        match node:
            case ast.Constant(value=value) if type(value) in (int, float) and value <= sys.float_info.max:
                pass
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div()):
                self._check(node.left, line)
                self._check(node.right, line)
            case ast.UnaryOp(op=ast.USub()):
                self._check(node.operand, line)
            case ast.Name(id=name) if name in self.numbers:
                pass
            case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) if name in self.fields:
                self.accesses.setdefault((name, offset(node, line)), (line, node))
            case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
                kind = "" if isinstance(node, ast.Name) else "field "
                raise line.error(f"there is no {kind}'{name}'{self._similar(name)}", node)
            case _:
                raise line.error(f"'{ast.unparse(node)}' is none of + - * /, numbers, names, and fields", node)

    def _similar(self, name):
        close = get_close_matches(name, [*self.fields, *self.numbers], 1)
        return f"; did you mean '{close[0]}'?" if close else ""


def offset(node, line):
    """How far the point is that an access reads, such as (-1, 0) of u[-1, 0]."""
    try:
        found = ast.literal_eval(node.slice) if isinstance(node, ast.Subscript) else (0, 0)
    except ValueError:
        found = ()
    if not isinstance(found, tuple) or [*map(type, found)] != [int, int]:
        raise line.error("a neighbour is two whole numbers away, as in u[-1, 0]", node)
    return found
