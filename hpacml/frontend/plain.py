"""The directives of a kernel that runs as plain Python: they do nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


def approx(directive: str) -> AbstractContextManager[None]:
    """A directive in a kernel: a statement, or `with approx("ml(...)"):` around the region it is about.

    Compiled code does what the directive says. In plain Python nothing happens, and the region's body runs.
    """
    return nullcontext()


def prange(*bounds: int) -> range:
    """`range` whose iterations do not depend on each other: compiled code may run them in any order."""
    return range(*bounds)
