"""The version of the installed package, and what else decides which code it makes."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import time
from collections.abc import Iterator

IMPORTED = time.time_ns()
"""When this process has imported hpacml, all of whose files come later: in nanoseconds, as the times of files."""

_PACKAGE = os.path.dirname(__file__)
_KINDS = (".py", ".lark", ".ll")


@functools.cache
def version() -> str:
    """Return the version, such as `0.1.0`, or `source` where hpacml runs from a source tree without an installation."""
    return _installed("hpacml") or "source"


@functools.cache
def made_by() -> str | None:
    """All that decides what hpacml makes of a program: its own files, by their content, and what it computes with.

    None where hpacml does not lie in files, and where they have changed since this process began to import them.
    """
    if is_changed():
        return None
    digest = hashlib.sha256()
    for part in (sys.version, *map(_installed, ("xdsl", "numpy"))):
        digest.update(f"{part}\0".encode())
    files = sorted(entry.path for entry in _files(_PACKAGE))
    for path in files:
        with open(path, "rb", buffering=0) as file:  # hundreds of files: a buffer for each takes a fifth of the time
            content = file.read()
        digest.update(f"{path.removeprefix(_PACKAGE)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest() if files else None


def is_changed() -> bool:
    """Whether a file has changed since this process imported hpacml, which may run what was there before, or both."""
    return any(entry.stat().st_mtime_ns >= IMPORTED for entry in _files(_PACKAGE))


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.name.endswith(_KINDS):
                yield entry


def _installed(package: str) -> str:
    """The version of a package, "" if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
