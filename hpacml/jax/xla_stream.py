"""Where XLA runs a call of a program for GPUs: a device and a stream of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hpacml.errors import DeviceError
from hpacml.runtime.frame import Frame

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Device

_API, _CONTEXT = 16, 24
"""Where the frame of a call has them, in bytes."""

_GET_MESSAGE, _DESTROY, _STREAM_GET, _DEVICE_ORDINAL_GET = 56, 64, 80, 184
"""Where XLA_FFI_Api has these functions, in bytes."""

_DEFAULT_STREAM = 1
"""Its number in the CUDA array interface."""


class Queue(NamedTuple):
    """A stream, by its handle, of a device, by its number."""

    device: int
    stream: int

    def run(self, frame: Frame, work: Callable[[Device], None], timed_by_host: bool = False) -> None:
        """Run what works on arrays of the device, behind what is on the stream. The host does not wait for that.

        It is also behind what Torch's default stream, on which models are made and trained, has by now, and before what
        that has later. If `timed_by_host`, what is collected tells how long the original code took.

        Raises what `work` does, `DeviceError`, and `MapError` if earlier calls are known to have met a bad index.
        """
        from hpacml.runtime.gpu import devices, offload
        from hpacml.runtime.gpu.device_call import Call, TimedByHost

        device = devices.device(self.device)
        kind, call = TimedByHost if timed_by_host else Call, offload.Work(device, frame, (), frozenset(), None)
        with device.on(self.stream):
            device.wait_for(_DEFAULT_STREAM)
            try:
                offload.run(call, lambda _: work(device), kind)
            finally:
                device.have_wait(_DEFAULT_STREAM)


def chip_here() -> str:
    """The chip of this machine's GPU, or without one that for which code is made then."""
    from hpacml.backend.chips import DEFAULT_CHIPS, NVIDIA
    from hpacml.runtime.gpu import devices

    try:
        return devices.current_device().chip
    except DeviceError:
        return DEFAULT_CHIPS[NVIDIA]


class _Answer(ctypes.Structure):
    """The arguments of both functions, the last of which they write."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("value", ctypes.c_int64),
    )


class _Message(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("error", ctypes.c_void_p),
        ("text", ctypes.c_char_p),
    )


_function: Callable[[int], Any] = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)


def queue_of(frame: int) -> Queue:
    """Where the call with a frame, at an address, is to run. Raises DeviceError where XLA does not tell."""
    api, context = (ctypes.c_size_t.from_address(frame + offset).value for offset in (_API, _CONTEXT))
    stream = _asked(api, context, _STREAM_GET, ctypes.sizeof(ctypes.c_void_p))
    device = _asked(api, context, _DEVICE_ORDINAL_GET, ctypes.sizeof(ctypes.c_int32))
    return Queue(ctypes.c_int32(device).value, stream)


def _asked(api: int, context: int, which: int, width: int) -> int:
    """What a function of XLA tells of a context, in so many bytes."""
    answer = _Answer(_Answer.value.offset + width, None, context, 0)
    if error := _at(api, which)(ctypes.addressof(answer)):
        told = _Message(ctypes.sizeof(_Message), None, error, None)
        _at(api, _GET_MESSAGE)(ctypes.addressof(told))
        text = (told.text or b"").decode(errors="replace")
        _at(api, _DESTROY)(ctypes.addressof(told))
        raise DeviceError(f"XLA does not tell on which GPU and stream a call is to run: {text}")
    return answer.value


def _at(api: int, offset: int) -> Any:
    return _function(ctypes.c_size_t.from_address(api + offset).value)
