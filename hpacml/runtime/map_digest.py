"""Digests of maps: of their texts, by which databases are checked, and of their meaning, by which a model fits them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def texts_sha256(maps: Sequence[str]) -> str:
    """SHA-256 of the texts of maps, joined by newlines, as hexadecimal digits."""
    return _sha256("\n".join(maps))


def meaning_sha256(maps: Sequence[str]) -> str:
    """SHA-256 of what maps mean, whatever the names in them, as hexadecimal digits."""
    from hpacml.directives.meaning import canonical

    return _sha256(canonical(maps))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
