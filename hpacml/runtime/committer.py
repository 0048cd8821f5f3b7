"""Writing to several places of a file, all of them or none, even if this process is killed meanwhile.

Another process is told before of what is to be written, as one frame, and finishes it if this one cannot.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from hpacml.runtime import commit_process
from hpacml.runtime.commit_process import COUNT, DONE, PAGE, WRITE, write_all

_log = logging.getLogger("hpacml")


class Change(NamedTuple):
    """What is to be at an offset of a file in place of something as long."""

    offset: int
    old: bytes
    new: bytes


class Committer:
    """The process that finishes commits, started when it is needed. One thread at a time may use it."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._may_start = bool(sys.executable)

    def commit(self, descriptor: int, changes: Sequence[Change]) -> None:
        """Change the file with this descriptor. Raises OSError, and then has changed nothing.

        If there can be no such process, a kill in the middle tears the file.
        """
        whole = len(changes) == 1 and len(changes[0].new) <= PAGE  # which the system does not tear
        connection = None if whole else self._tell(descriptor, changes)
        try:
            write_all(descriptor, [(change.offset, change.new) for change in changes])
        except OSError:
            write_all(descriptor, [(change.offset, change.old) for change in changes])
            raise
        finally:
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.sendall(DONE)

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.wait()
        self._connection = self._process = None

    def _tell(self, descriptor: int, changes: Sequence[Change]) -> socket.socket | None:
        """Once this returns, the system has the whole frame, and hands it over even if this process dies."""
        for _ in range(2):
            if (connection := self._start()) is None:
                return None
            places = [WRITE.pack(change.offset, len(change.new)) for change in changes]
            contents = [*(change.old for change in changes), *(change.new for change in changes)]
            # Opened anew: a lock on the file is to end with this process.
            other = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
            try:
                socket.send_fds(connection, [COUNT.pack(len(changes))], [other])
                connection.sendall(b"".join([*places, *contents]))
                return connection
            except OSError:  # somebody has killed it
                self.close()
            finally:
                os.close(other)
        return None

    def _start(self) -> socket.socket | None:
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
                    _log.warning("a kill may tear databases, since no process can be started to prevent it: %s", error)
                    return None
            self._connection = ours
        return self._connection
