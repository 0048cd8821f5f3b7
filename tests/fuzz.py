"""Long searches for differences: `python -m tests.fuzz --examples 50000 --seed 1 --jobs 2 bridge`.

`bridge` compares gathers and scatters with the oracle, `models` networks through all formats and doors with the modules
themselves, `programs` kernels with Python, `parallel` parallel loops on a simulated GPU, `text` is about directives.
Prints a script for each difference; the exit status is 1 if there is one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROUND = 250
"""Programs between two progress lines; a difference that is found is made small, and ends the round."""

ENOUGH = 10
"""Differences after which a search ends."""


def rounds(examples: int, seed: int, trace: Path | None) -> int:
    """Search until so many calls have been compared; the number of differences."""
    import hypothesis
    from hypothesis import HealthCheck, Phase, given, settings

    from tests import differential, strategies

    found, programs, start = 0, 0, time.time()
    ways = Counter[str]()

    def run(case: tuple[strategies.Program, list[strategies.Binding]]) -> None:
        nonlocal programs
        programs += 1
        program, bindings = case
        for number, binding in enumerate(bindings):
            # The other ways cost a compilation each.
            for way in (
                differential.WAYS
                if number == 0 and binding.seed % 3 == 0
                else ["functor", "functor out"][: 1 + number % 2]
            ):
                if differential.applies(way, program):
                    if trace is not None:
                        trace.write_text(f"{way}: {program}\n{binding}\n", encoding="utf-8")
                    ways[way] += 1
                    differential.compare(program, binding, way)

    while differential.tally.total() < examples and found < ENOUGH:
        search = settings(
            max_examples=ROUND,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        try:
            hypothesis.seed(seed)(search(given(strategies.cases())(run)))()
        except Exception as error:
            found += 1
            print(
                f"\n-- seed {seed}: {traceback.format_exc() if isinstance(error, ExceptionGroup) else error}\n",
                flush=True,
            )
        seed += 1
        done, tally = differential.tally.total(), differential.tally
        print(
            f"{done} calls of {programs} programs in {time.time() - start:.0f} s, "
            f"{tally['valid'] / max(1, done):.0%} valid, {tally['not decided']} not decided, {found} differences; "
            + ", ".join(f"{way} {count}" for way, count in ways.items()),
            flush=True,
        )
    return found


def in_processes(what: str, examples: int, seed: int, jobs: int) -> int:
    """Searches in processes of their own, so that one that dies is a difference too."""
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.fuzz",
        "--examples",
        str(-(-examples // jobs)),
        "--worker",
    ]
    with tempfile.TemporaryDirectory() as folder:
        traces = [Path(folder) / str(job) for job in range(jobs)]
        workers = [
            subprocess.Popen([*command, str(trace), "--seed", str(seed + 1_000_000 * job), what])
            for job, trace in enumerate(traces)
        ]
        codes = [worker.wait() for worker in workers]
        for code, trace in zip(codes, traces, strict=True):
            if code not in (0, 1) or (what in ("programs", "parallel") and trace.exists()):
                print(f"\n-- died ({code}) in\n{trace.read_text(encoding='utf-8') if trace.exists() else 'the start'}")
    return int(any(codes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", type=int, help="the number of one example of `models` to run")
    parser.add_argument("what", choices=["bridge", "models", "parallel", "programs", "text"])
    given = parser.parse_args()
    if given.what == "text":
        from tests import fuzz_text

        return fuzz_text.main(given.examples, given.seed)
    if given.what == "models" and (given.worker or given.only is not None):
        from tests import fuzz_models

        return int(fuzz_models.search(given.examples, given.seed, given.worker, given.only) > 0)
    if given.what in ("programs", "parallel") and given.worker:
        from tests import random_programs
        from tests.random_programs import parallel

        on_gpu = (parallel.parallel_program, parallel.difference_on_gpu) if given.what == "parallel" else ()
        found = random_programs.search(given.examples, given.seed, given.worker, ENOUGH, *on_gpu)
        given.worker.unlink(missing_ok=True)
        return int(found > 0)
    if given.worker:
        return int(rounds(given.examples, given.seed, given.worker) > 0)
    return in_processes(given.what, given.examples, given.seed, given.jobs)


if __name__ == "__main__":
    sys.exit(main())
