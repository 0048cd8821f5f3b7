"""Writing to several places of a file, to all of them or none, even if this process is killed meanwhile.

Another process receives all that is to be written first, as one frame, and finishes it if this one cannot.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from hpacml.runtime.databases.commits import finisher
from hpacml.runtime.databases.commits.finisher import COUNT, DONE, PAGE, WRITE, write_all

_log = logging.getLogger("hpacml")

PATIENCE = 10.0
"""Seconds in which the process has to start."""


class Change(NamedTuple):
    """New content at an offset of a file, in place of old content of the same size."""

    offset: int
    old: bytearray
    new: bytearray


class Committer:
    """The process that finishes commits, which starts when it is needed. One thread at a time may use it."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self.process: int | None = None
        """The process's number, None if it has not started."""
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
            self._done(connection)
            raise
        self._done(connection)

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self.process = None

    def _tell(self, descriptor: int, changes: Sequence[Change]) -> socket.socket | None:
        """Send a frame. Once this returns, the system has all of it, and delivers it even if this process dies."""
        for _ in range(2):
            if (connection := self._start()) is None:
                return None
            try:
                # Opened anew: a lock on the file is to end with this process.
                other = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
                try:
                    socket.send_fds(connection, [COUNT.pack(len(changes))], [other])
                    connection.sendall(b"".join(WRITE.pack(change.offset, len(change.new)) for change in changes))
                    for content in (*(change.old for change in changes), *(change.new for change in changes)):
                        connection.sendall(content)
                    return connection
                finally:
                    os.close(other)
            except OSError:  # somebody has killed it
                self.close()
        self._give_up("it does not answer")
        return None

    def _done(self, connection: socket.socket | None) -> None:
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.sendall(DONE)

    def _start(self) -> socket.socket | None:
        if self._connection is None and self._may_start:
            ours, theirs = socket.socketpair()
            with theirs:
                # Without site-packages it starts in 10 ms; in a session of its own no terminal interrupts it. It goes
                # on as a child of its own: a program that waits for all its children must not wait for this one.
                command = [sys.executable, "-I", "-S", finisher.__file__]
                null = subprocess.DEVNULL
                try:
                    subprocess.run(command, stdin=theirs.fileno(), stdout=null, stderr=null, start_new_session=True)
                    theirs.close()
                    ours.settimeout(PATIENCE)
                    self.process = COUNT.unpack(ours.recv(COUNT.size, socket.MSG_WAITALL))[0]
                    ours.settimeout(None)
                except (OSError, struct.error) as error:
                    ours.close()
                    self._give_up(str(error))
                    return None
            self._connection = ours
        return self._connection

    def _give_up(self, why: str) -> None:
        self._may_start = False
        _log.warning("a kill may tear databases, since the process that would prevent it cannot be started: %s", why)
