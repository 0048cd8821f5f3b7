"""Hostile directive text: whatever it is, only an `HpacmlError` may come out, and soon.

    python tests/fuzz_text.py --examples 200000 --seed 1

Each example depends on the seed and its own number alone, so a failure can be run again by itself with `--only`.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import FrameType
from typing import TypeVar

import numpy as np

import hpacml
from hpacml.directives.expressions import Expr, evaluate
from hpacml.directives.parser import parse, parse_application_targets, parse_functor, parse_many
from hpacml.directives.syntax import (
    Directive,
    FunctorDirective,
    MlDirective,
    Target,
    TargetIndex,
    TargetRange,
)
from hpacml.errors import DirectiveError, HpacmlError
from hpacml.functors.tensor_functor import names_of

BENCHMARKS = Path(__file__).parent / "directives" / "benchmark_directives.txt"
LINES = [
    *BENCHMARKS.read_text(encoding="utf-8").splitlines(),
    "approx tensor functor(ifnctr: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))",
    "tensor functor(f: [0:4, i, j] = ([-i + 2*(3 - m)*j, 0:4:2], [i, k]))",
    "f: [i, 0:2*m, c] = ([i*m : i*m + m], [1, i*m : i*m + m : 1])",
    "tensor map(to: ifnctr(t[1:N-1, 1:M-1]))",
    "tensor map(from: g(data[acc1[acc2[0:N]]], pos[idx[0:N], 0:3], x[3, a:], y[n/2:n:2]))",
    "ml(predicated: !(a && b) || 1 < x <= 2.5e-3) in(t, f(u[0:n])) out(v) model('m.pt2') database(\"d.h5\") batch(8)",
    "ml(collect) in(t) out(u) sample(every: 10, fraction: 0.5, seed: 3, most: 9) units(t: 'K', u: \"m/s\")",
    "approx ml(collect), inout(t) \\\n label('heat'), if(step % 10 == 0)",
]
TARGETS = [
    *("t[0:n]", "t[1:n-1, 1:m-1]", "a[0:n], b[0:n]", "a[i[0:n], 0:3]", "a[n:0:-1]", "x[2, 1:]", "data[p[q[0:n]]]"),
    *("t[0:4, 0:(nz+2*hs), 0:(nx+2*hs)]", "a[0:n:2], b[1:n:2], c[3]", "a[-1:n]", "a[9223372036854775807:n]"),
]
FUNCTORS = [
    *("f: [i] = ([i])", "f: [i, 0:2] = ([i], [i])", "f: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])"),
    *("f: [i, 0:m] = ([i*m:i*m+m])", "f: [i, c] = ([i, k])", "f: [0:2, i] = ([i-1:i+1])", "f: [i, 0:3] = ([i, 0:3])"),
]
KEYWORDS = r"""
approx tensor functor map declare tensor_functor ml to from in out inout model database label if batch
sample every fraction seed most units
infer collect offline predicated and or not true False f i j n t 0 1 5 2.5 1e9 'x' "y" #pragma
( ) [ ] : , = + - * / // % < <= == != && || ! & | . ; ' " \ ** { } $ @ ?
"""
HOSTILE = [
    *(" ", "\n", "\\\n", "\\ \t\r\n", "\t", "\r", "\0", "\u00a0", "\u2212", "\u201cx\u201d", "\u00b5", "\u0394t"),
    *("\U0001f600", "\ud800", "\u0661", "\u202e", "\ufeff", "e\u0301", "\u2028", "\ufb01"),
    *("9" * 19, "9" * 25, "0x10", "010", "1_000", "_", "1e999", "-" * 70, "x" * 300),
]
WORDS = [*KEYWORDS.split(), *HOSTILE]
CHARACTERS = "".join(sorted(set("".join([*LINES, *WORDS]))))
OPENERS = ["(", "[", "a[", "f(", "-", "not ", "! ", "i+", "i*(", "[i],", "a[0:n],", "in(t) ", "0:", "a and (", "1<"]
LIMIT = 1.0
"""Seconds of processor time that may pass before a text is read or refused."""

COMPILE_LIMIT = 10.0
MAPS_EVERY = 8
RUNS_EVERY = 10 * MAPS_EVERY
LARGEST_TENSOR, BEYOND_MEMORY = 1 << 16, 1 << 50
VALUES: dict[str, object] = {"n": 5, "m": np.int64(3), "x": 0.5, "a": True, "step": np.float32(2), "N": 7}

T = TypeVar("T")


# -- texts -------------------------------------------------------------------------------------------------


def tokens(text: str) -> list[str]:
    """Words and single characters, which joined give the text again."""
    found: list[str] = []
    for character in text:
        if found and found[-1].isalnum() and character.isalnum():
            found[-1] += character
        else:
            found.append(character)
    return found


def mutate_parts(rng: random.Random, parts: list[str], pool: list[str] | str) -> list[str]:
    """Delete, insert, duplicate, replace or swap a few of `parts`."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        at = rng.randrange(len(parts) + 1)
        upto = at + rng.choice([1, 1, 1, 2, 5])
        match rng.randrange(5):
            case 0:
                parts[at:upto] = []
            case 1:
                parts[at:at] = [rng.choice(pool)]
            case 2:
                parts[at:at] = parts[at:upto]
            case 3:
                parts[at:upto] = [rng.choice(pool)]
            case _:
                parts[at:upto] = reversed(parts[at:upto])
    return parts


def spliced(rng: random.Random, lines: list[str]) -> str:
    first, second = rng.choice(lines), rng.choice(lines)
    return first[: rng.randrange(len(first) + 1)] + second[rng.randrange(len(second)) :]


def deep(rng: random.Random, lines: list[str]) -> str:
    """A line in which something is repeated many times, often nested."""
    line, opener = rng.choice(lines), rng.choice(OPENERS)
    count = rng.choice([3, 20, 63, 64, 65, 200, 1000, 4000, 20000])
    at = rng.randrange(len(line) + 1)
    closer = {"(": ")", "[": "]"}.get(opener[-1:], "") * rng.choice([0, 1])
    return line[:at] + opener * count + rng.choice(["i", "0:n", "", "1"]) + closer * count + line[at:]


def mutated(rng: random.Random, lines: list[str]) -> str:
    """One of `lines` with a few mistakes in it."""
    line = rng.choice(lines)
    match rng.randrange(20):
        case 0:
            return line
        case 1 | 2 | 3:
            return spliced(rng, lines)
        case 4:
            return deep(rng, lines) if rng.random() < 0.1 else line + "\n" + rng.choice(lines)
        case 5 | 6 | 7:
            return " ".join(rng.choices(WORDS, k=rng.randrange(1, 30)))
        case 8:
            return "".join(rng.choices(CHARACTERS, k=rng.randrange(60)))
        case 9 | 10 | 11 | 12 | 13:
            return "".join(mutate_parts(rng, list(line), CHARACTERS))
        case _:
            return "".join(mutate_parts(rng, tokens(line), WORDS))


# -- what is done with them --------------------------------------------------------------------------------


def check_error(error: DirectiveError, text: str) -> None:
    """The place of an error lies in the text, and there is a message that shows."""
    assert error.text in (text, "")
    assert 0 <= error.start <= len(text)
    assert error.start < error.end
    assert error.message
    assert error.message in str(error)


def names_in(targets: tuple[Target, ...]) -> tuple[dict[str, int], set[str]]:
    """The arrays in targets, with their ranks, and the names in their bounds."""
    arrays: dict[str, int] = {}
    numbers: set[str] = set()
    for target in targets:
        arrays[target.array] = len(target.entries)
        for entry in target.entries:
            match entry:
                case Target():
                    inner, more = names_in((entry,))
                    arrays |= inner
                    numbers |= more
                case TargetIndex(expr):
                    numbers |= expr.names
                case TargetRange():
                    exprs: list[Expr | None] = [entry.start, entry.stop, entry.step]
                    numbers |= set[str]().union(*(e.names for e in exprs if e is not None))
    return arrays, numbers


def names_of_functor(functor: FunctorDirective) -> list[str]:
    return sorted(names_of(entry for entries in (functor.lhs, *functor.rhs) for entry in entries))


def arguments(rng: random.Random, functor: FunctorDirective, targets: tuple[Target, ...]) -> dict[str, object]:
    """Arrays and numbers for a map; now and then something is missing or is of the wrong kind."""
    arrays, numbers = names_in(targets)
    ranks = {name: max(0, min(4, rank + rng.choice([0] * 12 + [1, -1]))) for name, rank in arrays.items()}
    values: dict[str, object] = {
        name: np.zeros([rng.choice([0, 1, 4, 5]) if rng.random() < 0.1 else 8 for _ in range(rank)], np.int32)
        for name, rank in ranks.items()
    }
    params = [name for name in names_of_functor(functor) if name in "mnkM" or rng.random() < 0.1]
    for name in sorted(numbers) + params:
        values[name] = rng.choice([4] * 12 + [0, 1, 2, 3, 5, 6, 7, -1, 1 << 62, 2.5, np.int64(3)])
    for name in list(values):
        if rng.random() < 0.01:
            values.pop(name)
    return values


class Fuzzer:
    """Runs examples, and remembers the slowest call."""

    def __init__(self, seed: int):
        self.seed = seed
        self.rng = random.Random(seed)
        self.text = ""
        """What the current example reads."""
        self.slowest = 0.0
        self.slowest_text = ""
        self.maps = 0
        self.runs = 0

    def example(self, number: int) -> None:
        """Run one example. Raises AssertionError, TimeoutError, or whatever else must not come out."""
        self.rng = random.Random(f"{self.seed}:{number}")
        with no_hang():
            if number % MAPS_EVERY == 0:
                self.check_map(run=number % RUNS_EVERY == 0)
            else:
                self.check_text(mutated(self.rng, LINES * 2 + TARGETS + FUNCTORS))

    def attempt(self, call: Callable[[], T], limit: float = LIMIT) -> T | None:
        """The value of a call, or None where the text is refused as it should be."""
        begin = time.thread_time()
        value = None
        try:
            value = call()
        except DirectiveError as error:
            if error.text == self.text:
                check_error(error, self.text)
        except HpacmlError:
            pass
        seconds = time.thread_time() - begin
        if limit == LIMIT and seconds > self.slowest:
            self.slowest, self.slowest_text = seconds, self.text
        assert seconds < limit, f"took {seconds:.1f} s"
        return value

    def check_text(self, text: str) -> None:
        """All that reads text, on one text."""
        self.text = text
        functor = self.attempt(lambda: parse_functor(text))
        directive = self.attempt(lambda: parse(text))
        many = self.attempt(lambda: parse_many(text))
        targets = self.attempt(lambda: parse_application_targets(text))
        if directive is not None:
            assert many == [directive]
            self.check_directive(directive)
        for found in (functor, directive):
            if isinstance(found, FunctorDirective):
                self.check_functor(found)
        if targets is not None:
            assert parse_application_targets(", ".join(map(str, targets))) == targets
            names_in(targets)

    def check_directive(self, directive: Directive) -> None:
        """What was read can be written, and read again."""
        again = parse_functor if isinstance(directive, FunctorDirective) else parse
        assert again(directive.canonical) == directive
        if isinstance(directive, MlDirective):
            for expr in filter(None, (directive.condition, directive.if_condition)):
                self.attempt(lambda expr=expr: evaluate(expr, VALUES))

    def check_functor(self, directive: FunctorDirective) -> None:
        names = names_of_functor(directive)
        chosen = frozenset(name for name in names if self.rng.random() < 0.4)
        for params in (frozenset[str](), chosen, frozenset(names)):
            functor = self.attempt(lambda params=params: directive.functor(params))
            assert functor is None or parse_functor(directive.canonical).functor(params) == functor

    def check_map(self, run: bool) -> None:
        """A functor applied to targets, both perhaps mutated; it is compiled and run only if `run`."""
        rng = self.rng
        functor_text = rng.choice(FUNCTORS) if rng.random() < 0.7 else mutated(rng, FUNCTORS)
        target_text = rng.choice(TARGETS) if rng.random() < 0.7 else mutated(rng, TARGETS)
        self.text = f"{functor_text} <- {target_text}"
        functor = self.attempt(lambda: hpacml.functor(functor_text))
        targets = self.attempt(lambda: parse_application_targets(target_text))
        if functor is None or targets is None:
            return
        names = arguments(rng, functor.directive, targets)
        # What a gather or scatter does before it compiles anything.
        direction = "to" if run or rng.random() < 0.7 else "from"
        bound = self.attempt(lambda: functor.bind(target_text, direction, names))  # pyright: ignore
        self.maps += bound is not None
        size = 0 if bound is None else prod(bound.shape)
        if run and not LARGEST_TENSOR < size < BEYOND_MEMORY:
            self.runs += self.attempt(lambda: functor.gather(target_text, **names), COMPILE_LIMIT) is not None


# -- the run -----------------------------------------------------------------------------------------------


@contextmanager
def no_hang(seconds: int = 20) -> Iterator[None]:
    """Raise TimeoutError in what takes that much processor time."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"no end within {seconds} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def main(examples: int, seed: int, only: int | None = None) -> int:
    """Run the examples. Returns 0 if all is well, and 1 with reports on stderr if not."""
    fuzzer = Fuzzer(seed)
    fuzzer.attempt(lambda: parse(LINES[0]), COMPILE_LIMIT)  # loads the grammar
    failures = 0
    begin = time.perf_counter()
    for number in range(examples) if only is None else [only]:
        try:
            fuzzer.example(number)
        except Exception:
            shown = f"{fuzzer.text[:300]!r} ({len(fuzzer.text)} characters)"
            print(f"example {number} of seed {seed}: {shown}\n{traceback.format_exc()}", file=sys.stderr)
            failures += 1
    seconds = time.perf_counter() - begin
    print(f"{examples} examples in {seconds:.1f} s, {failures} failures; {fuzzer.maps} maps fit, {fuzzer.runs} ran")
    slowest = f"{1000 * fuzzer.slowest:.0f} ms for {len(fuzzer.slowest_text)} characters"
    print(f"slowest call: {slowest}: {fuzzer.slowest_text[:100]!r}")
    return 1 if failures else 0


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--examples", type=int, default=5000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", type=int, help="the number of one example to run")
    chosen = options.parse_args()
    sys.exit(main(chosen.examples, chosen.seed, chosen.only))
