"""The files in the folder of the cache: what they are, and which of them go when there are too many.

Other processes may read, write and remove them at the same time. What is removed while it is read stays whole for its
reader; what is gone is made anew. Files that the cache has not written are none of its entries.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterable
from typing import NamedTuple

_NAME = re.compile(r"(?:([a-z]+)-(?:(\w+)-)?)?[0-9a-f]{64}", re.ASCII)
_TEMPORARY = re.compile(r"\.new-\d+-[0-9a-f]{16}")

_ABANDONED = 3600.0
"""The seconds after which a file that is being written belongs to a process that has ended before."""

_PRECISE = 60.0
"""The seconds by which the note of an entry's last use may be late: most uses write nothing."""

_MOST_LETTERS = 40


class Entry(NamedTuple):
    """A file of the cache. Times are in seconds, as those of files."""

    name: str
    kind: str
    """What it holds; "" of files from before entries had kinds."""
    label: str
    """The function that it was made for, if it was made for one."""
    size: int
    made: float
    used: float


def name_of(kind: str, label: str, digest: str) -> str:
    """The name of an entry."""
    known = re.sub(r"\W", "", label, flags=re.ASCII)[:_MOST_LETTERS]
    return f"{kind}-{known}-{digest}" if known else f"{kind}-{digest}"


def entries(folder: int) -> list[Entry]:
    """The entries in an open directory, those first that have not been used for longest. Raises OSError."""
    found: list[Entry] = []
    with os.scandir(folder) as files:
        for file in files:
            if (parts := _NAME.fullmatch(file.name)) is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # it has just been removed
                status = file.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    used = max(status.st_atime, status.st_mtime)
                    found.append(
                        Entry(file.name, parts[1] or "", parts[2] or "", status.st_size, status.st_mtime, used)
                    )
    return sorted(found, key=lambda entry: entry.used)


def note_use(folder: int, name: str) -> None:
    """Note that an entry is used now, in the file's time of access; that of its content remains."""
    with contextlib.suppress(OSError):
        status, now = os.stat(name, dir_fd=folder, follow_symlinks=False), time.time_ns()
        if now - max(status.st_atime_ns, status.st_mtime_ns) > _PRECISE * 1e9:
            os.utime(name, ns=(now, status.st_mtime_ns), dir_fd=folder, follow_symlinks=False)


def remove(folder: int, those: Iterable[Entry]) -> int:
    """Remove entries, as far as that is possible; return how many that were."""
    count = 0
    for entry in those:
        with contextlib.suppress(OSError):
            os.unlink(entry.name, dir_fd=folder)
            count += 1
    return count


def shrink(folder: int, most: int) -> None:
    """Remove the entries that have not been used for longest until the others have at most `most` bytes."""
    remove_abandoned(folder)
    found = entries(folder)
    rest = sum(entry.size for entry in found)
    if rest <= most:
        return
    for entry in found:
        if rest <= most - most // 10:  # so that the next entry does not come to the limit again
            return
        rest -= entry.size
        remove(folder, [entry])


def remove_abandoned(folder: int) -> None:
    """Remove what processes have begun to write that ended before they were done."""
    before = time.time() - _ABANDONED
    with os.scandir(folder) as files:
        names = [file.name for file in files if _TEMPORARY.fullmatch(file.name)]
    for name in names:
        with contextlib.suppress(OSError):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < before:
                os.unlink(name, dir_fd=folder)
