"""What the handler of XLA's calls is told of a call: words of memory, and where addresses of buffers go in them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from enum import IntEnum
from itertools import chain

from hpacml.abi.symbols import VALUES
from hpacml.dtypes import SIZES
from hpacml.runtime.arrays.views import c_strides


class Kind(IntEnum):
    """What a relocation does, as in `xla_handler.ll`."""

    ADD_ADDRESS = 0
    POINT_INSIDE = 1
    TAKE = 2
    GIVE = 3
    WIDEN_INTEGER = 4
    WIDEN_FLOAT = 5


def kind_of_taking(dtype: str, wanted: str) -> Kind:
    """How a number of a buffer becomes one of an MLIR type."""
    widens = {("i32", "i64"): Kind.WIDEN_INTEGER, ("f32", "f64"): Kind.WIDEN_FLOAT}
    return widens.get((dtype, "i64" if wanted == "index" else wanted), Kind.TAKE)


class Template:
    """The words of a call: `arguments` of compiled code, its `results`, and what these point to.

    Buffers are numbered: those of the arguments, then those of the results.
    """

    def __init__(self, arguments: int, results: int = 0) -> None:
        self.arguments = arguments
        self._words = [0] * (arguments + results)
        self._relocations: list[tuple[int, int, int, int]] = []

    def put(self, slot: int, kind: str, value: float) -> None:
        """Put a constant number of an MLIR type into a slot."""
        packed = struct.pack("=" + VALUES[kind].slot, value)
        self._words[slot] = int.from_bytes(packed, "little", signed=True)

    def point(self, slot: int, address: int) -> None:
        """Put an address of this process into a slot."""
        self._words[slot] = address

    def array(
        self,
        slot: int,
        buffer: int,
        dtype: str,
        shape: Sequence[int],
        offset: int = 0,
        strides: Sequence[int] | None = None,
    ) -> None:
        """Put the address of the descriptor of a view of a buffer into a slot, packed if there are no strides."""
        start = len(self._words)
        strides = c_strides(tuple(shape)) if strides is None else strides
        first = offset * SIZES[dtype]
        self._words += [first, first, 0, *shape, *strides]
        self._relocations += [(start + k, Kind.ADD_ADDRESS, buffer, 0) for k in (0, 1)]
        self._relocations.append((slot, Kind.POINT_INSIDE, start, 0))

    def take(self, slot: int, buffer: int, dtype: str, wanted: str) -> None:
        """Put the number that a buffer has into a slot, as an MLIR type: the buffer's, or that of 64 bits."""
        self._relocations.append((slot, kind_of_taking(dtype, wanted), buffer, SIZES[dtype]))

    def give(self, slot: int, buffer: int, size: int, offset: int = 0) -> None:
        """Put so many bytes that are in a slot behind the call, from `offset` on, into a buffer."""
        self._relocations.append((8 * slot + offset, Kind.GIVE, buffer, size))

    def _pointer(self, buffer: int) -> int:
        """A new word that has the address of a buffer."""
        self._words.append(0)
        self._relocations.append((len(self._words) - 1, Kind.ADD_ADDRESS, buffer, 0))
        return len(self._words) - 1

    def record(self, digest: int, function: int | None, arguments: int, results: int) -> Record:
        """The record of a call of the code at an address, or of Python where that is None."""
        return Record(self._words, self._relocations, digest, function, arguments, results)


class Record:
    """A record as the handler reads it. Whoever gives its address away keeps it alive."""

    def __init__(
        self,
        words: Sequence[int],
        relocations: Sequence[tuple[int, int, int, int]],
        digest: int,
        function: int | None,
        arguments: int,
        results: int,
    ) -> None:
        self._words = (ctypes.c_int64 * max(1, len(words)))(*words)
        self._relocations = (ctypes.c_int64 * max(1, 4 * len(relocations)))(*chain.from_iterable(relocations))
        fields = (
            digest,
            function or 0,
            len(words),
            ctypes.addressof(self._words),
            0,
            ctypes.addressof(self._relocations),
            len(relocations),
            arguments,
            results,
            0,
        )
        self._fields = (ctypes.c_int64 * len(fields))(*fields)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._fields)

    def replace_by(self, other: Record | None) -> None:
        """Have the handler use another record of the same buffers from now on, or this one again."""
        self._fields[-1] = 0 if other is None else other.address
