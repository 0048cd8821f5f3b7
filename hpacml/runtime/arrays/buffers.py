"""Memory of large tensors, used again once nothing refers to it: new memory costs a fault for each page."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from hpacml.dtypes import SIZES, torch_dtypes
from hpacml.errors import MapError

if TYPE_CHECKING:
    import torch

SMALL = 1 << 20
"""Bytes up to which the allocator of the C library reuses memory itself."""

KEPT = 256 << 20
"""Bytes that are kept for reuse, beside the two blocks given back last."""

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Buffers:
    """Memory that was given back, by its size."""

    def __init__(self) -> None:
        self._given: deque[_Bytes] = deque(maxlen=2)
        self._free: list[_Bytes] = []  # least recently used first
        self._lock = threading.Lock()

    def take(self, size: int) -> _Bytes:
        """`size` bytes. NumPy asks for huge pages, which make new memory several times cheaper."""
        with self._lock:
            while self._given:
                self._free.append(self._given.popleft())
            found = next((n for n, memory in enumerate(self._free) if memory.nbytes == size), None)
            memory = None if found is None else self._free.pop(found)
            while sum(kept.nbytes for kept in self._free) > KEPT:
                self._free.pop(0)
        return np.empty(size, np.uint8) if memory is None else memory

    def give(self, memory: _Bytes) -> None:
        """Keep memory that nothing refers to any more. May be called at any time, so it takes no lock."""
        if memory.nbytes <= KEPT:
            self._given.append(memory)


_buffers = Buffers()


def empty(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """A tensor that is not filled; `dtype` is a name in `hpacml.dtypes`. Raises `MapError` if there is no memory."""
    import torch

    kind = torch_dtypes()[dtype]
    size = prod(shape) * SIZES[dtype]
    try:
        if size <= SMALL:
            return torch.empty(shape, dtype=kind, device="cpu")
        memory = _buffers.take(size)
    except (MemoryError, ValueError, TypeError, RuntimeError):  # NumPy and Torch have them all for sizes beyond reason
        raise MapError(f"there is no memory for a tensor of shape {list(shape)}, {size} bytes") from None
    owned = memory[:]  # the tensor keeps this object, and not the memory itself, alive
    weakref.finalize(owned, _buffers.give, memory).atexit = False
    return torch.from_numpy(owned).view(kind).view(shape)  # pyright: ignore[reportUnknownMemberType]
