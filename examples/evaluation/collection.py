"""Table III: how long an application takes without and with collection, and how large the database is."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import hpacml

from ..experiment import Program

LEAST, SECONDS = 3, 60.0
"""So many pairs of runs there are in any case; others only as long as the seconds are not over."""


def measure(program: Program, pairs: int) -> dict[str, Any]:
    """The median seconds of runs that take turns, and the bytes of the file that one of them writes.

    A run that collects is over when its file is written whole. A pair of runs before is not counted.
    """
    times: dict[str, list[float]] = {"plain": [], "collecting": []}
    with tempfile.TemporaryDirectory(prefix="hpacml-collection-") as folder:
        file = Path(folder) / "data.h5"

        def collecting() -> None:
            program(database=str(file))
            hpacml.flush()

        def plain() -> None:
            program()

        turns = {"plain": plain, "collecting": collecting}
        began = time.perf_counter()
        for pair in range(pairs + 1):
            if pair > LEAST and time.perf_counter() - began > SECONDS:
                break
            for name in sorted(turns, reverse=bool(pair % 2)):
                file.unlink(missing_ok=True)
                times[name].append(_seconds(turns[name]))
                size = file.stat().st_size if file.exists() else size
    seconds = {name: median(taken[1:]) for name, taken in times.items()}
    return {
        "seconds": seconds["plain"],
        "seconds_collecting": seconds["collecting"],
        "overhead": seconds["collecting"] / seconds["plain"],
        "bytes": size,
        "pairs": len(times["plain"]) - 1,
        "all_seconds": times,
    }


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
