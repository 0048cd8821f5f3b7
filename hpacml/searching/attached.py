"""Runs a script of Python in a process that ends when its search does, however that ended.

`python -m hpacml.searching.attached LOCK SCRIPT ARGUMENT...`: the search holds a lock on the file LOCK.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import signal
import sys
import threading


def _end_with(path: str) -> None:
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        for process in (int(each) for each in _children(os.getpid())):
            os.kill(process, signal.SIGKILL)
        os._exit(1)


def _children(process: int) -> list[str]:
    """The descendants of a process."""
    found: list[str] = []
    for thread in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{thread}/children") as file:
            found += file.read().split()
    return [*found, *(each for child in found for each in _children(int(child)))]


if __name__ == "__main__":
    lock, *sys.argv = sys.argv[1:]
    threading.Thread(target=_end_with, args=[lock], daemon=True).start()
    runpy.run_path(sys.argv[0], run_name="__main__")
