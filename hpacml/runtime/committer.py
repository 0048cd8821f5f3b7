"""Writing to several places of a file, all of them or none, even if this process is killed meanwhile.

Another process does it, which gets what is to be written as one frame, and drops a frame that is not whole.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping

from hpacml.runtime import commit_process
from hpacml.runtime.commit_process import COUNT, STATUS, WRITE, write_all

_log = logging.getLogger("hpacml")

Writes = Mapping[tuple[int, int], bytes]
"""What to write, by offset and size, in this order."""


class Committer:
    """The process that commits, started when it is needed. One thread at a time may use it."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._may_start = bool(sys.executable)

    def commit(self, descriptor: int, writes: Writes) -> None:
        """Write to the file with this descriptor. Raises OSError.

        If there can be no such process, this one writes: a kill in the middle would then tear the file.
        """
        try:
            status = self._ask(descriptor, writes) if self._start() else None
        except OSError:  # it was killed, perhaps in the middle of the frame, which can be written again
            self.close()
            status = None
        if status is None:
            for (offset, _), content in writes.items():
                write_all(descriptor, offset, content)
        elif status:
            raise OSError(status, os.strerror(status))

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.wait()
        self._connection = self._process = None

    def abandon(self) -> None:
        """Forget the process, in a forked child: it is the parent's."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.returncode = 0  # else its finalizer warns that it still runs
        self._connection = self._process = None

    def _ask(self, descriptor: int, writes: Writes) -> int:
        if (connection := self._connection) is None:
            raise BrokenPipeError
        socket.send_fds(connection, [COUNT.pack(len(writes))], [descriptor])
        connection.sendall(b"".join(WRITE.pack(*place) for place in writes))
        connection.sendall(b"".join(writes.values()))
        answer = b""
        while len(answer) < STATUS.size:
            received = connection.recv(STATUS.size - len(answer))
            if not received:
                raise BrokenPipeError(errno.EPIPE, "the committing process has ended")
            answer += received
        return STATUS.unpack(answer)[0]

    def _start(self) -> bool:
        if self._connection is None and self._may_start:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    # Without site-packages it starts in 10 ms; in a session of its own no terminal interrupts it.
                    self._process = subprocess.Popen(
                        [sys.executable, "-I", "-S", commit_process.__file__],
                        stdin=theirs.fileno(),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                except OSError as error:
                    ours.close()
                    self._may_start = False
                    _log.warning("databases are committed by this process itself, since none can be started: %s", error)
                    return False
            self._connection = ours
        return self._connection is not None
