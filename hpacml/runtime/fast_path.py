"""What objects have that native code may call without Python (`hpacml.runtime.fastcall`), and when it may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from hpacml.runtime.fast_frame import FrameForm

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


@dataclass(frozen=True, slots=True)
class Packed:
    """An argument that is an array in C order."""

    dtype: np.dtype[Any]
    rank: int
    written: bool


@dataclass(frozen=True, slots=True)
class Known:
    """An argument that is an array of this type, with these sizes and strides, wherever its memory is."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    written: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class KnownTensor:
    """An argument that is a tensor of Torch with these sizes and strides, which is nothing but memory."""

    kind: int
    keys: int
    """What `torch_layout.kind_and_keys` gives."""
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    written: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class OfClass:
    """An argument of this class, at which native code does not look any further."""

    kind: type[Any]


@dataclass(frozen=True, slots=True)
class Pointers:
    """An argument that is the address of so many pointers, one for each of as many slots."""

    number: int


Rule: TypeAlias = tuple[tuple[int, int], tuple[int, int] | None, int]
"""An axis of an argument, and that of another which has the same size, or the size."""

Taken: TypeAlias = "Packed | Known | KnownTensor | OfClass | Pointers | type[Any] | int"
"""An array, a tensor, an object, pointers, a number of a type, or this very integer."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A tensor that is made for each call, and is its result. `make` returns it, and its address."""

    make: Callable[[], tuple[Any, int]]
    shape: tuple[int, ...]
    slot: int


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """What code takes, and what it returns: a number of type `returns`, a tensor that is `made` or `given`, or None."""

    arguments: int
    """How many arguments a call has."""
    takes: Sequence[tuple[Taken, int, int]]
    """What is taken of which argument, and into which slot of the code. Others may be anything."""
    rules: Sequence[Rule] = ()
    constants: Sequence[tuple[int, int]] = ()
    """Slots, and what they hold in each call."""
    returns: type[Any] | None = None
    made: Made | None = None
    apart: int | None = None
    """The place in `takes` of an array that must share no memory with the others, all of which are known."""
    given: int | None = None
    """The argument that is the result."""
    frame: FrameForm | None = None
    """What the frames of the calls have in common, for code that may ask for what a frame has."""


RETURNS: Mapping[type[Any], tuple[int, type[Any] | None]] = {
    float: (1, None),
    int: (2, None),
    bool: (3, None),
    np.float64: (1, np.float64),
    np.int64: (2, np.int64),
    np.bool_: (3, np.bool_),
    np.float32: (4, np.float32),
    np.int32: (5, np.int32),
}
"""How the table tells the types of results: a number, and a class that Python's number is converted to."""
