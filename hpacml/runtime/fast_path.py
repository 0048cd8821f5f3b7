"""What objects have that native code may call without Python (`hpacml.runtime.fastcall`), and when it may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

FastPath: TypeAlias = tuple[object, ...]
"""The table that native code reads, and the owners of what it points to."""


class Callee:
    """An object that may have a fast path, on which its method `__call__` is not called."""

    __slots__ = ("fast_path",)

    fast_path: FastPath


ABSENT = object()


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What must hold for a call to take the fast path: objects in dictionaries, and the results of functions.

    They are compared by identity. `ABSENT` stands for an object that is not there.
    """

    entries: Sequence[tuple[Mapping[str, Any], str, object]] = ()
    answers: Sequence[tuple[Callable[[], object], object]] = ()

    def __add__(self, other: Conditions) -> Conditions:
        return Conditions((*self.entries, *other.entries), (*self.answers, *other.answers))
