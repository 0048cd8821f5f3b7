"""Names of plans, as what they stand for."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from hpacml.errors import ConfigError, DatabaseError
from hpacml.runtime.databases.reader import Database, Region


def imported(place: str) -> Any:
    """What "package.module:name" stands for, looked for in the current folder, too. Raises ConfigError."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"'{place}' cannot be imported: {error}") from error


def region_of(database: Database, label: str | None) -> Region:
    """The region of a label, or the only one. Raises DatabaseError."""
    if label is not None:
        return database[label]
    if len(database.labels) != 1:
        labels = ", ".join(f"'{each}'" for each in database) or "none"
        raise DatabaseError(f"name the region: the database '{database.paths[0]}' has {labels}")
    return database[database.labels[0]]
