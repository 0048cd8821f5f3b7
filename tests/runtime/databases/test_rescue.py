"""What a process has collected is in its database however the process ends: another one writes what it cannot."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.runtime.databases import writer
from hpacml.runtime.databases.commits import arena, committer
from hpacml.runtime.databases.commits.arena import Arena
from hpacml.runtime.databases.commits.committer import Committer
from hpacml.runtime.databases.commits.spawning import spawn
from hpacml.runtime.databases.rescue import pending

h5py = pytest.importorskip("h5py")

ROUNDS = int(os.environ.get("HPACML_POOL_ROUNDS", "2"))

POOL = """
import glob, multiprocessing, os, sys
import numpy as np, hpacml

@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(collect) in(f(x[0:n])) out(f(y[0:n])) database(path) label("r")
''')
def double(x, y, n, path):
    y[:] = 2 * x

def work(k):
    y = np.zeros(4)
    double(np.full(4, float(k)), y, 4, f"{os.getpid()}.h5")
    return y[0]

if __name__ == "__main__":
    for number in range(int(sys.argv[2])):
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            assert pool.map(work, range(40), chunksize=1) == [2.0 * k for k in range(40)]
        found = []
        for path in glob.glob("*.h5"):
            with hpacml.open_database(path) as database:
                if "r" in database:
                    found += database["r"].inputs[0][:, 0, 0].tolist()
            os.remove(path)
        assert sorted(found) == list(range(40)), (number, sorted(found))
        assert not os.listdir(), os.listdir()
"""

PRELUDE = """
import os, signal, sys, time
import numpy as np
from hpacml.runtime.databases import files, pool, writer
schema = writer.Schema(("m",), ("f64",), ())
def append(value, path="d.h5"):
    writer.append(os.path.realpath(path), "r", schema, [np.full(3, float(value))], value)
for n in range(5):
    append(n)
helper = writer._pool._committer.process
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.h5"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run(code)` runs Python code in another process that has collected the calls 0 to 4."""

    def run(code: str, prelude: str = PRELUDE, **environment: str) -> subprocess.CompletedProcess[str]:
        # Its standard streams stay open for as long as there is a process that has them.
        return subprocess.run(
            [sys.executable, "-c", prelude + code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **environment},
        )

    return run


def values(path: Path) -> list[float]:
    """The calls that are there once what a killed process has left is written."""
    with hpacml.open_database(path) as database:
        region = database["r"]
        assert region.runtime is not None
        found = region.inputs[0][:, 0].tolist()
        assert found == region.runtime[:].tolist()
        return found


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_that_is_left(method: str, tmp_path: Path):
    """To leave its block ends the workers by SIGTERM."""
    script = tmp_path / "script.py"
    script.write_text(POOL)
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run([sys.executable, str(script), method, str(ROUNDS)], check=True, cwd=folder, timeout=600)


ENDS = {
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGSEGV": "import ctypes; ctypes.string_at(0)",
    "os._exit": "os._exit(3)",
    "another program": "os.execv('/bin/true', ['true'])",
    "an exception": "raise SystemError",
    "all processes of the group": "os.setpgid(0, 0); os.killpg(0, signal.SIGTERM)",
    "the helper is told to end, too": "[os.kill(p, signal.SIGTERM) for p in (helper, os.getpid())]",
    "a daemon thread": "import threading; threading.Thread(target=append, args=(5,), daemon=True).start(); "
    "time.sleep(0.2); os._exit(0)",
    "an executor": "from concurrent.futures import ProcessPoolExecutor as P; import multiprocessing as m; "
    "executor = P(1, m.get_context('fork')); executor.submit(append, 9, 'e.h5').result(); "
    "[p.terminate() for p in executor._processes.values()]; os._exit(0)",
    "loky": "import joblib; joblib.Parallel(2)(joblib.delayed(os.getpid)() for _ in range(2)); "
    "from joblib.externals.loky import get_reusable_executor; get_reusable_executor().shutdown(kill_workers=True); "
    "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("end", ENDS)
def test_however_it_ends(end: str, run: Callable[..., Any], path: Path):
    run(ENDS[end], HPACML_DB_FLUSH="1000")
    expected = range(6) if end == "a daemon thread" else range(5)
    assert values(path) == list(expected)
    if end == "an executor":
        assert values(path.with_name("e.h5")) == [9]


def test_the_workers_of_joblib(tmp_path: Path):
    """They collect themselves, and are killed without a warning."""
    (tmp_path / "work.py").write_text(
        "import os, numpy as np\nfrom hpacml.runtime.databases import writer\n"
        "schema = writer.Schema(('m',), ('f64',), ())\n"
        "def work(n):\n"
        "    writer.append(os.path.realpath(f'{os.getpid()}.h5'), 'r', schema, [np.full(3, float(n))], n)\n"
    )
    code = (
        "import joblib, os, work; joblib.Parallel(2)(joblib.delayed(work.work)(n) for n in range(20)); "
        "from joblib.externals.loky import get_reusable_executor as g; g().shutdown(kill_workers=True)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "HPACML_DB_FLUSH": "1000"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, timeout=120)
    assert sorted(value for file in tmp_path.glob("*.h5") for value in values(file)) == list(range(20))


@pytest.mark.parametrize("end", ["after", "before"])
def test_a_kill_beside_a_commit(end: str, run: Callable[..., Any], path: Path):
    """What is committed is not written again."""
    code = f"""
commit = files.File.commit
def killed(self):
    if {end!r} == "after":
        commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
files.File.commit = killed
writer.flush()
"""
    run(code)
    assert values(path) == list(range(5))


def test_many_blocks_of_many_regions(run: Callable[..., Any], path: Path):
    code = """
os.environ["HPACML_DB_DTYPE"] = "float32"
for n in range(5, 4000):
    append(n)
    if n % 10 == 0:
        other = writer.Schema(("m", "o"), ("f64",), ("i32",), sample=f"every: {1 + n % 20}")
        writer.append(os.path.realpath("d.h5"), "s", other, [np.zeros(0), np.full((4, 100), n, np.int32)], n)
os.kill(os.getpid(), signal.SIGTERM)
"""
    run(code)
    assert values(path) == list(range(4000))
    with hpacml.open_database(path) as database:
        region = database["s"]
        np.testing.assert_array_equal(region.outputs[0][:, 3, 99], range(10, 4000, 10))
        assert region.inputs[0].dtype == np.float32
        assert [run.sample for run in region.runs] == ["every: 11; every: 1"]


def test_calls_that_differ_in_their_points(run: Callable[..., Any], path: Path):
    code = """
maps = [f"{way}: f: [i, 0:1] = ([i]) | f(x[0 : n])" for way in ("to", "from")]
schema = writer.Schema(tuple(maps), ("f64",), ("f32",))
def varying(n):
    values = np.full((1 + n % 7, 1), n)
    writer.append(os.path.realpath("d.h5"), "v", schema, [values.astype("f8"), values.astype("f4")], n)
for n in [0] * 10 + [*range(10, 3000)]:
    varying(n)
commit = files.File.commit
def killed(self):
    commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
if os.environ.get("COMMITTED"):
    files.File.commit = killed
    writer.flush()
os.kill(os.getpid(), signal.SIGTERM)
"""
    for more in ({}, {"COMMITTED": "1"}):
        path.unlink(missing_ok=True)
        run(code, HPACML_DB_FLUSH="1000", **more)
        with hpacml.open_database(path) as database:
            found = [database["v"].inputs[0][k] for k in range(database["v"].calls)]
        assert [int(x[0, 0]) for x in found] == [0] * 10 + [*range(10, 3000)]
        assert [len(x) for x in found] == [1] * 10 + [1 + n % 7 for n in range(10, 3000)]


def test_the_run_is_that_of_the_process(run: Callable[..., Any], path: Path):
    ended = run("print(os.getpid(), flush=True); os._exit(0)", HPACML_RANK="3")
    with hpacml.open_database(path) as database:
        (record,) = database["r"].runs
    assert (record.process, record.rank) == (int(ended.stdout), 3)
    assert "import os, signal" in record.command


REGION = """
import os, signal
import numpy as np, hpacml
@hpacml.region("tensor functor(f: [i, 0:1] = ([i])) ml(collect) in(f(a[0:n])) out(f(b[0:n])) database('d.h5') label('r')")
def copy(a, b, n):
    b[:] = a
for n in range(5):
    copy(np.full(3, float(n)), np.zeros(3), 3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_files_beside_the_script_are_no_modules(tmp_path: Path, path: Path):
    """Python's `ntpath` looks for a module `nt`, which only Windows has."""
    (tmp_path / "nt.py").write_text("raise RuntimeError('this is no module of Python')")
    (tmp_path / "script.py").write_text(REGION)
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, timeout=120)
    with hpacml.open_database(path) as database:
        assert database["r"].inputs[0][:, 0, 0].tolist() == [*range(5)]


def test_who_collects_next_comes_after(run: Callable[..., Any], path: Path):
    run("os._exit(0)")
    run("os.kill(os.getpid(), signal.SIGKILL)")
    writer.append(str(path), "r", writer.Schema(("m",), ("f64",), ()), [np.full(3, 7.0)], 7.0)
    writer.flush()
    assert values(path) == [*range(5), *range(5), 7]


def test_a_reader_that_has_the_file_open(run: Callable[..., Any], path: Path):
    """It keeps what it sees until it closes the file."""
    run("writer.flush(); append(5); print(1); sys.stdout.flush(); os._exit(0)")
    with h5py.File(path) as file:
        assert len(file["r/input"]) in (5, 6)
        time.sleep(0.5)
    assert values(path) == list(range(6))


def test_calls_of_others_are_not_taken_for_its_own(run: Callable[..., Any], path: Path):
    """Where files are not locked, another process can be first."""
    code = """
import subprocess
other = '''
import os, numpy as np
from hpacml.runtime.databases import writer
for n in range(3):
    writer.append(os.path.realpath("d.h5"), "r", writer.Schema(("m",), ("f64",), ()), [np.full(3, 10.0 + n)], 10.0 + n)
'''
writer.flush()
append(5)
append(6)
writer._pool._worker.ask(lambda: None)
subprocess.run([sys.executable, "-c", other], check=True)
print(helper, flush=True)
os._exit(0)
"""
    # It must not commit by itself meanwhile, which no lock would keep apart from what the other one writes.
    helper = run(code, HDF5_USE_FILE_LOCKING="FALSE", HPACML_DB_FLUSH="3600").stdout.strip()
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{helper}") and time.monotonic() < end:
        time.sleep(0.01)
    assert sorted(values(path)) == [*range(7), 10, 11, 12]


def test_what_cannot_be_written_is_told(run: Callable[..., Any], path: Path):
    """There is nobody to raise an error for."""
    run("writer.flush()")
    run("writer._pool._recorders[os.path.realpath('d.h5'), 'r'].memory.head[1] = 99; os.kill(os.getpid(), 9)")
    assert values(path) == list(range(5))
    note = path.with_name("d.h5.lost").read_text()
    assert f"A process that collected into '{path}' was killed. Its last calls of 'r', 5 at most, are lost:" in note


# -- the process that helps ------------------------------------------------------------------------------


def append(path: Path, value: float) -> None:
    writer.append(str(path), "r", writer.Schema(("m",), ("f64",), ()), [np.full(3, value)], value)


@pytest.mark.parametrize("signal_", [signal.SIGSTOP, signal.SIGKILL])
def test_a_helper_that_does_not_answer(signal_: int, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    monkeypatch.setattr(committer, "PATIENCE", 0.5)
    writer._pool.pause()  # which ends the helper of other tests
    writer._pool.resume()
    monkeypatch.setenv("HPACML_DB_FLUSH", "1 call")
    append(path, 0)
    writer.flush()
    append(path, 1)
    helper = writer._pool._committer
    first = helper.process
    assert first is not None
    os.kill(first, signal_)
    start = time.monotonic()
    for value in range(2, 8):
        append(path, value)
    writer.flush()
    assert time.monotonic() - start < 5
    assert helper.process != first
    assert values(path) == list(range(8))
    stopped = [r.message for r in caplog.records if "does not answer, and is killed" in r.message]
    assert len(stopped) == (signal_ == signal.SIGSTOP)


def test_helpers_that_never_answer(path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    """Commits go on without one."""
    monkeypatch.setattr(committer, "PATIENCE", 0.2)
    monkeypatch.setattr(committer.finisher, "__file__", "/dev/null")
    helper = Committer(Arena())
    path.write_bytes(bytes(3 * 4096))
    changes = [committer.Change(k * 4096, bytearray(4096), bytearray([k] * 4096)) for k in (0, 2)]
    with open(path, "r+b") as file:
        helper.commit(file.fileno(), changes)
    assert path.read_bytes() == bytes(2 * 4096) + bytes([2] * 4096)
    assert "a kill may tear databases" in caplog.text


STOPPED = """
import os, signal, threading, time
import h5py, numpy as np, hpacml  # h5py runs a command when it is imported
from hpacml.runtime.databases.commits import committer
from hpacml.runtime.databases.commits.spawning import spawn

stopped, done, pauses = set(), threading.Event(), []
def stop():
    while not done.is_set():
        start = time.monotonic()
        for thread in os.listdir("/proc/self/task"):
            try:
                with open(f"/proc/self/task/{thread}/children") as file:
                    children = set(file.read().split()) - stopped
                for child in children:
                    os.kill(int(child), signal.SIGSTOP)
                    stopped.add(child)
            except OSError:
                pass
        pauses.append(time.monotonic() - start)
stopper = threading.Thread(target=stop, daemon=True)
stopper.start()

for k in range(12):  # which takes the system longer to hand over, so that some are stopped before it has
    os.environ[f"LONG{k}"] = "x" * 100_000
ends = []
for _ in range(8):
    start = time.monotonic()
    try:
        spawn(["/bin/true"], 0.2)
        ends.append("in time")
    except TimeoutError:
        ends.append("killed")
    assert time.monotonic() - start < 2
assert "killed" in ends and max(pauses) < 2, (ends, max(pauses))

committer.PATIENCE = 0.5
@hpacml.region('''
    tensor functor(f: [i, 0:1] = ([i]))
    ml(collect) in(f(x[0:n])) out(f(y[0:n])) database("d.h5") label("r")
''')
def double(x, y, n):
    y[:] = 2 * x
start = time.monotonic()
for k in range(5):
    double(np.full(4, float(k)), np.zeros(4), 4)
hpacml.flush()
print(time.monotonic() - start, ends, len(stopped))
with hpacml.open_database("d.h5") as database:
    assert database["r"].outputs[0][:, 0, 0].tolist() == [0, 2, 4, 6, 8]
done.set()
stopper.join()
with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
    assert not file.read()
"""


def test_helpers_that_are_stopped_at_once(tmp_path: Path):
    """Also before they run their program, when the system stops the thread that makes them."""
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED], cwd=tmp_path, timeout=60, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "cannot be started: it is not there after 0.5 s" in ended.stderr


def test_a_command_that_does_not_end_in_time():
    with pytest.raises(TimeoutError, match="not there after"):
        spawn(["/bin/sleep", "35.25"], 0.1)
    end = time.monotonic() + 10
    while b"35.25" in b"".join(command_lines()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_command_that_does_not_exist():
    with pytest.raises(FileNotFoundError):
        spawn(["/nowhere/at/all"], 5)


def command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def test_it_has_no_descriptor_of_the_program(tmp_path: Path):
    """Else the locks of files would last that the program closes while it starts."""
    code = """
import h5py, os, threading, time
from hpacml.runtime.databases.commits.spawning import spawn
refused, done = [], threading.Event()
def use():
    while not done.is_set():
        try:
            with h5py.File("own.h5", "a") as file:
                file.attrs["a"] = 1
        except BlockingIOError as error:
            refused.append(error)
thread = threading.Thread(target=use)
thread.start()
for _ in range(15):
    spawn(["/bin/sleep", "0.01"], 20)
done.set()
thread.join()
assert not refused, len(refused)
spawn(["/bin/sh", "-c", "ls -l /proc/self/fd > fds"], 20)
assert open("fds").read().count("/dev/null") == 2, open("fds").read()  # the third is that file
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)


# -- the memory ------------------------------------------------------------------------------------------


def test_memory_goes_back():
    memory = Arena()
    pieces = [memory.allocate(100_000) for _ in range(20)]
    for piece in pieces:
        piece.array[:] = 1
        memory.enter(piece)
    used = os.fstat(memory.descriptor).st_blocks * 512
    assert used >= 2_000_000
    assert pieces[3].head[0] == int.from_bytes(bytes([1] * 8), "little")
    for piece in pieces:
        memory.release(piece)
    assert os.fstat(memory.descriptor).st_blocks * 512 < used - 1_900_000
    assert not pending(np.fromfile(f"/proc/self/fd/{memory.descriptor}", np.uint8))


def test_without_shared_memory(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the system has none, a kill loses the last calls, and nothing else is different."""

    def refuse(*_: Any) -> int:
        raise OSError("no such memory")

    monkeypatch.setattr(arena.os, "memfd_create", refuse)
    for value in range(3):
        append(path, value)
    writer.flush()
    assert values(path) == [0, 1, 2]


def test_the_child_of_a_fork_cannot_change_it(run: Callable[..., Any], path: Path):
    """As one does that a signal handler forks in the middle of a call."""
    code = """
block = writer._pool._recorders[os.path.realpath("d.h5"), "r"].blocks[-1]
def child():
    block.copy(0, [np.full(3, 99.0)], 99.0)
    block.shared[2] = 1
pool.Pool.pause = lambda self: None
if not os.fork():
    child()
    os._exit(0)
os.wait()
os._exit(0)
"""
    run(code)
    assert values(path) == list(range(5))
