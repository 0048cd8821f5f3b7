"""Folders with libhpacml of other versions of this package, which are kept as long as programs may need them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

KEPT = 32
"""The folders that are kept, those that were asked for last. One takes less than 100 KB, and programs that are linked
with one need it until they are built again."""

_ABANDONED = 24 * 3600
"""The seconds after which what is being made, or removed, is what a killed process has left."""

_UNFINISHED = ".new-"
"""How folders begin that are being made, or removed."""


def note_use(folder: Path) -> None:
    """Note that a folder has been asked for now."""
    with suppress(OSError):  # others may own it
        os.utime(folder)


def unfinished(base: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder in which another one is made, for as long as `with` lasts."""
    return tempfile.TemporaryDirectory(dir=base, prefix=_UNFINISHED, ignore_cleanup_errors=True)


def remove_old(base: Path) -> None:
    """Remove all but the `KEPT` folders that were asked for last, and what killed processes have left.

    Processes that run with one of these go on. Any number of processes may do this at once.
    """
    folders, left = _folders(base)
    for _, folder in sorted(folders, reverse=True)[KEPT:]:
        with suppress(OSError), unfinished(base) as hidden:
            folder.rename(Path(hidden) / "old")  # at once: nobody finds half of it
    for used, folder in left:
        if used < time.time() - _ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(base: Path) -> tuple[list[tuple[float, Path]], list[tuple[float, Path]]]:
    """The folders that are whole, and those that are not, with the times when they were asked for."""
    whole: list[tuple[float, Path]] = []
    others: list[tuple[float, Path]] = []
    with suppress(OSError):
        for folder in base.iterdir():
            with suppress(OSError):  # another process has removed it
                (others if folder.name.startswith(_UNFINISHED) else whole).append((folder.stat().st_mtime, folder))
    return whole, others
