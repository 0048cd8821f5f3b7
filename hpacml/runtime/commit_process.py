"""The program of the process that commits: it writes to files what comes in whole frames, and nothing of a torn one.

It is run as a script with a socket as its standard input, and depends on nothing but the standard library. A frame
comes with the descriptor of a file: the number of writes, then their offsets and sizes, then their bytes. The answer
is 0, or the error number of what failed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

COUNT = struct.Struct("=q")
WRITE = struct.Struct("=qq")
STATUS = struct.Struct("=i")


def write_all(descriptor: int, offset: int, content: bytes | memoryview) -> None:
    """Write at an offset, whatever number of system calls that takes. Raises OSError."""
    rest = memoryview(content)
    while rest.nbytes:
        written = os.pwrite(descriptor, rest, offset)
        offset, rest = offset + written, rest[written:]


def serve(connection: socket.socket) -> None:
    """Commit frames until the other end is closed."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, COUNT.size, 1)
        if not head:
            return
        head += _receive(connection, COUNT.size - len(head))
        writes = list(WRITE.iter_unpack(_receive(connection, WRITE.size * COUNT.unpack(head)[0])))
        contents = _receive(connection, sum(size for _, size in writes))
        status = _apply(descriptors[0], writes, memoryview(contents))
        os.close(descriptors[0])  # and with it the share of the application's lock on the file
        connection.sendall(STATUS.pack(status))


def _apply(descriptor: int, writes: list[tuple[int, int]], contents: memoryview) -> int:
    try:
        for offset, size in writes:
            write_all(descriptor, offset, contents[:size])
            contents = contents[size:]
    except OSError as error:
        return error.errno or -1
    return 0


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
    os.chdir("/")
    with contextlib.suppress(EOFError, OSError):  # the application may end in the middle of a frame
        serve(socket.socket(fileno=0))
    os._exit(0)
