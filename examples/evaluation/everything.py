"""The evaluation of all applications: networks are trained side by side, and then each is measured alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ..workflow import Workflow
from .measure import EFFORT, Effort, measure
from .results import write_all


def evaluate_all(
    works: Mapping[str, Workflow],
    folder: Path,
    jobs: int | None = None,
    fresh: bool = False,
    effort: Effort = EFFORT,
    driver: str = "examples",
) -> list[str]:
    """Measure applications, and write all tables and figures into a folder. Returns what is missing.

    First `jobs` of them at a time are trained, each by a process of the module `driver`. One that fails has its
    traceback told, and the others go on.
    """
    on_cpu = all(work.setup.device == "cpu" for work in works.values())
    at_once = jobs or (os.cpu_count() or 1 if on_cpu else 1)
    if at_once > 1:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(partial(_prepare, driver), works.values()))
    measured = {}
    for name, work in works.items():
        began = time.monotonic()
        try:
            measured[name] = measure(work, effort, fresh)
        except Exception:
            work.say(f"{name} failed, and the others go on:\n{traceback.format_exc()}")
        work.say(f"{name}: {time.monotonic() - began:.0f} s")
    return write_all(measured, works, folder)


def _prepare(driver: str, work: Workflow) -> None:
    """Collect and train in a process of its own, with what it says in a file. If it fails, measuring says why."""
    options = {"size": work.setup.size, "device": work.setup.device, "deck": work.setup.deck, "out": work.folder}
    step = "collect" if work.searched is not None else "train"
    command = [sys.executable, "-m", driver, work.experiment.name, step, "--leashed"]
    command += [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    work.folder.mkdir(parents=True, exist_ok=True)
    log = work.folder / f"{step}.log"
    work.say(f"{work.experiment.name}: {step}, see {log}")
    began = time.monotonic()
    with open(log, "ab") as file, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file) as process:
        process.wait()
    end = "done" if process.returncode == 0 else f"ended with {process.returncode}"
    work.say(f"{work.experiment.name}: {step} {end}, {time.monotonic() - began:.0f} s")
