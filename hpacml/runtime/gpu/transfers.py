"""Arrays of the host on a device: the parts that a call touches are copied there and back through pinned memory."""

from __future__ import annotations

import functools
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hpacml.dtypes import SIZES
from hpacml.errors import MapError
from hpacml.functors.boxes import union
from hpacml.runtime.arrays.overlap import overlap
from hpacml.runtime.arrays.protocols import array_view
from hpacml.runtime.arrays.views import ArrayView, c_strides, numpy_array

if TYPE_CHECKING:
    import torch

    from hpacml.functors.boxes import Box
    from hpacml.runtime.gpu.devices import Device


Place: TypeAlias = "tuple[int, tuple[int, ...], tuple[int, ...]]"


def place_of(view: ArrayView) -> Place:
    """What identifies an array in memory: address, shape and strides."""
    return view.address, view.shape, view.strides


def copy_to_host(device: Device, view: ArrayView) -> np.ndarray[Any, np.dtype[Any]]:
    """Copy an array of a device to the host, after all work on the current stream."""
    return np.flip(device.tensor(_forward(device, view)).cpu().numpy(), _backward(view))


def copy(device: Device, view: ArrayView) -> torch.Tensor:
    """Make a dense copy of an array of a device on that device. Raises `DeviceError` if there is no memory."""
    found = device.tensor(_forward(device, view))
    if backward := _backward(view):
        found = found.flip(backward)
    return device.empty(view.shape, view.dtype).copy_(found)


def _forward(device: Device, view: ArrayView) -> ArrayView:
    """The elements in the order of their addresses: Torch has no negative strides."""
    sizes = zip(view.shape, view.strides, strict=True)
    below = sum((size - 1) * stride for size, stride in sizes if stride < 0 < size)
    address = view.address + below * SIZES[view.dtype]
    return replace(view, address=address, strides=tuple(map(abs, view.strides)), device=device.index)


def _backward(view: ArrayView) -> tuple[int, ...]:
    """The dimensions whose order `_forward` reverses."""
    return tuple(d for d, stride in enumerate(view.strides) if stride < 0)


@dataclass(frozen=True, slots=True)
class _Transfer:
    """A box of an array of the host, with pinned memory and memory of a device for its elements."""

    host: np.ndarray[Any, np.dtype[Any]]
    pinned: torch.Tensor
    memory: torch.Tensor
    view: ArrayView
    """The array as the device sees it, where only the box has memory."""

    def to_device(self) -> None:
        self._staged()[...] = self.host
        self.memory.copy_(self.pinned, non_blocking=True)

    def to_pinned(self) -> None:
        self.pinned.copy_(self.memory, non_blocking=True)

    def to_host(self) -> None:
        self.host[...] = self._staged()

    def _staged(self) -> np.ndarray[Any, np.dtype[Any]]:
        return self.pinned.numpy().view(self.host.dtype).reshape(self.host.shape)


class Transfers:
    """The transfers of the arrays of one call on a device; the call runs on `views`."""

    def __init__(
        self, device: Device, views: Sequence[ArrayView], boxes: Sequence[Box] | None, written: frozenset[int]
    ):
        self._device = device
        self._written: list[_Transfer] = []
        self.originals: dict[Place, ArrayView] = {}
        """The arrays of the host, by the places of their copies."""
        self.views = list(views)
        groups = _equal(views)
        _require_apart([(views[numbers[0]], not written.isdisjoint(numbers)) for numbers in groups])
        for numbers in groups:
            view, is_written = views[numbers[0]], not written.isdisjoint(numbers)
            box = None if boxes is None else functools.reduce(union, (boxes[n] for n in numbers))
            transfer = self._transfer(view, box, is_written)
            others: list[_Transfer] = []
            while place_of(transfer.view) in self.originals:  # two parts, of arrays that would begin at one place
                others.append(transfer)
                transfer = _new_transfer(self._device, view, box)
                transfer.to_device()
            self.originals[place_of(transfer.view)] = view
            for n in numbers:
                self.views[n] = transfer.view
            if is_written:
                self._written.append(transfer)

    def _transfer(self, view: ArrayView, box: Box | None, written: bool) -> _Transfer:
        kept = None if written else _promised.find(view)
        if kept is None:
            transfer = _new_transfer(self._device, view, box)
            transfer.to_device()
            return transfer
        key = self._device, self._device.stream  # another stream would not wait for the transfer
        with _promised.lock:
            if key not in kept:
                transfer = _new_transfer(self._device, view, None)  # all of it: the next call may touch another part
                transfer.to_device()
                kept[key] = transfer
            return kept[key]

    def finish(self) -> None:
        """Wait for the device, and copy written arrays back to the host."""
        if not self._written:
            return
        for transfer in self._written:
            transfer.to_pinned()
        self._device.synchronize()
        for transfer in self._written:
            transfer.to_host()


def _require_apart(arrays: Sequence[tuple[ArrayView, bool]]) -> None:
    """Raise `MapError` where arrays of the host overlap and one is written: their copies would not overlap."""
    for (one, is_written), (other, other_written) in combinations(arrays, 2):
        if (is_written or other_written) and overlap(one, other):
            raise MapError(
                f"arrays of the shapes {list(one.shape)} and {list(other.shape)} share memory, and one of them is "
                "written: on a GPU each would have a copy of its own; pass arrays that are there, or are apart"
            )


def _equal(views: Sequence[ArrayView]) -> list[list[int]]:
    """The numbers of the arrays of the host, grouped by array."""
    found: dict[tuple[Place, str], list[int]] = {}
    for n, view in enumerate(views):
        if view.device is None:
            found.setdefault((place_of(view), view.dtype), []).append(n)
    return list(found.values())


def _new_transfer(device: Device, view: ArrayView, box: Box | None) -> _Transfer:
    """Make room for a box of an array, by default all of it. The device sees an array with the strides of the box."""
    box = tuple((0, size) for size in view.shape) if box is None else box
    sizes = tuple(max(0, high - low) for low, high in box)
    array = numpy_array(view)
    host = array[tuple(slice(low, low + size) for (low, _), size in zip(box, sizes, strict=True))]
    width = SIZES[view.dtype]
    memory = device.empty((max(1, host.size * width),), "u8")
    strides = c_strides(sizes)
    offset = sum(low * stride for (low, _), stride in zip(box, strides, strict=True))
    address = memory.data_ptr() - offset * width
    there = ArrayView(address, view.dtype, view.shape, strides, False, memory, device.index)
    size = host.size * width
    return _Transfer(host, device.pinned(size), memory[:size], there)


class _Promised:
    """The arrays that are promised not to change, and their copies by device and stream."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[object, ...], dict[object, _Transfer]] = {}
        self._counts: dict[tuple[object, ...], int] = {}
        self.lock = threading.Lock()

    @staticmethod
    def _key(view: ArrayView) -> tuple[object, ...]:
        return view.address, view.dtype, view.shape, view.strides

    def find(self, view: ArrayView) -> dict[object, _Transfer] | None:
        return self._arrays.get(self._key(view)) if self._arrays else None

    def add(self, view: ArrayView) -> None:
        with self.lock:
            key = self._key(view)
            self._counts[key] = self._counts.get(key, 0) + 1
            self._arrays.setdefault(key, {})

    def remove(self, view: ArrayView) -> None:
        with self.lock:
            key = self._key(view)
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key], self._arrays[key]


_promised = _Promised()


@contextmanager
def unchanged(*arrays: object) -> Generator[None]:
    """Promise that host arrays do not change inside: calls with the target "gpu" copy all of each to a device once.

    ```python
    with hpacml.unchanged(coordinates, connectivity):
        for step in range(steps):
            solve(coordinates, connectivity, state)
    ```
    Arrays that a call writes are still copied in each call, and so are views of the arrays, which are other arrays.
    Raises `MapError` for an object that is not an array of the host.
    """
    views = [array_view(array, f"arrays[{n}]") for n, array in enumerate(arrays)]
    for view in views:
        _promised.add(view)
    try:
        yield
    finally:
        for view in views:
            _promised.remove(view)
