"""Builds the clauses `guard` and `verify` of their settings."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from lark import Token
from lark.tree import Meta

from hpacml.clauses import (
    COLLECT_ALONE,
    GUARD_NUMBERS,
    GUARD_WORDS,
    MARGIN_ALONE,
    VERIFICATION_KEYS,
    Guard,
    Verification,
    guard_fault_of,
    verification_fault_of,
)
from hpacml.directives.expressions import Expr, Span, literal
from hpacml.directives.mistakes import GUARD_SYNONYMS, VERIFY_SYNONYMS
from hpacml.directives.syntax import Guarding
from hpacml.errors import DirectiveError

EXAMPLES = {"where": "where: t > 0.5", **{key: f"{key}: 0.1" for key in GUARD_NUMBERS}}


def guarding(
    given: Sequence[tuple[Token, ast.expr | None]],
    meta: Meta,
    text: str,
    error: Callable[[str, Meta | Token | Span], DirectiveError],
) -> Guarding:
    """The clause of settings, each with its value or None. `error` makes an error of a message and its place."""
    found: dict[str, Any] = {}
    where: Expr | None = None
    for key, node in given:
        if key == "where" and node is not None:
            where = Expr(node, _span(node), text)
        elif (key in GUARD_WORDS) != (node is None) or key not in (*GUARD_WORDS, *GUARD_NUMBERS):
            raise error(_misused(key), key)
        elif node is None:
            found[str(key)] = True
        elif (fault := guard_fault_of(key, value := literal(node))) is not None:
            raise error(fault, _span(node))
        else:
            found[str(key)] = float(value)
    if "margin" in found and "range" not in found:
        raise error(MARGIN_ALONE, next(key for key, _ in given if key == "margin"))
    guard = Guard(**found)
    if where is None and not guard.rejects:
        raise error(COLLECT_ALONE, next(key for key, _ in given if key == "collect"))
    return Guarding(guard, where)


def verification(
    given: Sequence[tuple[Token, ast.expr]], meta: Meta, error: Callable[[str, Meta | Token | Span], DirectiveError]
) -> Verification:
    """The clause of settings. `error` makes an error of a message and its place."""
    found: dict[str, Any] = {}
    for key, node in given:
        if key not in VERIFICATION_KEYS:
            close = VERIFY_SYNONYMS.get(key) or next(iter(get_close_matches(key, VERIFICATION_KEYS, 1)), None)
            hint = f"did you mean '{close}'?" if close else f"it takes {', '.join(VERIFICATION_KEYS)}"
            raise error(f"'verify' has no '{key}': {hint}", key)
        value = node.id if isinstance(node, ast.Name) else literal(node)
        if (fault := verification_fault_of(key, value)) is not None:
            raise error(fault, _span(node))
        found[str(key)] = float(value) if key == "tolerance" else value
    if missing := [key for key in ("every", "tolerance") if key not in found]:
        raise error(f"'verify' needs '{missing[0]}', as in verify(every: 100, tolerance: 0.01)", meta)
    return Verification(**found)


def _misused(key: Token) -> str:
    """What is wrong with a setting."""
    if key in GUARD_WORDS:
        hint = "guard(range, margin: 0.1) to widen the ranges" if key == "range" else "guard(range, collect)"
        return f"'{key}' takes no value: write {hint}"
    if key in EXAMPLES:
        return f"'{key}' takes a value, as in {EXAMPLES[key]}"
    known = (*GUARD_WORDS, *EXAMPLES)
    close = GUARD_SYNONYMS.get(key) or next(iter(get_close_matches(key, known, 1)), None)
    return f"'guard' has no '{key}': " + (f"did you mean '{close}'?" if close else f"it takes {', '.join(known)}")


def _span(node: ast.expr) -> Span:
    return Span(node.col_offset, node.end_col_offset or 0)
