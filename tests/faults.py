"""Damage to files, and processes that try damaged files one after the other.

A crash or a hang of such a process is told of the file at which it happened, and another process goes on with the
rest. `python -m tests.faults TASK` is one: it reads a line of JSON for each trial, and answers each with one.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import io
import json
import os
import queue
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).parents[1]
PATIENCE = 120.0
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
    """The content with random bytes in it, from one bit to a page, and some wholly random content.

    Half of them begin where the content is not zero.
    """
    used = [place for place, byte in enumerate(content) if byte]
    for number in range(count):
        chance = random.Random(number)
        size = min(len(content), (1, 2, 8, 64, 4096)[number % 5])
        place = chance.choice(used) if number % 2 else chance.randrange(len(content))
        start = min(place, len(content) - size)
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

    def end(self, patience: float = PATIENCE) -> str:
        """End it; how it ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # which shows where
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
            answer, process = {"problem": f"the process {process.end(1)}"}, None
        results.append({**trial, **answer})
    if process is not None and (end := process.end()) != "exits with 0":
        results.append({"name": "the end of the process", "problem": end})
    return results


def require_no_problems(results: Iterable[dict[str, Any]]) -> None:
    problems = [f"{result['name']}: {result['problem']}" for result in results if result.get("problem")]
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)


def told(error: BaseException) -> str:
    """An error and the last place in hpacml that it came by."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/hpacml/" in frame.filename]
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


PRELUDE = """
import json, os, resource, signal, sys, threading, time
from pathlib import Path
import numpy as np, h5py, hpacml
from tests.faults import *
region = counting_region()
path = Path(sys.argv[1])
"""


def program(
    source: str, path: Path, *before: str, patience: float = 2 * PATIENCE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python program that collects into `path`, perhaps by a command `before` it, until its end."""
    return subprocess.run(
        [*before, sys.executable, "-X", "faulthandler", "-c", PRELUDE + textwrap.dedent(source), str(path)],
        capture_output=True,
        text=True,
        timeout=patience,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def succeed(source: str, path: Path, *before: str, **environment: str) -> None:
    """Run a program whose assertions hold."""
    ended = program(source, path, *before, **environment)
    assert ended.returncode == 0, ended.stderr


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


def database_task() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Use a database in all ways: open it, `hpacml db`, and collect the next call into it.

    `calls` is the number of the calls that it had before it was damaged. With `sound` all must succeed, and with
    `refused` nothing of what reads it. Otherwise each succeeds or raises a DatabaseError, and what is refused is left
    as it was.
    """
    import hpacml

    region = counting_region()

    def run(trial: dict[str, Any]) -> dict[str, Any]:
        path = Path(trial["path"])
        before = path.read_bytes()
        outcomes: dict[str, str | None] = {}
        problems: list[str] = []
        odd: list[int] = []

        def use(name: str, action: Callable[[], object]) -> None:
            try:
                action()
                outcomes[name] = None
            except hpacml.DatabaseError as error:
                outcomes[name] = str(error) or "an error without a text"
                if str(path) not in str(error):
                    problems.append(f"the error of {name} does not name the file: {error}")
            except BaseException as error:
                outcomes[name] = "a problem"
                problems.append(f"{name}: {told(error)}")
            if path.read_bytes() != before:
                problems.append(f"{name} has changed the file")
                path.write_bytes(before)

        use("open", lambda: odd.append(read_all(path)))
        for command, more in {"check": [], "info": [], "ls": [], "merge": [], "export": ["heat"]}.items():
            out = path.with_suffix(".npz" if command == "export" else ".out.h5")
            files = {"merge": [str(out), str(path)], "export": [str(path), *more, str(out)]}
            use(command, lambda c=command, f=files: hpacml_db(c, *f.get(c, [str(path)])))
            if out.exists() == (outcomes[command] is not None) and command in files:
                problems.append(f"{command} has {'left' if out.exists() else 'not written'} its file")
            out.unlink(missing_ok=True)

        x, y = counting_arrays(trial["calls"])
        outcomes["append"] = None
        for action in (lambda: region(x, y, str(path)), hpacml.flush):
            try:
                action()
            except hpacml.DatabaseError as error:
                outcomes["append"] = outcomes["append"] or str(error)
                known_at_the_call = action is not hpacml.flush and "cannot write" not in str(error)
                if known_at_the_call and path.read_bytes() != before:
                    problems.append(f"an append that was refused has changed the file: {error}")
            except BaseException as error:
                outcomes["append"] = "a problem"
                problems.append(f"append: {told(error)}")
        if (y != 2 * x + 1).any():
            problems.append("the body did not run, or its results are lost")
        if trial.get("sound"):
            problems += [f"{name} is refused: {told}" for name, told in outcomes.items() if told]
        if trial.get("refused"):
            problems += [f"{name} is not refused" for name in trial["refused"] if outcomes[name] is None]
        return {"outcomes": outcomes, "odd": sum(odd), "problem": "; ".join(problems)}

    return run


def counting_region() -> Callable[[Any, Any, str], None]:
    """A region that collects; call k has `counting_arrays(k)`."""
    import hpacml

    @hpacml.region("""tensor functor(one: [i, 0:1] = ([i]))
                      ml(collect) in(one(x[0:8])) out(one(y[0:8])) database(path) label("heat")""")
    def region(x: Any, y: Any, path: str) -> None:
        y[:] = 2 * x + 1

    return region


def counting_arrays(call: int) -> tuple[Any, Any]:
    import numpy as np

    return call + np.arange(8) / 1024, np.zeros(8)


def collect(region: Callable[[Any, Any, str], None], path: Path, calls: Iterable[int]) -> None:
    """Make calls, whose results must be right whatever becomes of their collection."""
    for call in calls:
        x, y = counting_arrays(call)
        try:
            region(x, y, str(path))
        finally:
            if (y != 2 * x + 1).any():
                raise AssertionError(f"the result of call {call} is lost")


def numbers_in(path: Path) -> list[int]:
    """The numbers of the calls that plain h5py finds, each consistent, in a file without problems."""
    import h5py
    import numpy as np

    with h5py.File(path) as file:
        if "heat" not in file:
            return []
        x, y = (file["heat"][name][:, :, 0] for name in ("input", "output"))
    np.testing.assert_array_equal(x - x[:, :1], np.tile(counting_arrays(0)[0], (len(x), 1)))
    np.testing.assert_array_equal(y, 2 * x + 1)
    hpacml_db("check", str(path))
    return x[:, 0].astype(int).tolist()


def read_all(path: Path) -> int:
    """Read a database; how many of its numbers are others than `counting_arrays` and the region made."""
    import numpy as np

    import hpacml

    odd = 0
    with hpacml.open_database(path) as database:
        for region in database.values():
            for tensor in region.tensors:
                values = tensor[:]
                if values.shape != tensor.shape or values.dtype != tensor.dtype:
                    raise AssertionError(f"{tensor} gives {values.dtype}{list(values.shape)}")
                if tensor.name != "runtime":
                    x = np.arange(len(values)).reshape(-1, 1, 1) + counting_arrays(0)[0][:, None]
                    expected = x if tensor.name == "input" else 2 * x + 1
                    same = values.shape == expected.shape
                    odd += int(np.sum(values != expected)) if same else values.size
            _ = region.runs, region.maps, repr(region)
    return odd


def fail_at(monkeypatch: pytest.MonkeyPatch, count: int) -> Callable[[], bool]:
    """Have the disk be full at the write number `count` to the file's end. Says later whether it came to that."""
    from hpacml.runtime.databases.commits import transaction

    write, number = transaction.write_all, 0

    def fail(descriptor: int, writes: Any) -> None:
        nonlocal number
        number += 1
        if number > count:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, writes)

    monkeypatch.setattr(transaction, "write_all", fail)
    return lambda: number > count


def hpacml_db(*arguments: str) -> None:
    """Run `hpacml db`. Raises DatabaseError where it tells one, or where it ends with the status 1 and a message."""
    from typer.testing import CliRunner

    import hpacml
    from hpacml.tools.cli import app

    result = CliRunner().invoke(app, ["db", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 1 and result.stderr:
        raise hpacml.DatabaseError(result.stderr)
    if result.exit_code:
        raise AssertionError(f"hpacml db {arguments[0]} ends with {result.exit_code}: {result.output}")


TASKS: dict[str, Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "model": model_task,
    "database": database_task,
}


def main() -> None:
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run = TASKS[sys.argv[1]]()
    while line := sys.stdin.readline():
        try:
            answer = run(json.loads(line))
        except BaseException as error:
            answer = {"problem": told(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
