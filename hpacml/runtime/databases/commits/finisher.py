"""The program of the process that finishes a commit if the application is killed in the middle of it.

It runs as a script with a socket as its standard input, and depends on nothing but the standard library. First it
sends its process number. Then it receives frames, each with the descriptor of a file: the number of writes; the offset
and the size of each; the old content; the new content. A byte follows when the application has made these writes. If it
dies before, and has made some of them, this process makes the others. It drops a torn frame, since the application has
not begun to write then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence

COUNT = struct.Struct("=q")
WRITE = struct.Struct("=qq")
DONE = b"\1"
PAGE = 4096

Writes = Iterable[tuple[int, bytes | bytearray | memoryview]]
"""Offsets, and the bytes to write there."""


def write_all(descriptor: int, writes: Writes) -> None:
    """Write to a file, whatever number of system calls that takes. Raises OSError."""
    for offset, content in writes:
        rest = memoryview(content)
        while rest.nbytes:
            written = os.pwrite(descriptor, rest, offset)
            offset, rest = offset + written, rest[written:]


def serve(connection: socket.socket) -> None:
    """Keep each frame until its commit is done. Raises EOFError when the application has ended."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, COUNT.size, 1)
        if not head:
            raise EOFError
        head += _receive(connection, COUNT.size - len(head))
        places = list(WRITE.iter_unpack(_receive(connection, WRITE.size * COUNT.unpack(head)[0])))
        size = sum(size for _, size in places)
        old, new = _receive(connection, size), _receive(connection, size)
        if connection.recv(len(DONE)) != DONE:
            pages = list(_pages(places, old, new))
            # The lock comes second: nearly always there is nothing to do, and others may open the file at once.
            if _torn(descriptors[0], pages) and _locked(descriptors[0]) and _torn(descriptors[0], pages):
                write_all(descriptors[0], [(offset, page) for offset, _, page in pages])
        os.close(descriptors[0])


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
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(content)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    os.chdir("/")
    with contextlib.suppress(EOFError, OSError):
        application = socket.socket(fileno=0)
        application.sendall(COUNT.pack(os.getpid()))
        serve(application)
    os._exit(0)
