"""Directive text to dataclasses: the parser builds what `directives.lark` describes.

Every `parse` function raises `DirectiveError`, and nothing else, for text that is not what it parses.
"""

from __future__ import annotations

import ast
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from io import BytesIO
from math import isinf, prod
from pathlib import Path
from typing import Any, Literal, cast

from lark import Lark, Token, Tree, UnexpectedInput
from lark import __version__ as lark_version
from lark.lark import PostLex
from lark.tree import Meta

from hpacml.clauses import (
    ENGINES,
    KEYS,
    SEED_ALONE,
    Bounds,
    Sampling,
    Verification,
    fault_of,
    label_fault,
)
from hpacml.directives.expressions import (
    ARITHMETIC,
    COMPARISONS,
    MAX_TERMS,
    Expr,
    Span,
    affine,
    index_expr,
    literal,
)
from hpacml.directives.guards import guarding, verification
from hpacml.directives.mistakes import SETTING_SYNONYMS, explain
from hpacml.directives.private import mangled
from hpacml.directives.syntax import (
    Application,
    Batch,
    Directive,
    FunctorDirective,
    Guarding,
    Item,
    MapDirective,
    Metadatum,
    MlDirective,
    Mode,
    Name,
    Target,
    TargetIndex,
    TargetRange,
    Unit,
)
from hpacml.disk import cache as disk
from hpacml.errors import DirectiveError
from hpacml.functors.tensor_functor import Entry, Point, Range, Slice

MAX_LENGTH = 1 << 15
FIELDS = {"in": "inputs", "out": "outputs", "inout": "inouts", "if": "if_condition", "guard": "guarding"}
"""The fields of these clauses; the field of any other has the clause's name."""

LISTS = {"in", "out", "inout", "units", "meta", "truth", "guard", "clip"}
FILE_SUFFIXES = {"pt", "pt2", "safetensors", "h5", "hdf5"}
"""The ends of names that are files without quotes, rather than attributes."""

EXPRESSION_WORDS = {"and", "or", "not", "True", "False", "true", "false"}

Located = tuple[Slice, tuple[Span, ...]]
"""A slice of a functor with the spans of its entries."""


def parse(text: str) -> Directive:
    """The one directive in `text`; `#pragma` and `approx` before it may be left out."""
    return cast(Directive, parse_text(text, "directive"))


def parse_many(text: str, owner: str | None = None) -> list[Directive]:
    """The directives in `text`, one after the other on lines of their own; one may take several lines.

    Names that are private to the class `owner` become those that Python uses there.
    """
    return cast("list[Directive]", parse_text(text, "directives", owner))


def parse_functor(text: str) -> FunctorDirective:
    """The functor in `text`, either `name: [lhs] = ([rhs], ...)` or a whole directive."""
    whole = re.match(r"\s*(#|(approx|declare|tensor|ml)\b(?!\s*:))", text)
    directive = cast(Directive, parse_text(text, "directive" if whole else "functor_decl"))
    if not isinstance(directive, FunctorDirective):
        raise DirectiveError("expected a functor, as in f: [i, 0:2] = ([i], [i + 1])", text, *directive.span)
    return directive


def parse_application_targets(text: str) -> tuple[Target, ...]:
    """The targets of a functor application, as in `a[0:n], b[0:n]`."""
    return cast("tuple[Target, ...]", parse_text(text, "targets"))


def parse_sampling(text: str) -> Sampling:
    """The settings in `text`, the part between the parentheses of the clause `sample`."""
    return cast(Sampling, parse_text(text, "sampling"))


def parse_condition(text: str) -> Expr:
    """The condition in `text`, such as `step > 10 and t < 0.5`."""
    return cast(Expr, parse_text(text, "bool_expr"))


def require_text(text: object, what: str) -> str:
    """Return `text`. Raises `DirectiveError`, which calls it `what`, if it is not a string."""
    if not isinstance(text, str):
        raise DirectiveError(f"{what} must be text, and this is of type {type(text).__name__}")
    return text


def parse_text(text: str, start: str, owner: str | None = None) -> object:
    """What the rule `start` of the grammar makes of `text` in the class `owner`. Raises `DirectiveError`."""
    if len(text) > MAX_LENGTH:
        raise DirectiveError(f"the text has {len(text)} characters, but a directive at most {MAX_LENGTH}")
    grammar = _grammar()
    try:
        tree = cast(Tree[Token], cast(Any, grammar).parse(text, start=start))
    except UnexpectedInput as error:
        raise explain(error, text, grammar) from None
    return _Builder(text, owner).build(tree)


class _SoftKeywords(PostLex):
    """Lexes whole words everywhere, so that `inputs` is not read as the keyword `in` and a rest."""

    always_accept = ("NAME",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


_OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "start": ["directive", "directives", "functor_decl", "targets", "sampling", "bool_expr"],
    "propagate_positions": True,
}


@cache
def _grammar() -> Lark:
    """The grammar, whose tables take some time to make, and are kept on disk."""
    text, kind = Path(__file__).with_name("directives.lark").read_text(encoding="utf-8"), cast(Any, Lark)
    made_of = text, repr((_OPTIONS, _SoftKeywords.always_accept)), lark_version, sys.version

    def make() -> bytes:
        tables = BytesIO()
        kind(text, postlex=_SoftKeywords(), **_OPTIONS).save(tables)
        return tables.getvalue()

    return disk.fetch(disk.key("grammar", *made_of), make, lambda data: kind.load(BytesIO(data)))


class _Builder:
    """Builds dataclasses: one method per rule of the grammar, which gets the rule's place and its built parts."""

    def __init__(self, text: str, owner: str | None):
        self.text = text
        self._owner = owner

    def build(self, tree: Tree[Token]) -> object:
        # From the leaves up, not by recursion, whose depth the text would decide.
        built: dict[int, object] = {}
        for subtree in tree.iter_subtrees():
            parts = (built.pop(id(part)) if isinstance(part, Tree) else part for part in subtree.children)
            built[id(subtree)] = getattr(self, subtree.data)(subtree.meta, *parts)
        return built[id(tree)]

    def _error(self, message: str, where: Meta | Token | Span) -> DirectiveError:
        span = where if isinstance(where, Span) else _span(where)
        return DirectiveError(message, self.text, *span)

    def _name(self, token: Token) -> str:
        """A name without dots."""
        if "." in token:
            raise self._error(f"'{token}' cannot be a name: only arguments have attributes", token)
        return self._path(token)

    def _path(self, token: Token) -> str:
        """A name, or attributes of one, `name.attribute`."""
        # Python normalises its names in this way, and the arguments of a kernel are such names.
        names = unicodedata.normalize("NFKC", str(token)).split(".")
        for name in names:
            if not name.isidentifier() or name in EXPRESSION_WORDS:
                raise self._error(
                    f"'{token}' cannot be a name{': it is a word of expressions' * (name in EXPRESSION_WORDS)}", token
                )
        return ".".join(mangled(name, self._owner) for name in names)

    def _int(self, token: Token) -> int:
        if len(token) > 1 and token[0] == "0":
            raise self._error(f"write {token.lstrip('0') or 0} without leading zeros", token)
        if len(token) > 19 or int(token) >= 1 << 63:
            raise self._error("the number does not fit 64 bits", token)
        return int(token)

    def directives(self, _: Meta, *directives: object) -> list[object]:
        return list(directives)

    # -- functors --------------------------------------------------------------------------------

    def functor_decl(self, meta: Meta, name: Token, lhs: Located, *rhs: Located) -> FunctorDirective:
        slices, spans = tuple(s for s, _ in rhs), (lhs[1], *(where for _, where in rhs))
        return FunctorDirective(self._name(name), lhs[0], slices, spans, _span(meta), self.text)

    def ss_spec(self, meta: Meta, *entries: tuple[Entry, Span]) -> Located:
        ranges = (entry for entry, _ in entries if isinstance(entry, Range))
        if prod(len((entry.stop - entry.start).terms) for entry in ranges) > MAX_TERMS:
            raise self._error(
                f"the number of features of this slice has more than {MAX_TERMS} terms when multiplied out: "
                "compute a part of it before and use its name",
                meta,
            )
        return tuple(entry for entry, _ in entries), tuple(where for _, where in entries)

    def s_slice(self, meta: Meta, start: Expr, *rest: Token | Expr | None) -> tuple[Entry, Span]:
        colon, stop, _, step = rest
        if colon is None:
            return Point(affine(start)), _span(meta)
        if not isinstance(stop, Expr):
            raise self._error(f"a range in a functor needs both bounds: write where it ends, {start}:stop", meta)
        bounds = affine(start), affine(stop)
        return Range(*bounds, affine(step)) if isinstance(step, Expr) else Range(*bounds), _span(meta)

    def s_expr(self, meta: Meta, node: ast.expr) -> Expr:
        return Expr(node, _span(meta), self.text)

    # -- maps ------------------------------------------------------------------------------------

    def map(self, meta: Meta, head: Token, application: Application) -> MapDirective:
        named = head.type == "NAME"
        direction = None if named else cast(Literal["to", "from"], head.value)
        name = self._name(head) if named else None
        return MapDirective(direction, name, application, _span(meta), self.text)

    def fa_expr(self, meta: Meta, functor: Token, targets: tuple[Target, ...]) -> Application:
        return Application(self._name(functor), targets, _span(meta))

    def targets(self, _: Meta, *targets: Target) -> tuple[Target, ...]:
        return targets

    def target(self, meta: Meta, array: Token, *entries: TargetIndex | TargetRange | Target) -> Target:
        return Target(self._path(array), entries, _span(meta), self.text)

    def number(self, meta: Meta, name: Token) -> Target:
        return Target(self._path(name), (), _span(meta), self.text)

    def c_slice(
        self, meta: Meta, first: Expr | Target | Token, *rest: Token | Expr | None
    ) -> TargetIndex | TargetRange | Target:
        if isinstance(first, Target):
            return first
        if isinstance(first, Token):
            return self._from_the_first(meta, *cast("tuple[Expr | None, Token | None, Expr | None]", rest))
        colon, stop, _, step = cast("tuple[Token | None, Expr | None, Token | None, Expr | None]", rest)
        return TargetIndex(first) if colon is None else TargetRange(first, stop, step, _span(meta))

    def _from_the_first(self, meta: Meta, stop: Expr | None, _: Token | None, step: Expr | None) -> TargetRange:
        """A range without a start. Raises `DirectiveError` unless it is known to run forwards."""
        forwards = step is None or (isinstance(step.node, ast.Constant) and isinstance(step.node.value, int))
        if not forwards:  # a constant has no sign
            raise self._error("a range that may run backwards needs a start, as in n-1:0:-1", _span(meta))
        return TargetRange(Expr(ast.Constant(0), _span(meta), self.text), stop, step, _span(meta))

    def c_expr(self, meta: Meta, node: ast.expr) -> Expr:
        return index_expr(Expr(node, _span(meta), self.text))

    # -- ml --------------------------------------------------------------------------------------

    def ml(self, meta: Meta, mode: tuple[Mode, Expr | None], *clauses: tuple[Token, Any]) -> MlDirective:
        fields: dict[str, Any] = {}
        spans: dict[str, Span] = {}
        for keyword, value in clauses:
            if keyword in spans:
                fix = "join the two into one" if keyword in LISTS else "leave one of them out"
                raise self._error(f"the clause '{keyword}' is given twice: {fix}", keyword)
            fields[FIELDS.get(keyword, str(keyword))] = value
            spans[str(keyword)] = _span(keyword)
        directive = MlDirective(*mode, **fields, clauses=spans, span=_span(meta), text=self.text)
        only_in, only_out = set(directive.inputs), set(directive.outputs)
        for item in directive.inouts:
            other = "in" if item in only_in else "out" if item in only_out else None
            if other is not None:
                raise self._error(
                    f"'{item}' is in 'inout' and in '{other}': 'inout' is both, so leave it out of '{other}'",
                    item.span,
                )
        return directive

    def ml_mode(self, _: Meta, mode: Token, __: Token | None, condition: Expr | None) -> tuple[Mode, Expr | None]:
        if mode == "predicated" and condition is None:
            raise self._error(
                "'predicated' needs a condition: write predicated: c, which infers if c is true and else collects",
                mode,
            )
        if mode != "predicated" and condition is not None:
            raise self._error(
                f"'{mode}' takes no condition: write if(...) to run the region as it is unless the condition "
                "holds, or predicated: ... to choose between infer and collect",
                condition.span,
            )
        return "collect" if mode == "offline" else cast(Mode, mode.value), condition

    def clause(
        self, meta: Meta, keyword: Token, _: Token | None = None, value: Any = True, __: Token | None = None
    ) -> object:
        if keyword == "engine":
            if value not in ENGINES:
                raise self._error(f"'engine' takes {', '.join(ENGINES)}", value)
            return keyword, str(value)
        if isinstance(value, Token):
            number = self._int(value)
            if keyword == "batch" and number == 0:
                raise self._error("a batch has at least one row: write batch alone to leave the number open", value)
            value = number
        if keyword in ("model", "database") and isinstance(value, Name):
            self._refuse_file(value)
            return keyword, value
        if keyword == "label" and (fault := label_fault(value)) is not None:
            raise self._error(fault, meta)
        return keyword, Batch(value) if keyword == "batch" else value

    def guard(self, meta: Meta, *settings: Token | tuple[Token, ast.expr]) -> Guarding:
        given = [(setting, None) if isinstance(setting, Token) else setting for setting in settings]
        self._refuse_twice(key for key, _ in given)
        return guarding(given, meta, self.text, self._error)

    def verification(self, meta: Meta, *settings: tuple[Token, ast.expr]) -> Verification:
        self._refuse_twice(key for key, _ in settings)
        return verification(settings, meta, self._error)

    def word(self, _: Meta, word: Token) -> Token:
        return word

    def clip(self, meta: Meta, *bounds: tuple[Token | None, Bounds]) -> tuple[Bounds, ...]:
        self._refuse_twice(array for array, _ in bounds if array is not None)
        if len(bounds) > 1 and any(array is None for array, _ in bounds):
            raise self._error("bounds of all outputs stand alone: name the output of each, as in clip(y: 0:1)", meta)
        return tuple(each for _, each in bounds)

    def bounds(
        self, meta: Meta, array: Token | None, _: Token | None, low: float | None, __: Token, high: float | None
    ) -> tuple[Token | None, Bounds]:
        if low is None and high is None:
            raise self._error("give a bound, or both: clip(0:), clip(:1), clip(0:1)", meta)
        if low is not None and high is not None and low > high:
            raise self._error(f"the lower bound, {low}, is above the upper one, {high}", meta)
        return array, Bounds(None if array is None else self._path(array), low, high)

    def bound(self, _: Meta, token: Token) -> float:
        if isinf(value := float(token)):
            raise self._error("the number does not fit a double", token)
        return value

    def negative_bound(self, meta: Meta, token: Token) -> float:
        return -self.bound(meta, token)

    def _refuse_file(self, name: Name) -> None:
        dot = name.span.end - len(name.id.rpartition(".")[2]) - 1
        if "." in name.id and self.text[dot + 1 : name.span.end] in FILE_SUFFIXES:
            raise self._error("found '.', expected ')': put the text between quotes", Span(dot, dot + 1))

    def sampling(self, _: Meta, *settings: tuple[Token, ast.expr]) -> Sampling:
        self._refuse_twice(key for key, _ in settings)
        found: dict[str, int | float] = {}
        for key, node in settings:
            if key not in KEYS:
                close = SETTING_SYNONYMS.get(key) or next(iter(get_close_matches(key, KEYS, 1)), None)
                hint = f"did you mean '{close}'?" if close else f"it takes {', '.join(KEYS)}"
                raise self._error(f"'sample' has no '{key}': {hint}", key)
            value = literal(node)
            if (fault := fault_of(key, value)) is not None:
                raise self._error(fault, Span(node.col_offset, node.end_col_offset or 0))
            found[str(key)] = float(value) if key == "fraction" else value
        seed = next((key for key, _ in settings if key == "seed"), None)
        if seed is not None and "fraction" not in found:
            raise self._error(SEED_ALONE, seed)
        return Sampling.of(found)

    def setting(self, _: Meta, key: Token, value: ast.expr) -> tuple[Token, ast.expr]:
        return key, value

    def units(self, _: Meta, *units: tuple[Token, Unit]) -> tuple[Unit, ...]:
        self._refuse_twice(array for array, _ in units)
        return tuple(unit for _, unit in units)

    def unit(self, _: Meta, array: Token, unit: str) -> tuple[Token, Unit]:
        return array, Unit(Name(self._path(array), _span(array)), unit)

    def meta(self, _: Meta, *settings: tuple[Token, ast.expr]) -> tuple[Metadatum, ...]:
        self._refuse_twice(key for key, _ in settings)
        if dotted := next((key for key, _ in settings if "." in key), None):
            raise self._error(f"'{dotted}' cannot be a name: only values have attributes", dotted)
        spans = (Span(node.col_offset, node.end_col_offset or 0) for _, node in settings)
        return tuple(
            Metadatum(unicodedata.normalize("NFKC", key), Expr(node, span, self.text))
            for (key, node), span in zip(settings, spans, strict=True)
        )

    def _refuse_twice(self, keys: Iterable[Token]) -> None:
        seen: set[str] = set()
        for key in keys:
            if (name := unicodedata.normalize("NFKC", key)) in seen:
                raise self._error(f"'{key}' is given twice: leave one of them out", key)
            seen.add(name)

    def mapped(self, _: Meta, *items: Item) -> tuple[Item, ...]:
        return items

    def reference(self, meta: Meta, name: Token) -> Name:
        return Name(self._path(name), _span(meta))

    def string(self, meta: Meta, token: Token) -> str:
        value = str(token)[1:-1]
        if not value:
            raise self._error("the string is empty: write what it names, or leave the clause out", meta)
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise self._error("the string holds a control character", meta)
        return value

    def bool_expr(self, meta: Meta, node: ast.expr) -> Expr:
        return Expr(node, _span(meta), self.text)

    # -- expressions -----------------------------------------------------------------------------

    def expr(self, meta: Meta, *values: ast.expr) -> ast.expr:
        return _located(ast.BoolOp(ast.Or(), list(values)), meta)

    def conjunction(self, meta: Meta, *values: ast.expr) -> ast.expr:
        return _located(ast.BoolOp(ast.And(), list(values)), meta)

    def not_(self, meta: Meta, operand: ast.expr) -> ast.expr:
        return _located(ast.UnaryOp(ast.Not(), operand), meta)

    def comparison(self, meta: Meta, left: ast.expr, *rest: Token | ast.expr) -> ast.expr:
        ops = [COMPARISONS[str(op)]() for op in rest[::2]]
        return _located(ast.Compare(left, ops, cast(list[ast.expr], list(rest[1::2]))), meta)

    def binary(self, meta: Meta, left: ast.expr, op: Token, right: ast.expr) -> ast.expr:
        return _located(ast.BinOp(left, ARITHMETIC[str(op)](), right), meta)

    def negative(self, meta: Meta, operand: ast.expr) -> ast.expr:
        return _located(ast.UnaryOp(ast.USub(), operand), meta)

    def variable(self, meta: Meta, token: Token) -> ast.expr:
        return _located(ast.Name(self._path(token), ast.Load()), meta)

    def length(self, meta: Meta, array: Token) -> ast.expr:
        function = _located(ast.Name("len", ast.Load()), meta)
        return _located(ast.Call(function, [self.variable(meta, array)], []), meta)

    def integer(self, meta: Meta, token: Token) -> ast.expr:
        return _located(ast.Constant(self._int(token)), meta)

    def real(self, meta: Meta, token: Token) -> ast.expr:
        if isinf(float(token)):
            raise self._error("the number does not fit a double", token)
        return _located(ast.Constant(float(token)), meta)

    def true(self, meta: Meta) -> ast.expr:
        return _located(ast.Constant(True), meta)

    def false(self, meta: Meta) -> ast.expr:
        return _located(ast.Constant(False), meta)


def _span(where: Meta | Token) -> Span:
    return Span(where.start_pos or 0, where.end_pos or 0)


def _located(node: ast.expr, meta: Meta) -> ast.expr:
    node.lineno = node.end_lineno = 1
    node.col_offset, node.end_col_offset = _span(meta)
    return node
