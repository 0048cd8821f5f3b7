"""Starting a process that inherits nothing: no descriptors, and with them no locks of files.

A child has copies of all descriptors from its making until it runs its own program. In these milliseconds a file that
the application closes stays open, and locked: if the application opens it again, as programs do with HDF5 files, it is
refused. So the child is made by a thread that has left the descriptors of its process before.

Somebody may stop the child at any time, even before it runs its program: then the system stops the thread that makes
it, too, whatever that waits for. So it is another thread that waits, without the interpreter's lock.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hpacml.environment import inherited

_CLOSE_RANGE = 436
"""The number of the system call, which is the same on all processors."""
_UNSHARE = 2


def spawn(command: Sequence[str], patience: float) -> None:
    """Run a command, whose standard streams are /dev/null, and return when it has ended. Raises OSError.

    One that has not ended after `patience` seconds is killed, which is a TimeoutError.
    """
    spawned: list[bool] = []
    threads: list[int] = []
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            threads.append(_thread.get_native_id())
            spawned.append(_leave_descriptors() and _run(command))
        except OSError:
            pass
        finally:
            ended.release()

    with contextlib.suppress(RuntimeError):  # the interpreter ends, or the system has no more threads
        # Not one of `threading`: its hooks, such as those of debuggers, may need descriptors.
        _thread.start_new_thread(run, ())
        if not ended.acquire(timeout=patience):
            _kill_children(threads)
            raise _late(patience)
    if not any(spawned):
        # An older system: what the child inherits is closed, but not from the beginning.
        null = subprocess.DEVNULL
        try:
            subprocess.run(command, stdin=null, stdout=null, stderr=null, timeout=patience)
        except subprocess.TimeoutExpired:
            raise _late(patience) from None


def kill(argument: str) -> None:
    """Kill all processes that were started with an argument, which nobody else may have. Raises nothing."""
    for process in _numbers(os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.fsencode(argument) in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"):
                os.kill(process, signal.SIGKILL)


def _late(patience: float) -> TimeoutError:
    return TimeoutError(f"it is not there after {patience:g} s, perhaps since somebody has stopped it")


def _leave_descriptors() -> bool:
    """Give this thread descriptors of its own: /dev/null, thrice. False if the system cannot do that."""
    call = ctypes.CDLL(None).syscall
    if call(ctypes.c_long(_CLOSE_RANGE), ctypes.c_uint(0), ctypes.c_uint(0xFFFFFFFF), ctypes.c_int(_UNSHARE)):
        return False
    for _ in range(3):
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    return True


def _run(command: Sequence[str]) -> bool:
    process = ctypes.c_int()
    variables = _strings(f"{name}={text}" for name, text in inherited().items())
    # Not that of `os`, which keeps the interpreter's lock until the child runs its program.
    error = ctypes.CDLL(None).posix_spawn(
        ctypes.byref(process), os.fsencode(command[0]), None, None, _strings(command), variables
    )
    if error:
        raise OSError(error, os.strerror(error))
    with contextlib.suppress(ChildProcessError):  # the program waits for all of its children
        os.waitpid(process.value, 0)
    return True


def _strings(texts: Iterable[str]) -> Any:
    """Texts as C has them, with a null pointer at their end."""
    strings = [*map(os.fsencode, texts), None]
    return (ctypes.c_char_p * len(strings))(*strings)


def _kill_children(threads: Iterable[int]) -> None:
    """Kill the children of threads of this process, which a process that has not run its program yet is by name."""
    for thread in threads:
        with contextlib.suppress(OSError):  # a system that does not tell them
            for child in _numbers(Path(f"/proc/self/task/{thread}/children").read_text().split()):
                os.kill(child, signal.SIGKILL)


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(name) for name in names if name.isdigit()]
