"""Files that change by whole commits, and the process that finishes one which a kill tore."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpacml.runtime.databases.commits import committer, finisher
from hpacml.runtime.databases.commits.committer import Change, Committer
from hpacml.runtime.databases.commits.finisher import COUNT, DONE, PAGE, WRITE
from hpacml.runtime.databases.commits.transaction import TransactionalFile

OLD = bytes(range(256)) * 64  # four pages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def process() -> Iterator[Committer]:
    process = Committer()
    yield process
    process.close()


def opened(path: Path, process: Committer) -> TransactionalFile:
    return TransactionalFile(os.open(path, os.O_RDWR), process)


# -- the file ----------------------------------------------------------------------------------------------


def test_nothing_is_seen_before_the_commit(path: Path, process: Committer):
    file = opened(path, process)
    file.seek(10)
    file.write(b"inside")
    file.seek(len(OLD) - 2)
    file.write(b"across")
    assert path.read_bytes()[: len(OLD)] == OLD
    file.seek(8)
    assert file.read(10) == b"\x08\x09inside\x10\x11"
    file.commit()
    expected = bytearray(OLD)
    expected[10:16] = b"inside"
    expected[-2:] = b"across"
    assert path.read_bytes() == expected
    file.close()


def test_discarding(path: Path, process: Committer):
    file = opened(path, process)
    file.write(b"inside")
    file.seek(0, os.SEEK_END)
    file.write(b"beyond")
    file.discard()
    file.seek(0)
    file.write(b"later")
    file.close()
    assert path.read_bytes() == OLD


def test_it_is_a_file(path: Path, process: Committer):
    """Random reads, writes, truncations and commits, against a plain array of bytes."""
    chance = random.Random(7)
    file, model, committed = opened(path, process), bytearray(OLD), bytes(OLD)
    for _ in range(2000):
        offset, size = chance.randrange(len(model) + 2 * PAGE), chance.choice([1, 7, 100, PAGE, 3 * PAGE])
        match chance.choice("rrrwwwwtc"):
            case "r":
                file.seek(offset)
                buffer = bytearray(size)
                count = file.readinto(buffer)
                assert buffer[:count] == model[offset : offset + size]
                assert count == len(model[offset : offset + size])
                assert not any(buffer[count:])
            case "w":
                content = chance.randbytes(size)
                file.seek(offset)
                file.write(memoryview(content))
                model.extend(bytes(max(0, offset + size - len(model))))
                model[offset : offset + size] = content
            case "t":
                length = chance.randrange(len(model) // 2, len(model) + 1)
                file.truncate(length)
                del model[length:]
            case _:
                file.commit()
                committed = bytes(model)
                assert path.read_bytes() == committed
        assert path.read_bytes()[: len(committed)] == committed
        assert file.seek(0, os.SEEK_END) == len(model)
    file.close()


def test_the_first_failure_is_kept(path: Path, process: Committer, monkeypatch: pytest.MonkeyPatch):
    """HDF5 goes on after it, and must not get through to the file."""
    file = opened(path, process)
    file.seek(0, os.SEEK_END)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert file.write(b"beyond") == 6
    assert file.write(b"more") == 4
    with pytest.raises(OSError, match="No space left"):
        file.commit()
    file.discard()
    file.close()
    assert path.read_bytes() == OLD


# -- commits -----------------------------------------------------------------------------------------------

CHANGES = [
    Change(0, bytearray(OLD[:PAGE]), bytearray(b"a" * PAGE)),
    Change(2 * PAGE, bytearray(OLD[: 2 * PAGE]), bytearray(b"b" * 2 * PAGE)),
]
NEW = b"a" * PAGE + OLD[PAGE : 2 * PAGE] + b"b" * 2 * PAGE


def serve(path: Path, sent: bytes) -> None:
    """What the process does with the bytes that the application has sent before its end."""
    ours, theirs = socket.socketpair()
    descriptor = os.open(path, os.O_RDWR)

    def run() -> None:
        with theirs, contextlib.suppress(EOFError):
            finisher.serve(theirs)

    thread = threading.Thread(target=run)
    thread.start()
    with ours:
        socket.send_fds(ours, [sent[: COUNT.size]], [descriptor])
        ours.sendall(sent[COUNT.size :])
    os.close(descriptor)
    thread.join()


def frame() -> bytes:
    places = b"".join(WRITE.pack(change.offset, len(change.new)) for change in CHANGES)
    return COUNT.pack(2) + places + b"".join([*(c.old for c in CHANGES), *(c.new for c in CHANGES)])


@pytest.mark.parametrize("pages", [(0,), (2,), (3,), (0, 2), (2, 3), (0, 3)])
def test_a_torn_commit_is_finished(pages: tuple[int, ...], path: Path):
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(NEW[page * PAGE : (page + 1) * PAGE])
    serve(path, frame())
    assert path.read_bytes() == NEW


@pytest.mark.parametrize(
    "content", [OLD, NEW, b"x" * PAGE + NEW[PAGE:], NEW[:PAGE]], ids=["old", "new", "other", "short"]
)
def test_other_files_are_left_alone(content: bytes, path: Path):
    """Those whose commit had not begun, or was complete, and those that somebody else has written meanwhile."""
    path.write_bytes(content)
    serve(path, frame())
    assert path.read_bytes() == content


def test_a_torn_frame_is_dropped(path: Path):
    path.write_bytes(NEW[:PAGE] + OLD[PAGE:])  # which would be finished
    before = path.read_bytes()
    for length in (COUNT.size, COUNT.size + 5, len(frame()) // 2, len(frame()) - 1):
        serve(path, frame()[:length])
        assert path.read_bytes() == before


def test_a_commit_that_is_done_is_forgotten(path: Path):
    before = NEW[:PAGE] + OLD[PAGE:]
    path.write_bytes(before)
    serve(path, frame() + DONE)
    assert path.read_bytes() == before


def test_a_file_that_another_process_writes_is_left_alone(path: Path):
    before = NEW[:PAGE] + OLD[PAGE:]
    path.write_bytes(before)
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        serve(path, frame())
    assert path.read_bytes() == before


def test_committing(path: Path, process: Committer):
    with open(path, "r+b") as file:
        process.commit(file.fileno(), CHANGES)
    assert path.read_bytes() == NEW


def test_a_process_that_somebody_killed_is_started_again(path: Path, process: Committer):
    with open(path, "r+b") as file:
        process.commit(file.fileno(), CHANGES)
        first = process.process
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for_end(first)
        process.commit(file.fileno(), [Change(c.offset, c.new, c.old) for c in CHANGES])
        assert process.process != first
    assert path.read_bytes() == OLD


def test_without_a_process(path: Path, process: Committer, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(committer, "spawn", refuse)
    with open(path, "r+b") as file:
        for _ in range(2):
            process.commit(file.fileno(), CHANGES)
    assert path.read_bytes() == NEW
    assert [record.message for record in caplog.records] == [
        "a kill may tear databases, since the process that would prevent it cannot be started: [Errno 1] Operation not permitted"
    ]


def test_a_failing_commit_is_undone(path: Path, process: Committer, monkeypatch: pytest.MonkeyPatch):
    write, count = os.pwrite, 0

    def fail(descriptor: int, content: Any, offset: int) -> int:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(errno.EIO, "Input/output error")
        return write(descriptor, content, offset)

    monkeypatch.setattr(os, "pwrite", fail)
    with open(path, "r+b") as file, pytest.raises(OSError, match="Input/output error"):
        process.commit(file.fileno(), CHANGES)
    assert path.read_bytes() == OLD


def test_the_process_ends_with_the_application(path: Path):
    """Also if a child that it forked lives on, as those of multiprocessing do."""
    read, write = os.pipe()
    if not (child := os.fork()):
        process = Committer()
        process.commit(os.open(path, os.O_RDWR), CHANGES)
        os.write(write, str(process.process).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for_end(int(os.read(read, 20)))
    os.close(read)
    os.close(write)


def wait_for_end(process: int) -> None:
    for _ in range(500):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def test_a_program_that_waits_for_all_its_children(path: Path):
    read, write = os.pipe()
    if not (child := os.fork()):
        process = Committer()
        with open(path, "r+b") as file:
            process.commit(file.fileno(), CHANGES)
        with contextlib.suppress(ChildProcessError):
            os.wait()
        os.write(write, b"done")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 10) == b"done"
    os.close(read)
    os.close(write)
