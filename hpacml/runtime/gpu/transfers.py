"""Arrays of the host on a device: what a call touches of them goes there by way of pinned memory, and comes back."""

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
    """What tells an array in memory from others: address, shape and strides."""
    return view.address, view.shape, view.strides


def copy_to_host(device: Device, view: ArrayView) -> np.ndarray[Any, np.dtype[Any]]:
    """The elements of an array of a device, once what is on the current stream is done."""
    return np.flip(device.tensor(_forward(device, view)).cpu().numpy(), _backward(view))


def copy(device: Device, view: ArrayView) -> torch.Tensor:
    """A dense copy, on the device, of an array of it. Raises `DeviceError` if there is no memory."""
    found = device.tensor(_forward(device, view))
    if backward := _backward(view):
        found = found.flip(backward)
    return device.empty(view.shape, view.dtype).copy_(found)


def _forward(device: Device, view: ArrayView) -> ArrayView:
    """The same elements in the order of their addresses: Torch has no negative strides."""
    sizes = zip(view.shape, view.strides, strict=True)
    below = sum((size - 1) * stride for size, stride in sizes if stride < 0 < size)
    address = view.address + below * SIZES[view.dtype]
    return replace(view, address=address, strides=tuple(map(abs, view.strides)), device=device.index)


def _backward(view: ArrayView) -> tuple[int, ...]:
    """The dimensions whose order `_forward` has changed."""
    return tuple(d for d, stride in enumerate(view.strides) if stride < 0)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A box of an array of the host, the pinned memory of that size, and the memory of the device."""

    host: np.ndarray[Any, np.dtype[Any]]
    pinned: torch.Tensor
    memory: torch.Tensor
    view: ArrayView
    """The whole array, as far as it is there, as seen by the device."""

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
    """The arrays of one call on a device; `views` are those to run on."""

    def __init__(
        self, device: Device, views: Sequence[ArrayView], boxes: Sequence[Box] | None, written: frozenset[int]
    ):
        self._device = device
        self._written: list[_Copy] = []
        self.originals: dict[Place, ArrayView] = {}
        """The arrays of the host, by what the device sees of them."""
        self.views = list(views)
        groups = _equal(views)
        _require_apart([(views[numbers[0]], not written.isdisjoint(numbers)) for numbers in groups])
        for numbers in groups:
            view, is_written = views[numbers[0]], not written.isdisjoint(numbers)
            box = None if boxes is None else functools.reduce(union, (boxes[n] for n in numbers))
            copy = self._copy(view, box, is_written)
            others: list[_Copy] = []
            while place_of(copy.view) in self.originals:  # two parts, of arrays that would begin at one place
                others.append(copy)
                copy = _new_copy(self._device, view, box)
                copy.to_device()
            self.originals[place_of(copy.view)] = view
            for n in numbers:
                self.views[n] = copy.view
            if is_written:
                self._written.append(copy)

    def _copy(self, view: ArrayView, box: Box | None, written: bool) -> _Copy:
        kept = None if written else _promised.find(view)
        if kept is None:
            copy = _new_copy(self._device, view, box)
            copy.to_device()
            return copy
        key = self._device, self._device.stream  # another stream would not wait for the copy
        with _promised.lock:
            if key not in kept:
                copy = _new_copy(self._device, view, None)  # all of it: the next call may touch another part
                copy.to_device()
                kept[key] = copy
            return kept[key]

    def finish(self) -> None:
        """Have what was written in the arrays of the host; this waits for the device."""
        if not self._written:
            return
        for copy in self._written:
            copy.to_pinned()
        self._device.synchronize()
        for copy in self._written:
            copy.to_host()


def _require_apart(arrays: Sequence[tuple[ArrayView, bool]]) -> None:
    """Raise `MapError` where arrays of the host overlap of which one is written: copies would not."""
    for (one, is_written), (other, other_written) in combinations(arrays, 2):
        if (is_written or other_written) and overlap(one, other):
            raise MapError(
                f"arrays of the shapes {list(one.shape)} and {list(other.shape)} share memory, and one of them is "
                "written: on a GPU each would have a copy of its own; pass arrays that are there, or are apart"
            )


def _equal(views: Sequence[ArrayView]) -> list[list[int]]:
    """The numbers of the arrays of the host, those of one array together."""
    found: dict[tuple[Place, str], list[int]] = {}
    for n, view in enumerate(views):
        if view.device is None:
            found.setdefault((place_of(view), view.dtype), []).append(n)
    return list(found.values())


def _new_copy(device: Device, view: ArrayView, box: Box | None) -> _Copy:
    """Room for a box of an array (all of it if there is none). The device sees it as the array with other strides."""
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
    return _Copy(host, device.pinned(size), memory[:size], there)


class _Promised:
    """Arrays that are promised not to change, and their copies on devices, by device and stream."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[object, ...], dict[object, _Copy]] = {}
        self._counts: dict[tuple[object, ...], int] = {}
        self.lock = threading.Lock()

    @staticmethod
    def _key(view: ArrayView) -> tuple[object, ...]:
        return view.address, view.dtype, view.shape, view.strides

    def find(self, view: ArrayView) -> dict[object, _Copy] | None:
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
    Arrays that a call writes to are copied all the same, and so are views of the arrays, which are other arrays.
    Raises `MapError` for what is no array of the host.
    """
    views = [array_view(array, f"arrays[{n}]") for n, array in enumerate(arrays)]
    for view in views:
        _promised.add(view)
    try:
        yield
    finally:
        for view in views:
            _promised.remove(view)
