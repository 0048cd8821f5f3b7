"""Templates of calls in programs for GPUs, where also the numbers that a call takes and makes are in device memory."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hpacml.dtypes import SIZES
from hpacml.jax.templates import Kind, Template, kind_of_taking
from hpacml.runtime.arrays.views import ArrayView

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.gpu.devices import Device

_WIDENED: dict[Kind, Callable[[bytes], bytes]] = {
    Kind.WIDEN_INTEGER: lambda found: struct.pack("=q", *struct.unpack("=i", found)),
    Kind.WIDEN_FLOAT: lambda found: struct.pack("=d", *struct.unpack("=f", found)),
}


class _Number(NamedTuple):
    """So many bytes from a byte of the words on, and the word that has the address of their buffer."""

    byte: int
    size: int
    pointer: int
    kind: Kind

    def on(self, device: Device, words: int) -> torch.Tensor:
        """The buffer of a call whose words are at an address."""
        address = ctypes.c_size_t.from_address(words + 8 * self.pointer).value
        return device.tensor(ArrayView(address, "u8", (self.size,), (1,), False, None, device.index))


class GpuTemplate(Template):
    """The words of a call in a program for GPUs. The handler leaves numbers to `fetch` and `store`."""

    def __init__(self, arguments: int, results: int = 0) -> None:
        super().__init__(arguments, results)
        self._taken: list[_Number] = []
        self._given: list[_Number] = []

    def take(self, slot: int, buffer: int, dtype: str, wanted: str) -> None:
        number = _Number(8 * slot, SIZES[dtype], self._pointer(buffer), kind_of_taking(dtype, wanted))
        self._taken.append(number)

    def give(self, slot: int, buffer: int, size: int, offset: int = 0) -> None:
        self._given.append(_Number(8 * slot + offset, size, self._pointer(buffer), Kind.GIVE))

    def fetch(self, device: Device, words: int) -> None:
        """Have numbers in the words at an address. If there are any, that waits for the current stream."""
        for number in self._taken:
            found = number.on(device, words).cpu().numpy().tobytes()
            found = _WIDENED[number.kind](found) if number.kind in _WIDENED else found
            ctypes.memmove(words + number.byte, found, len(found))

    def store(self, device: Device, words: int) -> None:
        """Copy numbers from the words at an address to their buffers, behind what is on the current stream."""
        import torch

        for number in self._given:
            made = bytearray(ctypes.string_at(words + number.byte, number.size))
            number.on(device, words).copy_(torch.frombuffer(made, dtype=torch.uint8), non_blocking=True)
