"""Checks that cost time, which the environment variable HPACML_CHECK turns on."""

from __future__ import annotations

import functools

from hpacml import environment

CHECKS = {
    "bounds": "that indices of arrays in kernels lie inside, where that is read at the first call",
    "finite": "that what a model gives is finite",
    "sync": "that indices on a GPU lie inside, before anything is written",
}
"""All checks, with what each verifies. HPACML_CHECK separates several by commas."""


def chosen() -> frozenset[str]:
    """The checks that are on. Raises HpacmlError for an unknown check."""
    text = environment.CHECK.text()
    return _read(text) if text else frozenset()


@functools.lru_cache(8)
def _read(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",")) - {""}
    if unknown := names - CHECKS.keys():
        wrong, known = ", ".join(sorted(unknown)), ", ".join(f"'{name}'" for name in CHECKS)
        raise environment.CHECK.wrong(text, f"{wrong} is no check; these are {known}")
    return names
