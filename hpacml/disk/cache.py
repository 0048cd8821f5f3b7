"""Compiled code on disk, so that nothing is compiled twice. A cache that fails costs time, never a run.

What lies in it is run: neither a folder nor a file that another user owns, or may write, is used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TypeVar

import platformdirs

from hpacml import environment, private_files
from hpacml.disk.entries import Entry, name_of, note_use, remove_abandoned, shrink
from hpacml.disk.entries import entries as list_entries
from hpacml.disk.entries import remove as remove_entries
from hpacml.errors import HpacmlError, summary
from hpacml.private_files import NotPrivateError
from hpacml.version import version

Used = TypeVar("Used")

_log = logging.getLogger("hpacml")
_MOST = 1 << 28
"""The bytes of a file that is used: what something else has made larger is not read, which would take its time."""

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


def key(kind: str, *parts: str, label: str = "") -> str:
    """The name in the cache of what this version of hpacml makes from exactly these parts.

    For those who look at the folder, it begins with its kind, a word, and the function for which it was made first.
    """
    digest = hashlib.sha256()
    for part in (version(), kind, *parts):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return name_of(kind, label, digest.hexdigest())


def fetch(name: str, make: Callable[[], bytes], use: Callable[[bytes], Used]) -> Used:
    """Return what `use` makes of what is stored under `name`.

    Where there is nothing, or where `use` raises for it, what `make` makes is stored, and used.
    """
    if (found := find(name, use)) is not None:
        return found
    data = make()
    store(name, data)
    return use(data)


def find(name: str, use: Callable[[bytes], Used]) -> Used | None:
    """Return what `use` makes of what is stored under `name`; None where there is nothing, or where `use` raises."""
    if (data := load(name)) is not None:
        try:
            return use(data)
        except Exception as error:  # whatever is wrong with it, it is made anew
            _log.info("what the cache has under %s cannot be used, and is made anew: %s", name, summary(error))
    return None


def load(name: str) -> bytes | None:
    """Return what was stored under `name`, or None if it is missing, damaged, or may have been written by others."""
    with _folder() as folder:
        if folder is None:
            return None
        try:
            content = private_files.read(name, folder, private=True, most=_MOST)
            note_use(folder, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.info("the file %s of the cache is not used: %s", name, error.strerror)
            return None
    digest, data = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return data if _digest(name, data) == digest else None


def store(name: str, data: bytes) -> None:
    """Store `data` under `name` if that is possible; other processes see all of it or nothing."""
    if (path := directory()) is None:
        return
    with contextlib.suppress(OSError):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _folder() as folder, contextlib.suppress(OSError):
        if folder is not None:
            _replace(folder, name, _digest(name, data) + data)
            _stored(folder, len(data))


_since_last_look: list[int] = []
"""The bytes of the entries that this process has stored since it has looked at all; empty before the first look."""


def _stored(folder: int, size: int) -> None:
    """Keep the cache to its size. Looking at all entries takes its time, so that few stores do it."""
    try:
        most = environment.CACHE_SIZE.number()
    except HpacmlError as error:
        _warn_of_size(str(error))
        return
    known = bool(_since_last_look)
    _since_last_look.append(size)
    if not known or sum(_since_last_look) > most // 16:
        _since_last_look[:] = [0]
        shrink(folder, most)


@functools.cache
def _warn_of_size(reason: str) -> None:
    _log.warning("the cache of compiled code is not kept to its size: %s", reason)


def require_directory() -> Path:
    """The folder of the cache. Raises HpacmlError if it is turned off, or is none that may be used."""
    if (path := directory()) is None:
        raise HpacmlError(f"there is no cache: {environment.CACHE.name} turns it off, or the user has no home")
    try:
        with private_files.private_folder(path):
            pass
    except FileNotFoundError:
        pass  # the first code will make it
    except OSError as error:
        raise HpacmlError(f"{path} is not used as cache: {error.strerror}") from error
    return path


def entries() -> list[Entry]:
    """What is in the cache, those entries first that have not been used for longest; nothing without a folder."""
    with _folder() as folder:
        return [] if folder is None else list_entries(folder)


def remove(those: Iterable[Entry]) -> int:
    """Remove entries, as far as that is possible, and what is left of unfinished ones; return how many that were."""
    with _folder() as folder:
        if folder is None:
            return 0
        remove_abandoned(folder)
        return remove_entries(folder, those)


def _replace(folder: int, name: str, content: bytes) -> None:
    temporary = f".new-{os.getpid()}-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise


@contextlib.contextmanager
def _folder() -> Generator[int | None]:
    """Open the folder of the cache; None if there is none, or if others may write it, which the log tells once."""
    path = directory()
    with contextlib.ExitStack() as stack:
        folder = None
        try:
            if path is not None:
                folder = stack.enter_context(private_files.private_folder(path))
        except NotPrivateError as error:
            _warn(str(path), error.strerror)
        except OSError:
            pass  # it is not there, or is no folder
        yield folder


@functools.cache
def _warn(path: str, reason: str) -> None:
    """Log once why a folder is not used."""
    _log.warning("the cache of compiled code, %s, is not used, and all is compiled anew: %s", path, reason)


def _digest(name: str, data: bytes) -> bytes:
    """The checksum of `data` under `name`: a file that was given another's name is damaged."""
    return hashlib.sha256(name.encode() + b"\0" + data).digest()
