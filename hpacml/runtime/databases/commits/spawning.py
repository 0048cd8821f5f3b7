"""Starting a process that inherits nothing: no descriptors, and with them no locks of files.

A child has copies of all descriptors from its making until it runs its own program. In these milliseconds a file that
the application closes stays open, and locked: if the application opens it again, as programs do with HDF5 files, it is
refused. So the child is made by a thread that has left the descriptors of its process before.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import subprocess
from collections.abc import Sequence

from hpacml.environment import inherited

_CLOSE_RANGE = 436
"""The number of the system call, which is the same on all processors."""
_UNSHARE = 2


def spawn(command: Sequence[str]) -> None:
    """Run a command, whose standard streams are /dev/null, and return when it has ended. Raises OSError."""
    spawned: list[bool] = []
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            spawned.append(_leave_descriptors() and _run(command))
        except OSError:
            pass
        finally:
            ended.release()

    with contextlib.suppress(RuntimeError):  # the interpreter ends, or the system has no more threads
        # Not one of `threading`: its hooks, such as those of debuggers, may need descriptors.
        _thread.start_new_thread(run, ())
        ended.acquire()
    if not any(spawned):
        # An older system: what the child inherits is closed, but not from the beginning.
        null = subprocess.DEVNULL
        subprocess.run(command, stdin=null, stdout=null, stderr=null)


def _leave_descriptors() -> bool:
    """Give this thread descriptors of its own: /dev/null, thrice. False if the system cannot do that."""
    call = ctypes.CDLL(None).syscall
    if call(ctypes.c_long(_CLOSE_RANGE), ctypes.c_uint(0), ctypes.c_uint(0xFFFFFFFF), ctypes.c_int(_UNSHARE)):
        return False
    for _ in range(3):
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    return True


def _run(command: Sequence[str]) -> bool:
    process = os.posix_spawn(command[0], list(command), inherited())
    with contextlib.suppress(ChildProcessError):  # the program waits for all of its children
        os.waitpid(process, 0)
    return True
