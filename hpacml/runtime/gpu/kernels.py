"""The kernels of compiled code: PTX, loaded by each device that comes to run it."""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpacml.runtime.assembly import DeviceCode
    from hpacml.runtime.gpu.device import Device

_lock = threading.Lock()
_kernels: weakref.WeakValueDictionary[int, Kernels] = weakref.WeakValueDictionary()


class Kernels:
    """The kernels that one loaded object of host code launches, which knows them as `address`, and by their numbers."""

    def __init__(self, code: DeviceCode) -> None:
        self._code = code
        self._word = ctypes.c_int64()
        self._loaded: dict[Device, list[tuple[Any, Any]]] = {}
        self.address = ctypes.addressof(self._word)
        _kernels[self.address] = self

    def on(self, device: Device) -> list[tuple[Any, Any]]:
        """Each kernel on a device as it is, and with 32-bit indices or None. Raises `DeviceError`."""
        if (found := self._loaded.get(device)) is None:
            with _lock:
                found = self._loaded.get(device) or self._load(device)
        return found

    def _load(self, device: Device) -> list[tuple[Any, Any]]:
        names = [(name, f"{name}_narrow" if each.narrow else None) for name, each in self._code.kernels.items()]
        every = [name for pair in names for name in pair if name is not None]
        handles: dict[str | None, Any] = dict(zip(every, device.load(self._code.text, every), strict=True))
        self._loaded[device] = [(handles[wide], handles.get(narrow)) for wide, narrow in names]
        return self._loaded[device]


def at(address: int) -> Kernels:
    """The kernels that host code calls by this address."""
    return _kernels[address]
