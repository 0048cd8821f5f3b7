"""The clauses that say where a model may be used, and what its outputs are bounded by."""

from __future__ import annotations

import pytest

from hpacml.clauses import Bounds, Guard
from hpacml.directives.parser import parse
from hpacml.directives.syntax import MlDirective
from hpacml.errors import DirectiveError

REGION = "ml(infer) in(f(a[0:n])) out(g(y[0:n])) "


def clause(text: str) -> MlDirective:
    directive = parse(REGION + text)
    assert isinstance(directive, MlDirective)
    assert parse(directive.canonical) == directive
    return directive


@pytest.mark.parametrize(
    ("text", "guard", "where"),
    [
        ("range", Guard(range=True), None),
        ("range, margin: 0.1", Guard(range=True, margin=0.1), None),
        ("distance: 4", Guard(distance=4.0), None),
        ("below: -0.5", Guard(below=-0.5), None),
        ("where: mask", Guard(), "mask"),
        ("where: T > 1400 && T < limit, range", Guard(range=True), "T > 1400 and T < limit"),
    ],
)
def test_guard(text: str, guard: Guard, where: str | None) -> None:
    found = clause(f"guard({text})").guarding
    assert found is not None
    assert found.guard == guard
    assert (None if found.where is None else str(found.where)) == where


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("0 :", [Bounds(None, 0.0, None)]),
        (": 1.5", [Bounds(None, None, 1.5)]),
        ("y: -1e-3 : 2, z: : 5", [Bounds("y", -0.001, 2.0), Bounds("z", None, 5.0)]),
    ],
)
def test_clip(text: str, bounds: list[Bounds]) -> None:
    assert list(clause(f"clip({text})").clip) == bounds


def test_project_and_pointwise() -> None:
    directive = clause("guard(range) project(conserve) pointwise")
    assert directive.project is not None
    assert directive.project.id == "conserve"
    assert directive.pointwise


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guard(margin: 0.1)", "'margin' widens the ranges of 'range'"),
        ("guard(rnge)", "did you mean 'range'?"),
        ("guard(range: 3)", "'range' takes no value: write guard\\(range, margin: 0.1\\)"),
        ("guard(where)", "'where' takes a value, as in where: t > 0.5"),
        ("guard(range, margin: -1)", "'margin' is a number, 0 or more"),
        ("guard(distance: 0)", "'distance' is a number, above 0"),
        ("guard(uncertainty: 0.1)", "did you mean 'below'?"),
        ("guard(range) guard(below: 1)", "given twice: join the two into one"),
        ("clip(:)", "give a bound, or both"),
        ("clip(2:1)", "the lower bound, 2.0, is above the upper one, 1.0"),
        ("clip(0:, y: 1:)", "name the output of each"),
        ("clip(y: 0:1, y: 1:2)", "'y' is given twice"),
        ("clip(0:1e999)", "does not fit a double"),
        ("project(a, b)", "expected '\\)'"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(DirectiveError, match=message):
        parse(REGION + text)
