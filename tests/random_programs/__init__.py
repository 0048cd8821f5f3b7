"""Random kernels beside their Python functions: the same results and the same arrays, bit for bit.

    python -m tests.fuzz --examples 2000 --seed 1 programs

Programs stay out of the table in docs/python.md: integers of Python have a bound, divisors are not 0, indices are
inside, sums of floats are exact. Where Python raises nevertheless, only that the kernel ends is checked, unless the
program says so: then it is the same exception. Each program depends on the seed and its own number alone.

`python -m tests.fuzz parallel` runs parallel loops on a simulated GPU (`parallel`).

`writer.Writer` writes expressions of scalars, `arrays.Arrays` those of arrays, `statements.Statements` statements, and
`functions.Function` calls and results; `definitions` puts functions and classes together, `program` programs.
"""

from __future__ import annotations

import faulthandler
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.random_programs.compare import difference
from tests.random_programs.program import Program, program
from tests.random_programs.shrink import reproducer, smaller

Compare = Callable[[Program, int, Counter[str]], "str | None"]

SECONDS = 300
"""A program that takes longer hangs."""


def search(
    examples: int,
    seed: int,
    trace: Path | None = None,
    enough: int = 10,
    make: Callable[[int], Program] = program,
    compare: Compare = difference,
    calls: int = 5,
) -> int:
    """Compare so many programs; the number of differences."""
    tally, found, start = Counter[str](), 0, time.time()

    def fails(candidate: Program) -> bool:
        answer = _watched(candidate, calls, Counter(), trace, compare)
        return answer is not None and not answer.startswith(("refused", "the text", "crashes"))

    for number in range(examples):
        each = make(seed + number)
        answer = _watched(each, calls, tally, trace, compare)
        if answer is not None:
            found += 1
            small = smaller(each, fails) if fails(each) else each
            print(f"\n-- seed {each.seed}: {answer}\n{reproducer(small, calls, compare)}", flush=True)
        if number % 100 == 99 or number == examples - 1:
            counts = ", ".join(f"{count} calls {what}" for what, count in sorted(tally.items()))
            print(f"{number + 1} programs in {time.time() - start:.0f} s: {counts}, {found} differences", flush=True)
        if found >= enough:
            break
    return found


def _watched(each: Program, calls: int, tally: Counter[str], trace: Path | None, compare: Compare) -> str | None:
    """The difference of a program, which `trace` has while it runs."""
    if trace is not None:
        trace.write_text(reproducer(each, calls, compare), encoding="utf-8")
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        return compare(each, calls, tally)
    except Exception as error:  # of any kind: none is right
        return f"crashes with {type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()


__all__ = ["Counter", "Program", "difference", "program", "reproducer", "search", "smaller"]
