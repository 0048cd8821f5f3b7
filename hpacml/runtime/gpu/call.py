"""One call of compiled code on a device: what the host part asks for on the way."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Protocol

from hpacml.errors import DeviceError
from hpacml.runtime import frame
from hpacml.runtime.gpu import kernels

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.gpu.device import Device, Event


class Use(Protocol):
    """A model that a call ran."""

    @property
    def label(self) -> str:
        """Of the region."""
        ...

    def holds(self) -> bool:
        """Whether the call would run the same model, with its weights in the same memory."""
        ...


class Call:
    """A call on the current stream of a device. What it allocates lives until it is freed, or the call ends."""

    __slots__ = ("_memory", "capturing", "device", "events", "on_host", "original", "stream", "uses")

    def __init__(self, device: Device, capturing: bool = False) -> None:
        self.device = device
        self.stream = device.stream
        self.capturing = capturing
        self.on_host = False
        """Whether it has done what the host must do again in each call."""
        self.original = False
        """Whether the host has run original code on its own arrays."""
        self.uses: list[Use] = []
        self.events: list[Event] = []
        self._memory: dict[int, torch.Tensor] = {}

    @property
    def repeats(self) -> bool:
        """Whether it did nothing but launch kernels and run models, so that the same can be done again as a graph."""
        return bool(self.uses) and not self.on_host

    def allocate(self, size: int) -> int:
        """The address of new memory of so many bytes. Raises `DeviceError`."""
        tensor = self.device.empty((max(size, 1),), "u8")
        address = tensor.data_ptr()
        self._memory[address] = tensor
        return address

    def free(self, address: int) -> None:
        """Have memory of the call used again, by what comes behind it on the stream."""
        del self._memory[address]

    def time(self) -> int:
        """The number of a new event. What is captured has none: nobody could ask them for their times."""
        if self.capturing:
            return 0
        self.events.append(self.device.event())
        return len(self.events) - 1


def current() -> Call:
    """The call that this thread is in."""
    call = frame.current().gpu
    if call is None:
        raise DeviceError("code for a GPU runs, but no call on a device is under way")
    return call


def launch(address: int, number: int, grid: int, block: int, narrow: int, parameters: int) -> None:
    """Launch a kernel of the host code that calls; `narrow` if all its numbers fit 32 bits."""
    call = current()
    wide, small = kernels.at(address).on(call.device)[number]
    call.device.launch(small if narrow and small is not None else wide, grid, block, call.stream, parameters)


def allocate(size: int, found: int) -> None:
    """Write the address of new memory of the device to the pointer at `found`."""
    ctypes.c_size_t.from_address(found).value = current().allocate(size)


def free(address: int) -> None:
    """Free memory that `allocate` gave; null is none."""
    if address:
        current().free(address)


def time(found: int) -> None:
    """Write the number of a new event of the call to the word at `found`."""
    ctypes.c_int64.from_address(found).value = current().time()
