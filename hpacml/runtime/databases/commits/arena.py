"""Memory for calls that are not committed yet, which outlives its process: the one that finishes commits has it, too.

It is a file without a name, of which pieces are mapped. It begins with a table of the blocks, as `finisher` reads it;
the offsets of pieces are never used again, and the memory of those that are released goes back to the system.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
from typing import Any

import numpy as np

from hpacml.runtime.databases.commits.finisher import COUNT, SLOTS
from hpacml.runtime.databases.hdf5 import Array

_PRIVATE, _ANONYMOUS, _FIXED = mmap.MAP_PRIVATE, mmap.MAP_ANONYMOUS, 0x10
_FAILED = ctypes.c_void_p(-1).value
_PUNCH_HOLE, _KEEP_SIZE = 2, 1


class _Libc:
    """The functions of the C library that Python has no names for, or only with a descriptor for each mapping."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        size, offset = ctypes.c_size_t, ctypes.c_long
        self.mmap: Any = libc.mmap
        self.mmap.argtypes, self.mmap.restype = (size, size, *[ctypes.c_int] * 3, offset), ctypes.c_void_p
        self.munmap: Any = libc.munmap
        self.munmap.argtypes = size, size
        self.fallocate: Any = libc.fallocate
        self.fallocate.argtypes = ctypes.c_int, ctypes.c_int, offset, offset


class Piece:
    """Some memory, `array`, as bytes, and where it is in the arena: `offset`, 0 if other processes cannot have it.

    It lives as long as there are arrays of it.
    """

    def __init__(self, libc: _Libc, descriptor: int, offset: int, size: int) -> None:
        address = libc.mmap(0, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, offset)
        if address == _FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._libc, self._address, self._size = libc, address, size
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (address, False)}

    def __del__(self) -> None:
        if address := getattr(self, "_address", None):
            self._libc.munmap(address, self._size)

    def leave(self) -> None:
        """Have other memory in its place, which no other process has."""
        self._libc.mmap(
            self._address, self._size, mmap.PROT_READ | mmap.PROT_WRITE, _PRIVATE | _ANONYMOUS | _FIXED, -1, 0
        )


class Memory:
    """A part of an arena: `array` are its bytes, and `head` the first ones as numbers of 64 bits.

    `offset` is its place in the arena, 0 if it could not be had there: then it is lost with the process.
    """

    def __init__(self, array: Array, offset: int) -> None:
        self.array = array
        self.head = _numbers(array[:64])
        self.offset = offset
        self.slot: int | None = None


class Arena:
    """The memory of one process. Its methods can be called by any thread, and raise nothing."""

    def __init__(self) -> None:
        self.descriptor = -1
        """The file without a name, -1 if there is none."""
        self._lock = threading.RLock()
        self._end = 0
        self._free = list(range(SLOTS))
        self._pieces: dict[int, tuple[Piece, int]] = {}
        """Mapped pieces and their sizes, by their offsets."""
        self._table: Any = None
        self._libc: _Libc | None = None

    def open(self) -> int:
        """Return the descriptor of the file, which is made if there is none; -1 if the system has no such files."""
        with self._lock, contextlib.suppress(OSError):
            self._prepare()
        return self.descriptor

    def allocate(self, size: int) -> Memory:
        """Return zeroed memory."""
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        with self._lock:
            try:
                piece, offset = self._map(size)
                return Memory(np.asarray(piece), offset)
            except OSError:  # neither the system nor its limits need have that
                return Memory(np.zeros(size, np.uint8), 0)

    def keep(self, content: bytes) -> Memory:
        """Return memory with the size of a text, and then the text."""
        memory = self.allocate(COUNT.size + len(content))
        memory.head[0] = len(content)
        memory.array[COUNT.size : COUNT.size + len(content)] = np.frombuffer(content, np.uint8)
        return memory

    def enter(self, memory: Memory) -> None:
        """Enter memory in the table of blocks."""
        with self._lock:
            if memory.offset and self._free:
                memory.slot = self._free.pop()
                self._table[memory.slot] = memory.offset

    def release(self, memory: Memory) -> None:
        """Give memory back, which nobody else may see from now on."""
        with self._lock:
            if memory.slot is not None and self._table is not None:
                self._table[memory.slot] = 0
                self._free.append(memory.slot)
                memory.slot = None
            known = self._pieces.pop(memory.offset, None) if memory.offset else None
            if known is not None and self._libc is not None:
                self._libc.fallocate(self.descriptor, _PUNCH_HOLE | _KEEP_SIZE, memory.offset, known[1])

    def abandon(self) -> None:
        """Leave all memory to the process that this one was forked from, which may have changed it at any time."""
        for piece, _ in self._pieces.values():
            piece.leave()
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor, self._table, self._pieces, self._libc = -1, None, {}, None

    def _prepare(self) -> _Libc:
        if self._libc is None:
            self._libc = _Libc()
            self.descriptor = os.memfd_create("hpacml")
            self._table = _numbers(np.asarray(self._map(SLOTS * COUNT.size)[0]))
        return self._libc

    def _map(self, size: int) -> tuple[Piece, int]:
        libc = self._prepare()
        offset, self._end = self._end, self._end + size
        os.ftruncate(self.descriptor, self._end)
        piece = Piece(libc, self.descriptor, offset, size)
        self._pieces[offset] = piece, size
        return piece, offset


def _numbers(array: Array) -> memoryview[int]:
    view: Any = array.view(np.int64)
    return memoryview(view)
