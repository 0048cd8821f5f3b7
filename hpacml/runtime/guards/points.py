"""The points of a call that guards reject: how many there are, why, and where."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from hpacml.abi.guard_records import PointsSite
from hpacml.abi.records import TensorType
from hpacml.errors import HpacmlError
from hpacml.runtime import frame
from hpacml.runtime.arrays.views import ArrayView, descriptor_bytes, numpy_array, view_of_descriptor
from hpacml.runtime.fastcall import contents
from hpacml.runtime.reports import guarded

Array = np.ndarray[Any, np.dtype[Any]]


KNOWN_MASKS = 64
"""How many masks a call site remembers: the calls of a loop have the same memory."""


class Points:
    """Counts the rejected points of one call site."""

    def __init__(self, site: PointsSite) -> None:
        self._site = site
        ranks = (site.mask.rank, 1) if site.positions else (site.mask.rank,)
        self._pointers = ctypes.c_size_t * len(ranks)
        self._memory = contents([descriptor_bytes(rank) for rank in ranks])
        self._known: dict[bytes, Array] = {}
        """The masks of earlier calls, by their descriptors."""

    def count(self, tensors: int, found: int) -> None:
        """Write the number of rejected points to the word at `found`, and their positions where the site wants them.

        `tensors` points to pointers to the descriptors of the mask, u8 over the sweep of the region, and of an array
        for the positions, i64 with an element for each point.
        """
        total, rejected = self._on_device(tensors) if frame.is_on_device() else self._on_host(tensors)
        ctypes.c_int64.from_address(found).value = sum(rejected.values())
        if not self._site.again:
            guarded.note_points(self._site.label, total, rejected)

    def _on_host(self, tensors: int) -> tuple[int, dict[int, int]]:
        """The number of points, and how many are rejected for each set of reasons."""
        key = self._memory(tensors)
        if (mask := self._known.get(key)) is None:
            if len(self._known) >= KNOWN_MASKS:
                self._known.clear()
            mask = self._known[key] = numpy_array(self._views(tensors)[0])
        bits = int(np.bitwise_or.reduce(mask, axis=None))
        if not bits:
            return mask.size, {}
        flat = mask.ravel()
        rejected = _by_reasons(flat, bits)
        if self._site.positions:
            where, positions = np.flatnonzero(flat), self._views(tensors)[1]
            _require_room(len(where), positions)
            numpy_array(positions)[: len(where)] = where
        return mask.size, rejected

    def _on_device(self, tensors: int) -> tuple[int, dict[int, int]]:
        """Do as `_on_host` with memory of a device, which is waited for. Raises DeviceError in a captured call."""
        import torch

        from hpacml.runtime.gpu import device_call

        call = device_call.current()
        call.leave_to_host("the decision of a guard")
        mask, *rest = self._views(tensors)
        tensor = call.device.tensor(mask)
        if not int(torch.count_nonzero(tensor)):
            return tensor.numel(), {}
        flat = tensor.reshape(-1)
        for positions in rest:
            where = flat.nonzero().squeeze(1)
            _require_room(len(where), positions)
            call.device.tensor(positions)[: len(where)].copy_(where)
        bincount = cast("Callable[[torch.Tensor], Any]", torch.bincount)
        counts: list[int] = bincount(flat).tolist()
        return tensor.numel(), {bits: count for bits, count in enumerate(counts) if bits and count}

    def _views(self, tensors: int) -> list[ArrayView]:
        """The mask, and the array for positions if there is one."""
        types = (self._site.mask, TensorType("i64", 1))
        addresses = self._pointers.from_address(tensors)
        return [
            view_of_descriptor(address, type.dtype, type.rank) for address, type in zip(addresses, types, strict=False)
        ]


def _by_reasons(flat: Array, bits: int) -> dict[int, int]:
    """How often each value stands in a mask that has these bits. Whole passes beat `bincount`, which converts."""
    if bits & (bits - 1) == 0:
        return {bits: int(np.count_nonzero(flat))}
    counts = {value: int(np.count_nonzero(flat == value)) for value in range(1, bits + 1) if value & ~bits == 0}
    return {value: count for value, count in counts.items() if count}


def _require_room(count: int, positions: ArrayView) -> None:
    if count > positions.shape[0]:
        raise HpacmlError(
            f"{count} points are rejected, and the array for their positions has room for {positions.shape[0]}: "
            "give it an element for each point of the mask"
        )
