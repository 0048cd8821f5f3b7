"""Memory of large tensors, which is reused once nothing refers to it: new memory costs a page fault per page."""

from __future__ import annotations

import weakref
from collections import deque
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from hpacml.dtypes import SIZES, torch_dtypes
from hpacml.errors import MapError
from hpacml.locks import Order, lock

if TYPE_CHECKING:
    import torch

SMALL = 1 << 20
"""The most bytes for which the allocator of the C library reuses memory itself."""

KEPT = 256 << 20
"""The most bytes that are kept for reuse, besides the two blocks given back last."""

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Buffers:
    """A pool of memory that was given back."""

    def __init__(self) -> None:
        self._given: deque[_Bytes] = deque(maxlen=2)
        self._free: list[_Bytes] = []  # least recently used first
        self._lock = lock(Order.COUNTING)

    def take(self, size: int) -> _Bytes:
        """Return `size` bytes. New ones come from NumPy, whose huge pages make them several times cheaper."""
        with self._lock:
            while self._given:
                self._free.append(self._given.popleft())
            found = next((n for n, memory in enumerate(self._free) if memory.nbytes == size), None)
            memory = None if found is None else self._free.pop(found)
            while sum(kept.nbytes for kept in self._free) > KEPT:
                self._free.pop(0)
        return np.empty(size, np.uint8) if memory is None else memory

    def give(self, memory: _Bytes) -> None:
        """Keep memory to which nothing refers any more. Finalizers call this at any time, so it takes no lock."""
        if memory.nbytes <= KEPT:
            self._given.append(memory)


_buffers = Buffers()


def empty(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """Return an unfilled tensor of the host; `dtype` is a name in `hpacml.dtypes`. Raises `MapError` without memory."""
    import torch

    kind = torch_dtypes()[dtype]
    size = prod(shape) * SIZES[dtype]
    try:
        if size <= SMALL:
            return torch.empty(shape, dtype=kind, device="cpu")
        memory = _buffers.take(size)
    except (MemoryError, ValueError, TypeError, RuntimeError):  # NumPy and Torch raise all of them for absurd sizes
        raise MapError(f"there is no memory for a tensor of shape {list(shape)}, {size} bytes") from None
    owned = memory[:]  # the tensor keeps this view alive, not `memory`
    weakref.finalize(owned, _buffers.give, memory).atexit = False
    return torch.from_numpy(owned).view(kind).view(shape)  # pyright: ignore[reportUnknownMemberType]
