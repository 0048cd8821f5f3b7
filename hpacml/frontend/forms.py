"""Calls of the same form as the one before: native code checks their arguments, and everything else is known."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

OPENINGS = 8
"""How often a text of targets gets a new form: sizes that change and change do not pay for forms."""

MOST = 1024
"""The number of forms that are kept."""


class Forms:
    """The last form of the calls with the same text and names, as a function that makes such a call.

    It takes the arguments as they come, and returns NotImplemented if they are not of the form.
    """

    def __init__(self) -> None:
        self.open: dict[Hashable, Callable[..., Any]] = {}
        self._seen: dict[Hashable, tuple[Hashable, int]] = {}

    def recurs(self, key: Hashable, form: Hashable) -> bool:
        """Note a call that no form fits, and tell whether its own form is to be opened."""
        known, openings = self._seen.get(key, (None, 0))
        if known != form:
            if len(self._seen) >= MOST:
                self._seen.clear()
                self.open.clear()
            self._seen[key] = form, openings
            return False
        self._seen[key] = None, openings + 1
        return openings < OPENINGS


def all_plain(values: Mapping[str, object]) -> bool:
    """Whether all values are arrays of NumPy and integers of Python."""
    return {type(value) for value in values.values()} <= {np.ndarray, int}
