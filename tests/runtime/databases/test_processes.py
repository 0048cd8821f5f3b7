"""Processes that collect: how they end, fork, and are interrupted, and what their databases then hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpacml.errors import DatabaseError
from hpacml.runtime.databases import blocks, files, writer
from hpacml.runtime.databases.writer import Schema

h5py = pytest.importorskip("h5py")


PRELUDE = """
import os, signal, sys, time
import numpy as np
from hpacml.runtime.databases import writer
schema = writer.Schema(("m",), ("f64",), ())
def append(value, path="d.h5"):
    writer.append(os.path.realpath(path), "r", schema, [np.full(3, float(value))], value)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "d.h5")


def append(path: str) -> None:
    tensors = np.arange(3, dtype=np.float32), np.arange(6.0).reshape(3, 2)
    writer.append(path, "heat", Schema(("to", "from"), ("f32",), ("f64",)), tensors, 1.0)


def calls(path: str) -> dict[str, int]:
    """The number of entries of each dataset of calls, as another reader finds it."""
    with h5py.File(path) as file:
        return {name: len(item) for name, item in file["heat"].items() if name != "runs"}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run(code)` runs Python code in another process, where `append(value)` collects into d.h5."""

    def run(code: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", PRELUDE + code]
        return subprocess.run(command, check=check, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


def values(path: str, label: str = "r") -> list[float]:
    with h5py.File(path) as file:
        first, runtime = file[label]["input"][:, 0].tolist(), file[label]["runtime"][()].tolist()
    assert first == runtime
    return first


def test_all_is_written_at_exit(run: Callable[..., Any], path: str):
    assert run("append(1); append(2)").stderr == ""
    assert values(path) == [1, 2]


def test_another_process_waits_for_a_flush(run: Callable[..., Any], path: str):
    append(path)
    refused = run("append(1)", check=False).stderr
    assert f"cannot open the database '{path}': another process has it open; wait until it closes it" in refused
    writer.flush()
    run("append(1)")
    append(path)
    writer.flush()
    assert calls(path) == {"input": 2, "output": 2, "runtime": 2}


def test_a_killed_process_loses_its_last_calls_only(run: Callable[..., Any], path: str):
    code = (
        "os.environ['HPACML_DB_FLUSH'] = '0.5'; append(1); append(2); time.sleep(0.5); append(3); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run(code, check=False).returncode == -9
    assert values(path)[:2] == [1, 2]
    os.remove(path)
    code = "os.environ['HPACML_DB_FLUSH'] = '2 calls'; [append(n) for n in range(9)]; os._exit(1)"
    assert run(code, check=False).returncode == 1
    assert values(path)[:7] == [0, 1, 2, 3, 4, 5, 6]


def test_collecting_at_the_very_end(run: Callable[..., Any], path: str):
    code = "import atexit; atexit.register(append, 2); append(1)"
    assert f"the program ends, and has closed the database '{path}'" in run(code).stderr
    assert values(path) == [1]


def test_forks(run: Callable[..., Any], path: str, tmp_path: Path):
    code = """
append(1)
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    append(3)
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        append(4)
    else:
        append(10, "child.h5")
        os._exit(writer.flush() or 0)
else:
    append(2)
    sys.exit()
"""
    assert run(code).stderr == ""
    assert values(path) == [1, 2, 3, 4]
    assert values(str(tmp_path / "child.h5")) == [10]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing(method: str, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        PRELUDE
        + f"""
import multiprocessing
if __name__ == "__main__":
    append(1)
    processes = multiprocessing.get_context({method!r})
    children = [processes.Process(target=append, args=(n, f"child{{n}}.h5")) for n in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    append(2)
"""
    )
    subprocess.run([sys.executable, str(script)], check=True, cwd=tmp_path)
    assert values(str(tmp_path / "d.h5")) == [1, 2]
    assert [values(str(tmp_path / f"child{n}.h5")) for n in range(2)] == [[0], [1]]


def test_a_full_disk(run: Callable[..., Any], path: str):
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for n in range(20):
    writer.append(os.path.realpath("d.h5"), "r", schema, [np.full(1 << 16, float(n))], n)
"""
    assert f"DatabaseError: cannot write the database '{path}': " in run(code, check=False).stderr


FAILING = """
import atexit, resource
atexit.register(print, "and all else is done")
append(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""


@pytest.mark.parametrize("end", ["", "sys.exit()", "sys.exit(3)", "raise KeyError"])
def test_the_exit_status_of_a_failing_end(end: str, run: Callable[..., Any], path: str):
    ended = run(FAILING + end, check=False)
    assert ended.returncode
    assert f"cannot write the database '{path}'" in ended.stderr
    assert "one call collected before it is lost" in ended.stderr
    assert ended.stdout == "and all else is done\n"


def test_the_exit_status_of_multiprocessing(run: Callable[..., Any], path: str):
    code = """
import multiprocessing as m, resource
def work(n):
    append(n, f"{n}.h5")
    if n:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    if n == 2:
        raise KeyError("an error of the program")
children = [m.get_context("fork").Process(target=work, args=(n,)) for n in range(3)]
[child.start() for child in children]
[child.join() for child in children]
assert [child.exitcode for child in children] == [0, 1, 1]
"""
    printed = run(code).stderr
    assert printed.count("one call collected before it is lost") == 2
    assert "an error of the program" in printed


INTERRUPTED = """
class Stop(Exception):
    pass

schema = writer.Schema(("to: f: [i] = ([i]) | f(x[0:n])",), ("f64",), ())
def values(value):
    return np.full(1 + abs(int(value)) * 7 % 50 if differ else 3, float(value))
def append(value):
    writer.append(os.path.realpath("d.h5"), "r", schema, [values(value)], value)

collecting = False

def stop(*_):
    global collecting
    if collecting:
        collecting = False
        raise Stop

signal.signal(signal.SIGALRM, stop)
accepted, stopped, end = [], 0, time.monotonic() + 1.5
append(-1)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
n = 0
while time.monotonic() < end:
    n += 1
    try:
        collecting = True
        append(n)
        collecting = False
    except Stop:
        stopped += 1
    else:
        accepted.append(n)
signal.setitimer(signal.ITIMER_REAL, 0)
assert stopped > 10
import hpacml
with hpacml.open_database("d.h5") as database:
    calls = database["r"].inputs[0]
    assert calls.varies == differ
    calls = [calls[k] for k in range(len(calls))]
    assert all((call == call[0]).all() and len(call) == len(values(call[0])) for call in calls)
    found = [int(call[0]) for call in calls]
assert found == sorted(set(found)) and set(accepted) <= set(found), (len(accepted), len(found))
"""


@pytest.mark.parametrize(("buffer", "differ"), [("256M", False), ("100K", False), ("100K", True)])
def test_exceptions_of_signal_handlers(buffer: str, differ: bool, run: Callable[..., Any]):
    """Each call that returned is there, none twice, and later calls work."""
    code = f"differ = {differ}\nos.environ['HPACML_DB_BUFFER'] = {buffer!r}\n" + INTERRUPTED
    assert run(code).stderr == ""


def test_threads_that_begin_together_before_a_fork(run: Callable[..., Any], path: str):
    code = """
import threading
together = threading.Barrier(4)
def work(n):
    together.wait()
    append(n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    append(9)
    os._exit(writer.flush() or 0)
"""
    assert run(code).stderr == ""
    assert sorted(values(path)) == [0, 1, 2, 3, 9]


def test_forking_while_h5py_walks_a_file(run: Callable[..., Any], path: str):
    code = """
import h5py
append(1)
with h5py.File("other.h5", "w") as file:
    file["a"] = 1
    file.visititems(lambda *_: os.waitpid(os.fork() or os._exit(0), 0) and None)
"""
    assert run(code).stderr == ""
    assert values(path) == [1]


def test_an_interrupt_of_a_fork(run: Callable[..., Any], path: str):
    """It comes after the fork, in the parent."""
    code = """
import threading
from hpacml.runtime.databases import files
close = files.File.close
def slow(self):
    time.sleep(0.3)
    close(self)
files.File.close = slow
append(1)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    if not (child := os.fork()):
        os._exit(0)
    time.sleep(60)
except KeyboardInterrupt:
    assert os.waitpid(child, 0)[1] == 0
    append(2)
"""
    assert run(code).stderr == ""
    assert values(path) == [1, 2]


# -- what comes in the middle of collecting ----------------------------------------------------------------

HANDLING = """
from hpacml.errors import DatabaseError
handled = refused = 0

def handle(*_):
    global handled, refused
    handled += 1
    try:
        {what}
    except DatabaseError as error:
        assert "a signal handler or a finalizer collects, flushes or forks in the middle" in str(error), error
        refused += 1
    signal.setitimer(signal.ITIMER_REAL, 0.01 * (handled < 20))  # once more, after it

def fork():
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
    else:
        append(handled, "child.h5")
        sys.exit()

signal.signal(signal.SIGALRM, handle)
append(-1)
signal.setitimer(signal.ITIMER_REAL, 0.01)
n = -1
while handled < 20 or n < 2999:
    n += 1
    append(n)
writer.flush()
import h5py
with h5py.File("d.h5") as file:
    found = file["r/input"][:, 0].astype(int).tolist()
assert [each for each in found if each < 10**9] == list(range(-1, n + 1)), len(found)
assert {what!r} != "append(10**9)" or found.count(10**9) == handled - refused
if {what!r} == "fork()":
    with h5py.File("child.h5") as file:
        assert file["r/input"][:, 0].tolist() == list(range(1, handled + 1))
"""


@pytest.mark.parametrize("what", ["writer.flush()", "append(10**9)", "fork()"], ids=["flush", "collect", "fork"])
def test_signal_handlers_that_use_databases(what: str, run: Callable[..., Any]):
    """That is not supported; in the middle of collecting it is an error, and never a hang or harm to the data.

    An error before a fork is printed, since Python forks all the same.
    """
    printed = run(HANDLING.format(what=what)).stderr
    assert not printed or (what == "fork()" and "in the middle of collecting" in printed)


def refused(*actions: Callable[[], None]) -> None:
    for action in actions:
        with pytest.raises(DatabaseError, match="a finalizer collects, flushes or forks in the middle"):
            action()


def test_collecting_in_the_middle_of_collecting(path: str, monkeypatch: pytest.MonkeyPatch):
    """As finalizers do, which come anywhere."""
    copy, seen = blocks.Block.copy, []

    def nested(self: blocks.Block, *rest: Any) -> None:
        seen.append(self)
        refused(lambda: append(path), writer.flush)
        copy(self, *rest)

    monkeypatch.setattr(blocks.Block, "copy", nested)
    append(path)
    append(path)
    writer.flush()
    assert len(seen) == 2
    assert calls(path) == {"input": 2, "output": 2, "runtime": 2}


def test_collecting_in_the_thread_that_writes(path: str, monkeypatch: pytest.MonkeyPatch):
    """It cannot wait for itself."""
    write, seen = files.File.write, []

    def nested(self: files.File, *rest: Any) -> None:
        seen.append(self)
        refused(lambda: append(path), writer.flush)
        write(self, *rest)

    monkeypatch.setattr(files.File, "write", nested)
    append(path)
    writer.flush()
    assert seen
    assert calls(path) == {"input": 1, "output": 1, "runtime": 1}


def test_finalizers_that_flush(run: Callable[..., Any], path: str):
    code = """
import gc, threading
from hpacml.errors import DatabaseError

class Garbage:
    def __init__(self):
        self.itself = self

    def __del__(self):
        try:
            writer.flush()
        except DatabaseError:
            pass

def work(number):
    for n in range(300):
        Garbage()
        append(1000 * number + n)

append(-1)
gc.set_threshold(7)
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
gc.set_threshold(700)
"""
    assert run(code).stderr == ""
    assert sorted(values(path)) == [-1.0, *(1000.0 * number + n for number in range(3) for n in range(300))]


def test_a_fork_in_the_middle_of_collecting(run: Callable[..., Any], path: str, tmp_path: Path):
    """The child leaves the parent's databases alone, and has its own."""
    code = """
from hpacml.runtime.databases import blocks
os.environ["HPACML_DB_FLUSH"] = "3600"
copy, child = blocks.Block.copy, None
theirs, ours = os.pipe()

def forking(self, *rest):
    global child
    blocks.Block.copy = copy
    child = os.fork()
    if not child:
        append(1, "child.h5")
        os.close(ours)
        os.read(theirs, 1)
        sys.exit()
    copy(self, *rest)

for n in range(5000):
    append(n)
blocks.Block.copy = forking
for n in range(5000, 6000):
    append(n)
writer.flush()
append(6000)  # the child has no lock on the file
writer.flush()
assert os.waitpid(child, os.WNOHANG)[0] == 0
os.close(ours)
assert os.waitpid(child, 0)[1] == 0
"""
    assert "in the middle of collecting" in run(code).stderr
    assert values(path) == list(range(6001))
    assert values(str(tmp_path / "child.h5")) == [1]
