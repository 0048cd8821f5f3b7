"""The exit status of a program whose last calls could not be written: it is not 0.

Python passes over errors of what it calls at its end, after the status is known.
"""

from __future__ import annotations

import ctypes
import sys

_NAME = "_hpacml_exit_status"


class _AtTheVeryEnd:
    def __init__(self) -> None:
        self._exit = ctypes.PyDLL(None).exit  # it still calls what C libraries do at the end, such as flushing

    def __del__(self) -> None:
        self._exit(1)


def fail() -> None:
    """Have this process end with the status 1, once Python has done all else: it clears `sys` last."""
    if not hasattr(sys, _NAME):
        setattr(sys, _NAME, _AtTheVeryEnd())
