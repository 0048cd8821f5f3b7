"""Derived maps of random nests touch what a tracer of the nest sees, for sizes from none up; else a true reason is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from xdsl.parser import Parser
from xdsl.utils.exceptions import PassFailedException

from hpacml.passes import get_pass
from hpacml.pipelines import make_context
from tests.random_nests.oracle import OutOfBounds, Trace
from tests.random_nests.program import RANKS, Assign, If, Loop, Statement, Writer, parts
from tests.random_nests.touched import Touched
from tests.random_nests.writer import Text

PROGRAMS = 400
MOST_REFUSED = 35
"""Of 50 programs."""
NUMBERS = ({"n": 5, "m": 4}, {"n": 0, "m": 3}, {"n": 1, "m": 1}, {"n": 2, "m": 7}, {"n": -2, "m": 3})
SIZES = {name: (64,) * rank for name, rank in RANKS.items()}

Program = tuple[Statement, ...]


def traces(program: Program) -> Iterator[tuple[dict[str, int], Trace]]:
    """What the program touches, by `n` and `m`, where it stays inside of its arrays."""
    for numbers in NUMBERS:
        try:
            ways = [Trace({**numbers, "flag": flag}, SIZES).run(program) for flag in (0, 1)]
            yield numbers, ways[0].beside(ways[1])
        except OutOfBounds:
            continue


@pytest.mark.parametrize("first", range(0, PROGRAMS, 50))
def test_random_nests(first: int) -> None:
    assert sum(not is_exact(seed) for seed in range(first, first + 50)) <= MOST_REFUSED


def is_exact(seed: int) -> bool:
    """Whether a program's maps are derived. They are checked, and so is the reason if they are not."""
    program = Writer(seed).program()
    module = Parser(make_context(), Text(program).text).parse_module()
    try:
        get_pass("hpacml-infer-maps")().apply(make_context(), module)
    except PassFailedException as error:
        if not is_true(str(error), program):
            pytest.fail(f"program {seed} is refused, and this is no reason: {error}")
        return False
    module.verify()
    for numbers, trace in traces(program):
        touched = Touched(module, numbers, SIZES)
        written = touched.written
        assert touched.read == trace.read, (seed, numbers, program)
        assert set(written) == trace.written == trace.maybe, (seed, numbers, program)
        assert len(set(written)) == len(written), (seed, numbers, program)
    return True


def is_true(reason: str, program: Program) -> bool:
    """Whether a program is what the reason says for which it is refused."""
    seen = [trace for _, trace in traces(program)]
    named = re.search(r"of '(\w+)'", reason)
    array = named[1] if named else ""
    statements = list(parts(program))
    assigns = [each for each in statements if isinstance(each, Assign)]
    loops = [each for each in statements if isinstance(each, Loop)]
    read, written, again = (
        any(place[0] == array for trace in seen for place in getattr(trace, what))
        for what in ("read", "maybe", "again")
    )
    if "writes no array" in reason:
        return not any(trace.maybe for trace in seen)
    if "reads nothing" in reason:
        return not any(trace.read for trace in seen)
    if "under a condition of the index" in reason:
        return any(isinstance(each, If) and each.kind == "index" for each in statements)
    if "under a condition" in reason:
        return any(isinstance(each, If) for each in statements)
    names = {loop.name for loop in loops}
    nested = any(name in names for loop in loops for bound in (loop.lower, loop.upper) for name, _ in bound.factors)
    if "bounds of the loop" in reason:
        return nested
    if "adds up several loops" in reason or "its indices do not tell" in reason:
        elements = [e for assign in assigns for e in (assign.target, *assign.reads)]
        return nested or any(len(each.factors) > 1 for e in elements for each in e.index)
    if "without dimensions" in reason:
        return array == "zero"
    if "another store" in reason:
        return sum(assign.target.array == array for assign in assigns) > 1
    if "has been written before" in reason:
        return written and again
    return "some are read first" in reason and written and (read or again)
