"""Processes that fork while other threads have locks of hpacml: the child has none of them, and goes on."""

from __future__ import annotations

import ast
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from hpacml import locks
from tests import faults

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_fork_while_another_thread_compiles(tmp_path: Path) -> None:
    """The child compiles, infers, collects and reports."""
    source = """
    os.environ["HPACML_CACHE"] = "0"
    x, y = counting_arrays(0)
    regions = [counting_region() for _ in range(3)]
    gather = [hpacml.functor(f"f: [i, 0:{n}] = ([i - 1 : i + {n - 1}])") for n in range(2, 5)]
    thread = threading.Thread(target=lambda: [f.gather("x[1:4]", x=x) for f in gather] and regions[0](x, y, str(path)))
    thread.start()
    for delay in (0.05, 0.5):
        time.sleep(delay)
        if not (child := os.fork()):
            signal.alarm(90)
            f = hpacml.functor("f: [i, 0:1] = ([i + 1])")
            assert f.gather("x[0:3]", x=x)[:, 0].tolist() == x[1:4].tolist()
            collect(regions[1], path.with_name(f"{delay}.h5"), range(2))
            print(hpacml.report())
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        assert numbers_in(path.with_name(f"{delay}.h5")) == [0, 1]
    thread.join()
    hpacml.flush()
    assert numbers_in(path) == [0]
    """
    ended = faults.program(source, tmp_path / "d.h5", patience=150)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_lock_that_is_not_free(monkeypatch) -> None:
    """The fork goes on after its patience, and the child has a new one."""
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    monkeypatch.setattr(locks, "_locks", [])
    lock = locks.lock(locks.Order.COUNTING)
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    assert status_of_child(lambda: lock.acquire(timeout=5)) == 0
    done.set()
    thread.join()
    with lock:  # the forking thread's own
        assert status_of_child(lambda: lock.acquire(timeout=5)) == 0
    assert lock.acquire(blocking=False)
    lock.release()


def status_of_child(action) -> int:
    start = time.monotonic()
    if not (child := os.fork()):
        signal.alarm(10)
        os._exit(not action())
    status = os.waitpid(child, 0)[1]
    assert time.monotonic() - start < 5
    return status


def test_locks_that_last_are_of_that_kind() -> None:
    """Those of modules, which the child of a fork inherits."""
    for path in (ROOT / "hpacml").rglob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                text = ast.unparse(statement.value)
                assert not re.match(r"(threading|_thread)\.(?!local)", text), (path, text)
