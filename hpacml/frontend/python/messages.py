"""Compiles what kernels say: `print`, `raise`, `assert`, and f-strings."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass, field

from xdsl.dialects.arith import BitcastOp
from xdsl.dialects.builtin import i64

from hpacml.abi.records import FailSite, NumberField, PrintSite, shown
from hpacml.frontend.python.arguments import check
from hpacml.frontend.python.context import Context
from hpacml.frontend.python.number import Number
from hpacml.frontend.python.types import FLOAT, Refusal
from hpacml.frontend.python.values import Static, Tuple, Value, describe


@dataclass
class _Text:
    """A text with numbers."""

    pieces: list[str | NumberField] = field(default_factory=list[str | NumberField])
    numbers: list[Number] = field(default_factory=list[Number])

    def add(self, value: Value, format: str = "", conversion: str = "") -> None:
        """Add a value. Raises `Refusal` for what is no text and no number."""
        match value:
            case Number():
                self.pieces.append(NumberField(value.type.name, format, conversion))
                self.numbers.append(value)
            case Static(object=found):
                self.pieces.append(shown(found, format, conversion))
            case Tuple(items=items) if not format:
                self._add_tuple(items)
            case _:
                raise Refusal(f"this is {describe(value)}: kernels print texts and numbers")

    def _add_tuple(self, items: tuple[Value, ...]) -> None:
        for position, item in enumerate(items):
            self.pieces.append(", " if position else "(")
            self.add(item, conversion="r")
        self.pieces.append(",)" if len(items) == 1 else ")" if items else "()")


def _add(context: Context, text: _Text, node: ast.expr) -> None:
    """Add an expression, whose f-string may have numbers. Others are shown as `str` does."""
    if not isinstance(node, ast.JoinedStr):
        text.add(context.value(node), conversion="s")
        return
    for part in node.values:
        if isinstance(part, ast.Constant):
            text.pieces.append(str(part.value))
        elif isinstance(part, ast.FormattedValue):
            conversion = "" if part.conversion < 0 else chr(part.conversion)
            format = "" if part.format_spec is None else static_text(context, part.format_spec)
            with context.at(part.value):
                text.add(context.value(part.value), format, conversion)


def static_text(context: Context, node: ast.expr) -> str:
    """An f-string whose parts are known when the kernel is compiled. Raises `Refusal` for others."""
    text = _Text()
    _add(context, text, node)
    parts: list[str] = []
    numbers = iter(text.numbers)
    for piece in text.pieces:
        if isinstance(piece, NumberField):
            number = next(numbers)
            if number.constant is None:
                raise Refusal(
                    "this f-string has a number that is not known when the kernel is compiled: write all of it where "
                    "it is printed or raised, as in raise ValueError(f'n is {n}')"
                )
            piece = piece.show(number.type.python(number.constant))
        parts.append(piece)
    return "".join(parts)


def _pass_numbers(context: Context, text: _Text) -> None:
    """Give the runtime the numbers of the text that comes next."""
    for number in text.numbers:
        if number.type.is_float:
            bits = context.emit.value(BitcastOp(context.numbers.ssa(context.numbers.convert(number, FLOAT)), i64))
        else:
            bits = context.numbers.bits(number)
        context.emit.call_runtime("hpacml_number", [bits])


# -- print, raise, assert ------------------------------------------------------------------------


def print_(context: Context, node: ast.Call) -> None:
    """Compile `print(...)`."""
    check(context, node, ("sep", "end", "flush"))
    given = [keyword for keyword in node.keywords if keyword.arg != "flush"]  # each print is written at once
    options = {keyword.arg: context.value(keyword.value) for keyword in given}
    texts = {name: value.object for name, value in options.items() if isinstance(value, Static)}
    if len(texts) < len(options):
        raise Refusal("sep and end of print are texts")
    text = _Text()
    for position, argument in enumerate(node.args):
        if position:
            text.pieces.append(" " if texts.get("sep") is None else str(texts["sep"]))
        with context.at(argument):
            _add(context, text, argument)
    text.pieces.append("\n" if texts.get("end") is None else str(texts["end"]))
    _pass_numbers(context, text)
    context.emit.call_site(PrintSite(tuple(text.pieces)), [])


def raise_(context: Context, node: ast.Raise) -> None:
    """Compile `raise ValueError("...")` and the like."""
    call = node.exc
    named = call.func if isinstance(call, ast.Call) else call
    error = None if named is None else context.static(named)
    if not isinstance(error, type) or getattr(builtins, error.__name__, None) is not error:
        raise context.error(node, "a kernel raises built-in exceptions, as in raise ValueError('...')")
    arguments = call.args if isinstance(call, ast.Call) else []
    if not issubclass(error, Exception) or len(arguments) > 1 or (isinstance(call, ast.Call) and call.keywords):
        raise context.error(node, "an exception of a kernel has one text, as in raise ValueError('...')")
    _fail(context, node, error.__name__, arguments[0] if arguments else None)


def require(context: Context, node: ast.Assert) -> bool:
    """Compile `assert condition, "..."`, and tell whether the condition is known to be false."""
    condition = context.truth(node.test)
    if condition.constant:
        return False
    if condition.constant is not None:
        _fail(context, node, "AssertionError", node.msg)
        return True
    with context.emit.when(context.numbers.ssa(context.numbers.invert_truth(condition))):
        _fail(context, node, "AssertionError", node.msg)
    return False


def _fail(context: Context, node: ast.stmt, error: str, message: ast.expr | None) -> None:
    text = _Text()
    if message is not None:
        with context.at(message):
            _add(context, text, message)
    _pass_numbers(context, text)
    place = f"{context.source.file}:{node.lineno}"
    context.emit.call_site(FailSite(error, None if message is None else tuple(text.pieces), place), [])


def always_raises(statements: list[ast.stmt]) -> bool:
    """Whether every path through statements ends by an exception."""
    return any(
        isinstance(each, ast.Raise)
        or (isinstance(each, ast.If) and always_raises(each.body) and always_raises(each.orelse))
        for each in statements
    )
