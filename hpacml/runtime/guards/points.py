"""The points of a call that guards reject: how many there are, why, and where."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from hpacml.abi.guard_records import PointsSite
from hpacml.errors import HpacmlError
from hpacml.runtime import frame
from hpacml.runtime.arrays.views import ArrayView, numpy_array, view_of_descriptor
from hpacml.runtime.reports import guarded

Array = np.ndarray[Any, np.dtype[Any]]


class Points:
    """Counts the rejected points of one call site."""

    def __init__(self, site: PointsSite) -> None:
        self._site = site

    def count(self, tensors: int, found: int) -> None:
        """Write the number of rejected points to the word at `found`, and their positions where the site wants them.

        `tensors` points to pointers to the descriptors of the mask, u8 over the sweep of the region, and of an array
        for the positions, i64 with an element for each point.
        """
        site = self._site
        addresses = (ctypes.c_size_t * (1 + site.positions)).from_address(tensors)
        mask = view_of_descriptor(addresses[0], site.mask.dtype, site.mask.rank)
        positions = view_of_descriptor(addresses[1], "i64", 1) if site.positions else None
        total, rejected = _on_device(mask, positions) if frame.is_on_device() else _on_host(mask, positions)
        ctypes.c_int64.from_address(found).value = sum(rejected.values())
        guarded.note_points(site.label, total, rejected)


def _on_host(mask: ArrayView, positions: ArrayView | None) -> tuple[int, dict[int, int]]:
    """The number of points, and how many are rejected for each set of reasons."""
    values = numpy_array(mask)
    if not np.count_nonzero(values):
        return values.size, {}
    flat = values.ravel()
    if positions is not None:
        where = np.flatnonzero(flat)
        _require_room(len(where), positions)
        numpy_array(positions)[: len(where)] = where
    return values.size, _numbers(np.bincount(flat).tolist())


def _on_device(mask: ArrayView, positions: ArrayView | None) -> tuple[int, dict[int, int]]:
    """Do as `_on_host` with memory of a device, which is waited for. Raises DeviceError where a call is captured."""
    import torch

    from hpacml.runtime.gpu import device_call

    call = device_call.current()
    call.leave_to_host("the decision of a guard")
    tensor = call.device.tensor(mask)
    if not int(torch.count_nonzero(tensor)):
        return tensor.numel(), {}
    flat = tensor.reshape(-1)
    if positions is not None:
        where = flat.nonzero().squeeze(1)
        _require_room(len(where), positions)
        call.device.tensor(positions)[: len(where)].copy_(where)
    bincount = cast("Callable[[torch.Tensor], Any]", torch.bincount)
    return tensor.numel(), _numbers(bincount(flat).tolist())


def _numbers(counts: list[int]) -> dict[int, int]:
    return {bits: count for bits, count in enumerate(counts) if bits and count}


def _require_room(count: int, positions: ArrayView) -> None:
    if count > positions.shape[0]:
        raise HpacmlError(
            f"{count} points are rejected, and the array for their positions has room for {positions.shape[0]}: "
            "give it an element for each point of the mask"
        )
