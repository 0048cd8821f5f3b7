"""Writing to several places of a file, to all of them or none, even if this process is killed meanwhile.

Another process receives all that is to be written first, as one frame, and finishes it if this one cannot. It has the
memory with the calls that are not committed, too, and writes these if this process is killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from hpacml.runtime.databases.commits import finisher
from hpacml.runtime.databases.commits.arena import Arena
from hpacml.runtime.databases.commits.finisher import COUNT, DONE, DROP, KEEP, MEMORY, PAGE, WRITE, write_all
from hpacml.runtime.databases.commits.spawning import kill, spawn

_log = logging.getLogger("hpacml")

PATIENCE = 5.0
"""Seconds in which the process has to start, and to answer. One that does not, as it is stopped, is killed."""

_PEER = struct.Struct("3i")


class Change(NamedTuple):
    """New content at an offset of a file, in place of old content of the same size."""

    offset: int
    old: bytearray
    new: bytearray


class Committer:
    """The process that finishes commits, which starts when it is needed. One thread at a time may use it.

    With a `connection` it is one that runs already, which serves this process alone.
    """

    def __init__(self, arena: Arena | None = None, connection: socket.socket | None = None) -> None:
        self._arena = arena
        self._connection = connection
        self.process: int | None = None
        """The process's number, None if it has not started."""
        self._may_start = bool(sys.executable) and connection is None
        self._descriptors: dict[int, int] = {}
        """The databases that the process keeps, by their numbers."""
        self._last = 0
        self._answers = 0
        """The number of answers that the process owes."""

    def keep(self, descriptor: int) -> int:
        """Have the process keep a database, for as long as it is open here. Returns the number it has there."""
        self._last += 1
        self._descriptors[self._last] = descriptor
        if self._connection is None:
            self._start()
        else:
            self._hand_over(self._connection, KEEP, self._last, descriptor)
        return self._last

    def drop(self, number: int) -> None:
        """Have the process close a database."""
        if self._descriptors.pop(number, None) is not None and self._connection is not None:
            self._hand_over(self._connection, DROP, number)

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
        self._answers = 0

    def _tell(self, descriptor: int, changes: Sequence[Change]) -> socket.socket | None:
        """Send a frame. Once this returns, the system has all of it, and delivers it even if this process dies."""
        for _ in range(2):
            if (connection := self._start()) is None:
                return None
            try:
                while self._answers:
                    if not connection.recv(len(DONE)):
                        raise ConnectionResetError
                    self._answers -= 1
                # Opened anew: it is not to share the lock on the file, which `keep` does.
                other = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
                try:
                    socket.send_fds(connection, [COUNT.pack(len(changes))], [other])
                finally:
                    os.close(other)
                connection.sendall(b"".join(WRITE.pack(change.offset, len(change.new)) for change in changes))
                for content in (*(change.old for change in changes), *(change.new for change in changes)):
                    connection.sendall(content)
                return connection
            except OSError as error:
                self._lose(error)
        self._give_up("it does not answer")
        return None

    def _done(self, connection: socket.socket | None) -> None:
        if connection is not None:
            try:
                connection.sendall(DONE)
                self._answers += 1
            except OSError as error:
                self._lose(error)

    def _hand_over(self, connection: socket.socket, what: int, number: int, *descriptors: int) -> None:
        try:
            if descriptors:
                socket.send_fds(connection, [COUNT.pack(what)], descriptors)
            else:
                connection.sendall(COUNT.pack(what))
            connection.sendall(COUNT.pack(number))
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Go on without the process, which somebody has killed, or has stopped: then kill it."""
        if isinstance(error, TimeoutError) and self.process is not None:
            _log.warning("the process %s that finishes commits does not answer, and is killed", self.process)
            with contextlib.suppress(OSError):
                os.kill(self.process, signal.SIGKILL)
        self.close()

    def _start(self) -> socket.socket | None:
        if self._connection is None and self._may_start:
            try:
                self._connection, self.process = connection, _ = _started()
            except (OSError, struct.error) as error:
                self._give_up(str(error))
                return None
            if self._arena is not None and (memory := self._arena.open()) >= 0:
                self._hand_over(connection, MEMORY, 0, memory)
            for number, descriptor in self._descriptors.items():
                self._hand_over(connection, KEEP, number, descriptor)
        return self._connection

    def _give_up(self, why: str) -> None:
        self._may_start = False
        _log.warning("a kill may tear databases, since the process that would prevent it cannot be started: %s", why)


def _without_own_folder(path: Sequence[str]) -> list[str]:
    """Leave out the folder of the application's script, where files may have names that Python's modules look for.

    The application has loaded these modules before; the program that writes its calls when it is dead has not. It may
    need the folder only for packages that lie there.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    own = os.path.dirname(os.path.abspath(script)) if script else os.getcwd()
    folders = [os.path.abspath(folder) for folder in path]
    if folders[:1] != [own]:
        return folders
    has_packages = any(os.path.exists(os.path.join(own, name)) for name in ("hpacml", "h5py", "numpy"))
    return [*folders[1:], own] if has_packages else folders[1:]


def _started() -> tuple[socket.socket, int]:
    """Start the process, and return the connection to it, and its number. Raises OSError and struct.error."""
    name = f"hpacml-{secrets.token_hex(16)}"
    path = _without_own_folder(sys.path)
    path.append(finisher.__file__.removesuffix("/hpacml/runtime/databases/commits/finisher.py"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        try:
            # Without site-packages it starts in 10 ms.
            spawn([sys.executable, "-I", "-S", finisher.__file__, name, json.dumps(path)], PATIENCE)
            return _accepted(server)
        except TimeoutError:
            kill(name)
            raise


def _accepted(server: socket.socket) -> tuple[socket.socket, int]:
    """Return the first connection of a process of this user, and the number that it sends."""
    end = time.monotonic() + PATIENCE
    while True:
        server.settimeout(max(0.001, end - time.monotonic()))
        connection, _ = server.accept()
        try:
            connection.settimeout(PATIENCE)
            _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            if user == os.geteuid():
                process = COUNT.unpack(connection.recv(COUNT.size, socket.MSG_WAITALL))[0]
                return connection, process
        except (OSError, struct.error):
            connection.close()
            raise
        connection.close()
