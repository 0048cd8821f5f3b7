"""The digest of maps, by which models and databases tell whether they are for the same maps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def maps_sha256(maps: Sequence[str]) -> str:
    """SHA-256 of the texts of maps, joined by newlines, as hexadecimal digits."""
    return hashlib.sha256("\n".join(maps).encode()).hexdigest()
