"""Expressions of arrays with the types of their results, which NumPy computes from samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.random_programs.scope import DTYPES, FLOATS, INTEGERS

UNARY = [
    *("-{}", "~{}", "+{}", "abs({})", "{} ** 2", "{} ** 1", "{} ** (-1)", "{} ** 0.5", "{} ** 3"),
    *(f"np.{name}({{}})" for name in ("abs", "sign", "square", "floor", "ceil", "rint", "trunc", "fabs")),
    *(f"np.{name}({{}})" for name in ("isnan", "isfinite", "isinf", "logical_not")),
    *("np.sqrt(np.abs({}))", "{}.copy()", "np.copy({})", "{}.astype(bool)", "{}.astype(np.float32)"),
]
BINARY = [
    *(
        f"{{}} {operator} {{}}"
        for operator in ("+", "-", "*", "+", "-", "*", "/", "//", "%", "&", "|", "^", "<<", ">>")
    ),
    *(f"{{}} {operator} {{}}" for operator in ("<", "<=", ">", ">=", "==", "!=")),
    *(f"np.{name}({{}}, {{}})" for name in ("minimum", "maximum", "hypot", "logical_and", "logical_or")),
]
TERNARY = ["np.where({}, {}, {})", "np.where({}, {}, {})", "np.clip({}, {}, {})"]


@dataclass(frozen=True)
class Term:
    """An expression, and a value of its type."""

    text: str
    sample: Any

    @property
    def dtype(self) -> str:
        """The dtype of an array, or of one of NumPy's numbers."""
        return np.asarray(self.sample).dtype.name

    @property
    def rank(self) -> int:
        return np.ndim(self.sample)


def of_array(text: str, dtype: str, rank: int) -> Term:
    return Term(text, np.ones((1,) * rank, dtype))


def combined(pattern: str, *terms: Term) -> Term | None:
    """The pattern with terms in its braces, None if kernels and NumPy do not have it."""
    names = {f"x{position}": term.sample for position, term in enumerate(terms)}
    with np.errstate(all="ignore"):
        try:
            sample = eval(pattern.format(*names), {"np": np, **names})
        except (TypeError, ValueError, OverflowError):
            return None
    found = Term(pattern.format(*(term.text for term in terms)), sample)
    if np.asarray(sample).dtype.name not in DTYPES or not _is_exact(pattern, found):
        return None
    return found if pattern[-1] == ")" and pattern[:2] == "np" else Term(f"({found.text})", sample)


def _is_exact(pattern: str, result: Term) -> bool:
    """Whether kernels have a power."""
    return "**" not in pattern or result.dtype not in FLOATS or "3" not in pattern


def fitting(term: Term, dtype: str) -> Term:
    """A term whose values an array of this dtype takes: what becomes of other floats is not defined."""
    if term.dtype in FLOATS and dtype in INTEGERS:
        return Term(f"np.where(({term.text} > -1) & ({term.text} < 100), {term.text}, 7)", term.sample)
    return term


def exact(term: Term, most: int) -> Term:
    """A term of small integers, whose sums are exact in any order."""
    if term.dtype in FLOATS:
        text = f"np.clip(np.rint(np.where(np.isfinite({term.text}), {term.text}, 2.0)), -{most}, {most})"
        return Term(text, np.rint(np.where(np.isfinite(term.sample), term.sample, 2.0)))
    return combined(f"{{}} % {most}", term) or term
