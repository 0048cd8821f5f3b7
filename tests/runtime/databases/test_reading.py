"""Databases that are read while a process collects into them: the reader has whole calls, and stops nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.errors import DatabaseError
from hpacml.runtime.databases import reading, writer
from hpacml.runtime.databases.commits import turns
from hpacml.runtime.databases.writer import Schema
from hpacml.tools.check import check_region
from hpacml.tools.merge import merge

h5py = pytest.importorskip("h5py")

MAPS = ("to: f: [i, 0:2] = ([i], [i]) | f(x[0:N])", "from: g: [i] = ([i]) | g(y[0:N])")
SCHEMA = Schema(MAPS, ("f64",), ("f64",))

COLLECT = f"""
import os, sys, time
import numpy as np
from hpacml.runtime.databases import writer
schema = writer.Schema({MAPS}, ("f64",), ("f64",))
varies = sys.argv[1] == "varies"
print("ready", flush=True)
k, end = 0, time.monotonic() + 60
while time.monotonic() < end and not os.path.exists("stop"):
    n = k % 7 if varies else 6
    writer.append(os.path.realpath("d.h5"), "r", schema, [np.full((n, 2), float(k)), np.full(n, 2.0 * k)], k)
    k += 1
    time.sleep(0.0002)
print(k)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "d.h5")


def append(path: str, k: int, n: int = 6) -> None:
    writer.append(path, "r", SCHEMA, [np.full((n, 2), float(k)), np.full(n, 2.0 * k)], k)


@pytest.fixture
def collector(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that collects all the time, and commits as often as it can."""
    environment = {**os.environ, "HPACML_DB_FLUSH": "0.01", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", COLLECT, request.param]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while not (tmp_path / "d.h5").exists() or "r" not in hpacml.open_database(tmp_path / "d.h5"):
            time.sleep(0.01)
        yield process
        (tmp_path / "stop").touch()
        process.wait(60)


def require_whole(region: Any, calls: slice) -> None:
    """Some calls are those that were collected."""
    runtime = region.runtime[calls]
    np.testing.assert_array_equal(runtime, np.arange(len(region))[calls])
    for k in range(*calls.indices(len(region)))[::97]:
        x, y = region.inputs[0][k], region.outputs[0][k]
        assert (x == k).all()
        assert (y == 2 * k).all()


@pytest.mark.parametrize("collector", ["agree", "varies"], indirect=True)
def test_what_another_process_collects(collector: subprocess.Popen[str], path: str, tmp_path: Path):
    end, counts = time.monotonic() + 3.0, [0]
    early: list[hpacml.Database] = []
    while time.monotonic() < end or len(counts) < 5:
        with hpacml.open_database(path) as database:
            region = database["r"]
            counts.append(region.calls)
            require_whole(region, slice(max(0, region.calls - 200), None))
            points = region.dataset("points")
            if len(points):
                x, y = points[max(0, len(points) - 300) :]
                assert (x[:, 0] * 2 == y).all()
        if not early and counts[-1] > 100:
            early.append(hpacml.open_database(path))
    assert counts == sorted(counts)
    assert counts[-1] > counts[1]
    region = early[0]["r"]  # it reads what it had when it was opened
    assert 0 < region.calls < counts[-1]
    require_whole(region, slice(None))
    (tmp_path / "stop").touch()
    assert collector.stdout is not None
    total = int(collector.stdout.read())
    require_whole(region, slice(None))
    with hpacml.open_database(path) as database:
        assert database["r"].calls == total
        require_whole(database["r"], slice(None))
        assert check_region(database, database["r"], False)[0] == []


def test_what_this_process_collects(path: str):
    for k in range(20):
        append(path, k)
    with hpacml.open_database(path) as database:
        region = database["r"]
        for k in range(20, 3000):
            append(path, k, 6 + k // 1000)
            if k % 500 == 0:
                hpacml.flush()
                require_whole(region, slice(None))
        assert region.calls == 20
        with hpacml.open_database(path) as later:
            assert later["r"].calls == 3000
            require_whole(later["r"], slice(None))
            require_whole(region, slice(None))
        require_whole(region, slice(None))


def test_sources_of_a_virtual_database(tmp_path: Path):
    paths = [tmp_path / "0.h5", tmp_path / "1.h5"]
    for k, path in enumerate(paths):
        for call in range(300):
            append(str(path), 300 * k + call)
    hpacml.flush()
    merge(tmp_path / "all.h5", paths, True)
    with hpacml.open_database(tmp_path / "all.h5") as database:
        for k in range(2000):
            append(str(paths[0]), k)
            if k % 400 == 0:
                hpacml.flush()
                np.testing.assert_array_equal(database["r"].inputs[0][:, 0, 0], np.arange(600))


def test_threads_that_read(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HPACML_DB_FLUSH", "0.01")
    for k in range(1000):
        append(path, k)
    errors: list[BaseException] = []
    with hpacml.open_database(path) as database:

        def read() -> None:
            try:
                for _ in range(3):
                    require_whole(database["r"], slice(None))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        k = 1000
        while any(thread.is_alive() for thread in threads):
            append(path, k)
            k += 1
        for thread in threads:
            thread.join()
    assert not errors


def test_what_hdf5_remembers_is_not_taken_for_new(path: str):
    """Though the program itself has the file open, by h5py, which goes on with what it remembers."""
    append(path, 0)
    hpacml.flush()
    with h5py.File(path, locking=False) as file:
        assert len(file["r/input"]) == 1
        for k in range(1, 50):
            append(path, k)
        with hpacml.open_database(path) as database:
            assert database["r"].calls == 50
            require_whole(database["r"], slice(None))
    with h5py.File(path) as file:  # and it can open what we have open
        assert len(file["r/input"]) == 50


def test_commits_go_on_without_a_reader_that_has_stopped(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.05)
    append(path, 0)
    hpacml.flush()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert turns.begin_reading(descriptor)
        append(path, 1)
        hpacml.flush()
    finally:
        os.close(descriptor)
    with h5py.File(path) as file:
        assert len(file["r/input"]) == 2


def change_once(monkeypatch: pytest.MonkeyPatch, path: str, what: Callable[[], None]) -> None:
    """Have a file changed in the middle of the next reading."""
    refresh, done = reading._Opened.refresh, []

    def changing(self: Any, version: Any) -> None:
        refresh(self, version)
        if not done:
            done.append(1)
            what()
            os.utime(path, ns=(0, time.time_ns() + 1))

    monkeypatch.setattr(reading._Opened, "refresh", changing)


def test_what_changes_while_it_is_read_is_read_again(path: str, monkeypatch: pytest.MonkeyPatch):
    for k in range(3):
        append(path, k)
    with hpacml.open_database(path) as database:
        whole = Path(path).read_bytes()
        torn = bytearray(whole)
        torn[len(whole) // 4 :] = bytes(len(whole) - len(whole) // 4)
        Path(path).write_bytes(torn)
        change_once(monkeypatch, path, lambda: Path(path).write_bytes(whole) and None)
        require_whole(database["r"], slice(None))


def test_what_changes_all_the_time_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch):
    append(path, 0)
    monkeypatch.setattr(reading, "PATIENCE", 0.2)
    refresh = reading._Opened.refresh
    hpacml.flush()

    def changing(self: Any, version: Any) -> None:
        refresh(self, version)
        os.utime(path)

    with hpacml.open_database(path) as database:
        monkeypatch.setattr(reading._Opened, "refresh", changing)
        with pytest.raises(DatabaseError, match="changes faster than it can be read: set HPACML_DB_FLUSH to more"):
            database["r"].inputs[0][0]


def test_messages_are_for_readers(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "text.h5").write_text("name,value\n")
    (tmp_path / "folder.h5").mkdir()
    for name, message in {
        "pipe": "it is no regular file; name a database",
        "text": "it is no HDF5 file; name a database",
        "folder": "it is a directory; name a file",
    }.items():
        with pytest.raises(DatabaseError, match=f"cannot open the database '{tmp_path}/{name}.h5': {message}"):
            hpacml.open_database(tmp_path / f"{name}.h5")


def test_messages_tell_readers_and_collectors_what_to_do(path: str):
    append(path, 0)
    command = [
        sys.executable,
        "-c",
        f"import h5py, time; f = h5py.File({path!r}); print(1, flush=True); time.sleep(60)",
    ]
    hpacml.flush()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(DatabaseError, match=r"another process reads it with HDF5's lock; close it there, or have"):
            append(path, 1)
        with hpacml.open_database(path) as database:
            assert database["r"].calls == 1
        process.kill()
    append(path, 1)
