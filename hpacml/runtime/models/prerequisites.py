"""What must be there before Torch reads a model: the operators that it may contain."""

from __future__ import annotations

from collections.abc import Callable

_definitions: dict[Callable[[], None], None] = {}


def add(define: Callable[[], None]) -> None:
    """Have a function called before each model is read."""
    _definitions[define] = None


def meet() -> None:
    """Call all of them."""
    for define in list(_definitions):
        define()
