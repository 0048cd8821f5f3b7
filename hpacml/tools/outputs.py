"""New files, which appear when they are complete, and replace none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from hpacml.disk.whole_files import whole_file
from hpacml.errors import DatabaseError


@contextlib.contextmanager
def new_file(path: Path) -> Generator[Path]:
    """Yield a path in the same folder to write to, which is renamed to `path` at the end. Raises DatabaseError."""
    try:
        _require_absent(path)
        with whole_file(path) as part:
            yield part
            _require_absent(path)
    except OSError as error:
        raise DatabaseError(f"cannot write '{path}': {error.strerror or error}: choose another place") from error


def _require_absent(path: Path) -> None:
    if not path.parent.is_dir():
        raise DatabaseError(f"cannot write '{path}': the directory '{path.parent}' does not exist; make it")
    if os.path.lexists(path):
        raise DatabaseError(f"'{path}' is there already and is not replaced: remove it, or name another file")
