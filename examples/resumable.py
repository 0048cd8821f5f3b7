"""Work that is done once: what was made whole with the same settings stays as it is, also after a kill."""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpacml.disk.whole_files import whole_file

Say = Callable[[str], object]


def once(target: Path, settings: Mapping[str, Any], make: Callable[[], object], say: Say, fresh: bool = False) -> bool:
    """Have `make` write the file or folder `target`, unless it is there as it was made with the same settings.

    What it was made with is written beside it, when it is whole, to a file with `.made.json` at the end of its name.
    `fresh` makes it in any case. Returns whether it was made.
    """
    record = target.with_name(f"{target.name}.made.json")
    told = json.loads(json.dumps(settings, default=str))
    with _alone(target.with_name(f"{target.name}.lock"), say):
        before = _read(record)
        if not fresh and before and before == {"settings": told, "sha256": digest(target)}:
            say(f"{target}: done before with the same settings, and left as it is")
            return False
        if before:
            say(f"{target}: made anew{_why(before['settings'], told)}")
        record.unlink(missing_ok=True)
        make()
        write(record, json.dumps({"settings": told, "sha256": digest(target)}, indent=2))
    return True


@contextmanager
def _alone(lock: Path, say: Say) -> Iterator[None]:
    """Be the only process that makes something: another one that does is waited for."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{lock.with_suffix('')}: another process is at it, which is waited for")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(path: Path, content: str | bytes) -> None:
    """Write a file, which is there whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def digest(path: Path) -> str | None:
    """The SHA-256 of a file, or of all files in a folder with their names; None where there is nothing."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return None
    files = sorted(each for each in path.rglob("*") if each.is_file())
    told = [f"{each.relative_to(path)} {digest(each)}\n" for each in files]
    return hashlib.sha256("".join(told).encode()).hexdigest()


def _read(record: Path) -> dict[str, Any] | None:
    """What was told; None if nothing was, or not wholly."""
    try:
        told = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return told if isinstance(told, dict) and "settings" in told else None


def _why(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name the settings that are others than before."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return f", since {', '.join(changed)} changed" if changed else ""
