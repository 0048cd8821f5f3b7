"""Calls on GPUs that C functions have begun, as Python sees them: on the stream and the device of the program."""

from __future__ import annotations

import ctypes

from hpacml.errors import DeviceError
from hpacml.runtime.gpu import device_handlers, devices, flags
from hpacml.runtime.gpu.device_call import Call


class GpuCall(ctypes.Structure):
    """What libhpacml knows of a call on a GPU, as far as it matters here."""

    _fields_ = [("device", ctypes.c_int64), ("stream", ctypes.c_size_t)]


class CallOfC(Call):
    """A call that has begun in C, and ends there: the frame of each question that it asks Python ends before."""

    __slots__ = ()

    def end(self) -> None:
        pass

    def close(self) -> None:
        """Note that the call launches no more kernels."""
        super().end()


def begun(address: int) -> CallOfC:
    """Set up the call of which libhpacml has a `GpuCall` at an address.

    Raises `DeviceError` for a GPU that Torch cannot use and a stream that is being captured, and `MapError` for bad
    indices of calls before.
    """
    device_handlers.install()
    given = GpuCall.from_address(address)
    device = devices.device(given.device)
    with device.on(given.stream):
        if device.capturing:
            raise DeviceError(
                "the stream is captured in a CUDA graph, of which the models and the collection of a region cannot "
                "become a part: call the function outside"
            )
        flags.look(device)
        return CallOfC(device)
