"""Compiled code on disk, so that nothing is compiled twice. A cache that fails costs time, never a run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from hpacml import environment
from hpacml.version import version

_DIGEST_SIZE = hashlib.sha256().digest_size


def directory() -> Path | None:
    """`$HPACML_CACHE_DIR`, or `$XDG_CACHE_HOME/hpacml`, or `~/.cache/hpacml`; None if `HPACML_CACHE=0`."""
    if not environment.CACHE.is_on():
        return None
    if chosen := environment.CACHE_DIR.text():
        return Path(chosen)
    try:
        return platformdirs.user_cache_path("hpacml", appauthor=False)
    except RuntimeError:  # a user without a home
        return None


def key(*parts: str) -> str:
    """The name in the cache of what this version of hpacml makes from exactly these parts."""
    digest = hashlib.sha256()
    for part in (version(), *parts):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def fetch(name: str, make: Callable[[], bytes]) -> bytes:
    """Return what is stored under `name`; if there is nothing, store and return what `make` makes."""
    if (data := load(name)) is None:
        data = make()
        store(name, data)
    return data


def load(name: str) -> bytes | None:
    """Return what was stored under `name`, or None if it is missing or damaged."""
    if (folder := directory()) is None:
        return None
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    digest, data = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return data if hashlib.sha256(data).digest() == digest else None


def store(name: str, data: bytes) -> None:
    """Store `data` under `name` if that is possible; other processes see all of it or nothing."""
    if (folder := directory()) is None:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(temporary, folder / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
