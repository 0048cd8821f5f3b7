"""The program of the process that makes good what the application leaves when it is killed.

It runs as a script that depends on nothing but the standard library, and is told the name of a socket to connect to.
First it sends its process number. Then it receives frames, each with the descriptor of a file: the number of writes;
the offset and the size of each; the old content; the new content. A byte follows when the application has made these
writes, which this process answers. If the application dies before, and has made some of them, this process makes the
others. It drops a torn frame, since the application has not begun to write then.

Negative numbers hand things over: the memory with the calls that are not committed yet (see `arena`), and the
databases that these are for, each with a lock (see `locks`). If the application dies with such calls, this process
starts another one that writes them (`rescue`), and finishes its commits as it did those of the application.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

COUNT = struct.Struct("=q")
WRITE = struct.Struct("=qq")
DONE = b"\1"
PAGE = 4096

MEMORY, KEEP, DROP = -1, -2, -3
"""In place of a number of writes: here is the memory; keep the database of the number that follows; close it."""

SLOTS = 8192
"""The memory begins with this many numbers: where a block is, or 0."""
BLOCK = struct.Struct("=qqqq")
"""The head of a block: the offset of its recorder, the number of its first call, of its calls, and of those it fits."""

PENDING, RESCUING = 1 << 62, (1 << 62) + 1
"""The offsets of bytes that are locked: as long as there may be calls that are not committed, and while this process
has those of an application written that is dead."""
_LOCK = struct.Struct("@hhqqi")

RESCUE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from hpacml.runtime.databases.rescue import main; "
    "main(*map(json.loads, sys.argv[2:]))"
)

Writes = Iterable[tuple[int, bytes | bytearray | memoryview]]
"""Offsets, and the bytes to write there."""


class Kept:
    """What the application has handed over: its memory, and descriptors of its databases by their numbers."""

    def __init__(self) -> None:
        self.memory = -1
        self.files: dict[int, int] = {}

    def take(self, what: int, connection: socket.socket, descriptors: Sequence[int]) -> None:
        """Receive what is handed over, or taken back. Raises EOFError."""
        number = COUNT.unpack(_receive(connection, COUNT.size))[0]
        if what == MEMORY:
            self.memory = descriptors[0]
        elif what == KEEP:
            self.files[number] = descriptors[0]
        else:
            os.close(self.files.pop(number))

    @property
    def pending(self) -> bool:
        """Whether there are calls in the memory."""
        if self.memory < 0:
            return False
        slots = struct.unpack(f"={SLOTS}q", os.pread(self.memory, SLOTS * COUNT.size, 0))
        return any(BLOCK.unpack(os.pread(self.memory, BLOCK.size, slot))[2] for slot in slots if slot)


def mark(descriptor: int, byte: int, kind: int = fcntl.F_WRLCK) -> None:
    """Lock a byte of a file, or unlock it with F_UNLCK, for all processes that share the descriptor. Raises nothing."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, byte, 1, 0))


def marked(descriptor: int, byte: int) -> bool:
    """Whether others have locked a byte of a file."""
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    except OSError:
        return False
    return _LOCK.unpack(found)[0] != fcntl.F_UNLCK


def write_all(descriptor: int, writes: Writes) -> None:
    """Write to a file, whatever number of system calls that takes. Raises OSError."""
    for offset, content in writes:
        rest = memoryview(content)
        while rest.nbytes:
            written = os.pwrite(descriptor, rest, offset)
            offset, rest = offset + written, rest[written:]


def serve(connection: socket.socket, kept: Kept | None = None) -> None:
    """Keep each frame until its commit is done. Raises EOFError when the application has ended."""
    kept = kept or Kept()
    while True:
        try:
            head, descriptors, _, _ = socket.recv_fds(connection, COUNT.size, 1)
        except ConnectionError:  # it ended before it read an answer
            head, descriptors = b"", []
        if not head:
            raise EOFError
        head += _receive(connection, COUNT.size - len(head))
        count = COUNT.unpack(head)[0]
        if count < 0:
            kept.take(count, connection, descriptors)
            continue
        places = list(WRITE.iter_unpack(_receive(connection, WRITE.size * count)))
        size = sum(size for _, size in places)
        old, new = _receive(connection, size), _receive(connection, size)
        try:
            _receive(connection, len(DONE))
        except EOFError:
            _finish(descriptors[0], list(_pages(places, old, new)))
        else:
            with contextlib.suppress(OSError):
                connection.sendall(DONE)
        os.close(descriptors[0])


def rescue(kept: Kept, path: str) -> None:
    """Have the calls written that are in the memory, by a process that imports from `path`. Raises EOFError at last."""
    for descriptor in kept.files.values():
        mark(descriptor, RESCUING)
    ours, theirs = socket.socketpair()
    if not os.fork():
        os.dup2(theirs.fileno(), 0)
        for descriptor in (kept.memory, *kept.files.values()):
            os.set_inheritable(descriptor, True)
        arguments = path, json.dumps(kept.memory), json.dumps(list(kept.files.items()))
        try:
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", RESCUE, *arguments])
        finally:
            os._exit(1)
    theirs.close()
    serve(ours)


def _finish(descriptor: int, pages: Sequence[tuple[int, bytes, bytes]]) -> None:
    # The lock comes second: nearly always there is nothing to do, and others may open the file at once.
    if _torn(descriptor, pages) and _locked(descriptor) and _torn(descriptor, pages):
        write_all(descriptor, [(offset, page) for offset, _, page in pages])


def _torn(descriptor: int, pages: Sequence[tuple[int, bytes, bytes]]) -> bool:
    """Whether the file has some old pages, some new ones, and no others, which would be a later writer's."""
    found = [(os.pread(descriptor, len(new), offset), old, new) for offset, old, new in pages if old != new]
    return (
        all(page in (old, new) for page, old, new in found)
        and any(page == old for page, old, _ in found)
        and any(page == new for page, _, new in found)
    )


def _pages(places: Iterable[tuple[int, int]], old: bytes, new: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Part the writes into pages, which the system writes as a whole: offset, old content, new content."""
    position = 0
    for offset, size in places:
        stop = offset + size
        while offset < stop:
            part = slice(position, position + min(stop, offset - offset % PAGE + PAGE) - offset)
            yield offset, old[part], new[part]
            offset, position = offset + part.stop - part.start, part.stop


def _locked(descriptor: int) -> bool:
    """Lock the file, for which it waits a second at most; False if readers have it for longer."""
    for _ in range(100):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return True
        else:
            return True
    return False


def _receive(connection: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view = memoryview(content)
    while view:
        try:
            count = connection.recv_into(view)
        except ConnectionError:
            count = 0
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(content)


def main(name: str, path: str) -> None:
    """Serve the application that listens at the abstract socket `name`, until its end and beyond."""
    # It goes on as a child of nobody, in a session of its own: a program that waits for all its children must not wait
    # for this one, and what ends them all, such as a terminal or a scheduler, must not end this one before them.
    if os.fork():
        os._exit(0)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    application = socket.socket(socket.AF_UNIX)
    application.connect(f"\0{name}")
    application.sendall(COUNT.pack(os.getpid()))
    kept = Kept()
    with contextlib.suppress(EOFError):
        serve(application, kept)
    application.close()
    if kept.pending:
        rescue(kept, path)


if __name__ == "__main__":
    with contextlib.suppress(EOFError, OSError):
        main(*sys.argv[1:])
    os._exit(0)
