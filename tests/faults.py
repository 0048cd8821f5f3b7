"""Damage to files, and processes that try damaged files one after the other.

A crash or a hang of such a process is told of the file at which it happened, and another process goes on with the
rest. `python -m tests.faults TASK` is one: it reads a line of JSON for each trial, and answers each with one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import random
import resource
import signal
import subprocess
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds after which a trial is said to hang."""
MEMORY = 16 << 30
"""Bytes of address space: a damaged size must not take the machine's memory."""

Change = Callable[[str, bytes], bytes | None]


# -- damage --------------------------------------------------------------------------------------------


def truncations(content: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """The content cut off: at the ends, evenly, and at random."""
    size = len(content)
    chance = random.Random(size)
    lengths = {0, 1, 4, 8, size - 1, size - 8, *(size * k // (count // 2) for k in range(count // 2))}
    while len(lengths) < count:
        lengths.add(chance.randrange(size))
    for length in sorted(lengths):
        yield f"first {length} bytes", content[:length]


def scribbles(content: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """The content with random bytes in it, from one bit to a page, and some wholly random content."""
    for number in range(count):
        chance = random.Random(number)
        size = min(len(content), (1, 2, 8, 64, 4096)[number % 5])
        start = chance.randrange(len(content) - size + 1)
        some = chance.randbytes(size) if size > 1 else bytes([content[start] ^ 1 << chance.randrange(8)])
        yield f"{size} bytes at {start}", content[:start] + some + content[start + size :]
    for number in range(count // 4):
        chance = random.Random(-1 - number)
        kept = (0, 4, 8, 100, 512)[number % 5]
        noise = chance.randbytes(chance.randrange(1, 1 + len(content)))
        yield f"noise {number} behind {kept} bytes", content[:kept] + noise


def rewritten(content: bytes, change: Change) -> bytes:
    """An archive whose members are changed, or left out for None, with checksums that agree."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if (member := change(name.partition("/")[2], old.read(name))) is not None:
                new.writestr(name, member)
    return buffer.getvalue()


# -- processes -----------------------------------------------------------------------------------------


class _Process:
    """A process that makes trials, and what it says."""

    def __init__(self, task: str, environment: dict[str, str]):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put("")

    def ask(self, trial: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; None where the process has ended, or had to be."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(trial) + "\n")
            self._process.stdin.flush()
        with contextlib.suppress(queue.Empty):
            if line := self._answers.get(timeout=PATIENCE):
                return json.loads(line)

    def end(self) -> str:
        """End it; how it ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "hangs"
        finally:
            self._listener.join()
        return f"dies of {signal.Signals(-code).name}" if code < 0 else f"exits with {code}"


def attempt(task: str, trials: Iterable[dict[str, Any]], **environment: str) -> list[dict[str, Any]]:
    """What came of each trial, in a process of its own: what the task returns, or `problem`, a text."""
    results: list[dict[str, Any]] = []
    process = None
    for trial in trials:
        process = process or _Process(task, environment)
        if (answer := process.ask(trial)) is None:
            answer, process = {"problem": f"the process {process.end()}"}, None
        results.append({**trial, **answer})
    if process is not None and (end := process.end()) != "exits with 0":
        results.append({"name": "the end of the process", "problem": end})
    return results


def require_no_problems(results: Iterable[dict[str, Any]]) -> None:
    problems = [f"{result['name']}: {result['problem']}" for result in results if result.get("problem")]
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)


# -- the tasks -----------------------------------------------------------------------------------------


def model_task() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Run a region with a model file, `path`; it gives `expected`, or an error that names the file."""
    import numpy as np

    import hpacml

    @hpacml.region("""tensor functor(row: [i, 0:5] = ([i, 0:5]))
                      tensor functor(one: [i, 0:1] = ([i]))
                      ml(infer) in(row(x[0:n, 0:5])) out(one(y[0:n])) model(net) label("r")""")
    def region(x: Any, y: Any, n: int, net: str) -> None:
        raise AssertionError("the body ran")

    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)

    def run(trial: dict[str, Any]) -> dict[str, Any]:
        y = np.full(3, -7.0, np.float32)
        try:
            region(x, y, 3, trial["path"])
        except hpacml.ModelError as error:
            if trial["path"] not in str(error):
                return {"problem": f"the error does not name the file: {error}"}
            if (y != -7).any():
                return {"problem": f"the output was written: {y}"}
            return {"refused": str(error)}
        if not np.allclose(y, trial["expected"], rtol=1e-5):
            return {"problem": f"it computes {y}, not {trial['expected']}"}
        return {"refused": None}

    return run


TASKS: dict[str, Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]] = {"model": model_task}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run = TASKS[sys.argv[1]]()
    while line := sys.stdin.readline():
        try:
            answer = run(json.loads(line))
        except BaseException:
            answer = {"problem": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
