"""Table II: the lines of a program, and those of its directives."""

import ast
import io
import tokenize
from pathlib import Path
from typing import NamedTuple

from hpacml.directives.parser import parse_many

_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


class Lines(NamedTuple):
    """Lines of code, those of them that directives take, and the directives: functors, maps and `ml`."""

    code: int
    directive_lines: int
    directives: int


def of(program: Path) -> Lines:
    """Count the lines of a file in Python that are neither blank nor comments nor docstrings."""
    source = program.read_text()
    tree = ast.parse(source)
    code = _covered(source) - _prose(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _says_directives(node)]
    lines = {line for call in calls for line in _span(call)}
    texts = [ast.literal_eval(call.args[0]) for call in calls]
    return Lines(len(code), len(lines & code), sum(len(parse_many(text)) for text in texts))


def _covered(source: str) -> set[int]:
    """The lines that tokens take, but for blank ones."""
    blank = {number for number, line in enumerate(source.splitlines(), 1) if not line.strip()}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    spans = [range(token.start[0], token.end[0] + 1) for token in tokens if token.type not in _LAYOUT]
    return {line for span in spans for line in span} - blank


def _prose(tree: ast.Module) -> set[int]:
    """The lines of texts that stand alone: docstrings, also those of attributes."""
    alone = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    texts = [value for value in alone if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return {line for text in texts for line in _span(text)}


def _says_directives(call: ast.Call) -> bool:
    """`approx(...)` and `hpacml.approx(...)` in a kernel, `hpacml.region(...)` around a function."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    return name in ("approx", "region") and bool(call.args)


def _span(node: ast.expr) -> range:
    return range(node.lineno, node.end_lineno + 1)
