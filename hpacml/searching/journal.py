"""What a search has found out, on disk: one line of JSON for each record, which is there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from hpacml.errors import HpacmlError


class SearchError(HpacmlError):
    """A search that cannot go on: a full disk, workers that are gone, a folder of another search."""


class Journal:
    """The records of a search in the order in which they came.

    One process has it. Raises SearchError if another one does, and for what cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SearchError(f"cannot write '{path}': {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise SearchError(f"another process has '{path}': wait for it, or use another folder") from error
        self._read()

    def _read(self) -> None:
        content = b""
        while block := os.read(self._file, 1 << 20):
            content += block
        whole = content[: content.rfind(b"\n") + 1]  # a process that was killed may have left a part of a line
        try:
            self.records = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise SearchError(f"'{self.path}' is damaged: {error}; use another folder") from error
        os.ftruncate(self._file, len(whole))
        self._length = len(whole)

    def append(self, **record: Any) -> None:
        """Add a record, which is on disk when this returns. Raises SearchError, and then it is not there."""
        line = json.dumps(record).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._file, line[written:], self._length + written)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._length)
            raise SearchError(
                f"cannot write '{self.path}': {error.strerror}. What was found is there: make room, and start again"
            ) from error
        self._length += len(line)
        self.records.append(record)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)
