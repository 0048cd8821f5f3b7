"""The kernels of compiled code: PTX, which each device loads when it first runs one."""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any

from hpacml.backend.ptx_and_amdgcn import NARROW
from hpacml.locks import Order, lock

if TYPE_CHECKING:
    from hpacml.backend.ptx_and_amdgcn import DeviceCode
    from hpacml.runtime.gpu.devices import Device

_lock = lock(Order.DEVICE)
_kernels: weakref.WeakValueDictionary[int, Kernels] = weakref.WeakValueDictionary()


MOST_DEVICES = 16
"""The devices for which host code finds kernels itself; for others it asks Python."""


class Kernels:
    """The kernels that one loaded object of host code launches, by their numbers.

    At `address` that code finds, for the number of each device, a pointer to a table of handles, or null. The table
    has two for each kernel: as it is, and with 32-bit indices if there is such a variant.
    """

    def __init__(self, code: DeviceCode) -> None:
        self._code = code
        self._tables = (ctypes.c_size_t * MOST_DEVICES)()
        self._loaded: dict[Device, tuple[list[Any], Any]] = {}
        self.address = ctypes.addressof(self._tables)
        _kernels[self.address] = self

    def on(self, device: Device) -> list[Any]:
        """The kernels on a device, two for each. Raises `DeviceError` if they cannot be loaded."""
        if (found := self._loaded.get(device)) is None:
            with _lock:
                found = self._loaded.get(device) or self._load(device)
        return found[0]

    def _load(self, device: Device) -> tuple[list[Any], Any]:
        pairs = [(name, name + NARROW if each.narrow else name) for name, each in self._code.kernels.items()]
        names = [name for pair in pairs for name in pair]
        every = list(dict.fromkeys(names))
        handles = dict(zip(every, device.load(self._code.text, every), strict=True))
        kernels = [handles[name] for name in names]
        table = (ctypes.c_size_t * len(kernels))(*map(int, kernels))
        self._loaded[device] = kernels, table
        if device.index < MOST_DEVICES:
            self._tables[device.index] = ctypes.addressof(table)
        return self._loaded[device]


def at(address: int) -> Kernels:
    """The kernels that host code finds at this address."""
    return _kernels[address]
