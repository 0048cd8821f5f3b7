"""Flags of devices: kernels raise them at bad indices, and the host learns of it without waiting.

The calls on a stream share a flag. It stays raised until the host sees it, at the start of a later call, in
`hpacml.flush` or at the end of the process. Until then, kernels that would follow indices do nothing.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from hpacml.errors import DeviceError, MapError
from hpacml.locks import Order, lock
from hpacml.runtime.databases import writer

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.gpu.devices import Device

WORDS = 3
"""The words of a record: the number of a check, 0 while the flag is down; the index; the size, -1 for repeats."""

_log = logging.getLogger("hpacml")


_checks: list[tuple[str, str]] = []
"""The label and the map of each check; the first has number 1."""

_lock = lock(Order.DEVICE)
"""Guards `_checks`, `_shared`, and the use and lowering of flags."""


def register(label: str, maps: Sequence[str]) -> int:
    """Number the checks of these maps, in the code of a kernel, region or functor; return the first number."""
    with _lock:
        _checks.extend((label, text) for text in maps)
        return len(_checks) - len(maps) + 1


class Flag(ABC):
    """A word of a device, 0 while the flag is down, and the record of why it was raised."""

    def __init__(self, device: Device, record: torch.Tensor) -> None:
        self.device = device
        self.word = device.empty((1,), "i32").zero_()
        self.memory = record.zero_()
        self.address: int = self.word.data_ptr()
        self.record: int = record.data_ptr()

    @abstractmethod
    def is_down(self) -> bool:
        """Whether no bad index of the current call is known."""

    @abstractmethod
    def used(self) -> AbstractContextManager[None]:
        """Enclose launches of kernels that may raise the flag. Raises `MapError` if earlier calls have raised it."""


class OwnFlag(Flag):
    """The flag of one call, which waits for the device after each check."""

    def __init__(self, device: Device) -> None:
        super().__init__(device, device.empty((WORDS,), "i64"))

    def is_down(self) -> bool:
        return not self.word.item()

    def used(self) -> AbstractContextManager[None]:
        return nullcontext()


class SharedFlag(Flag):
    """The flag of all calls on a stream, with its record in memory of the host."""

    def __init__(self, device: Device) -> None:
        super().__init__(device, device.pinned(8 * WORDS))
        self._seen: ctypes.Array[ctypes.c_int64] = (ctypes.c_int64 * WORDS).from_address(self.record)
        self._users = 0
        """The number of calls that launch kernels now: the flag must not be lowered meanwhile."""
        self._reported = False

    def is_down(self) -> bool:
        return True

    def look(self) -> None:
        """Raise `MapError` if the flag is raised, and lower it, unless other calls use it now."""
        if not self._seen[0]:
            return
        # The rest of the record may not have arrived, nor kernels that obey the flag ended. This waits without the
        # lock, which a thread that captures, and for which this waits, may need.
        self.device.synchronize_all()
        with _lock:
            if not self._seen[0]:
                return
            reported, self._reported = self._reported, True
            message = self._message()
            if not self._users:
                self._lower()
                if reported:
                    return
        raise MapError(message)

    @contextmanager
    def used(self) -> Generator[None]:
        self.look()
        with _lock:
            self._users += 1
        try:
            yield
        finally:
            with _lock:
                self._users -= 1

    def _lower(self) -> None:
        self.word.zero_()
        self.device.synchronize()
        self._seen[:] = [0] * WORDS
        self._reported = False

    def _message(self) -> str:
        number, index, size = map(int, self._seen[:])
        label, text = _checks[number - 1]
        repeated = "indices repeat (unchecked=True allows it; it is open then which value stays)"
        reason = repeated if size < 0 else f"the index {index} lies outside a dimension that has {size} elements"
        return (
            f"in the map '{text}' of '{label}': {reason}. An earlier call on the GPU {self.device.index} met it: what "
            "that call and those since gave is not valid, and they wrote nothing through indices. HPACML_CHECK=sync "
            "stops at the call itself, and tells which element it is"
        )


_shared: dict[tuple[Device, int | None], SharedFlag] = {}
"""The flags by device and stream, whose calls come one after the other. They are never freed, as graphs use them.

Without a stream it is the flag of all graphs that other code captures, which alone knows where they run.
"""


def shared(device: Device, stream: int) -> SharedFlag:
    """The flag of the calls on a stream."""
    if (flag := _shared.get((device, stream))) is not None:
        return flag
    with _lock:
        if (device, None) not in _shared:  # during a capture it could not be made
            _prepare()
            _shared[device, None] = SharedFlag(device)
            device.synchronize()  # it must be down before another stream uses it
        return _shared.get((device, stream)) or _shared.setdefault((device, stream), SharedFlag(device))


def captured(device: Device, stream: int | None) -> SharedFlag:
    """The flag of calls in a graph for a stream, None for an unknown one. Raises `DeviceError` if there is no flag."""
    if (flag := _shared.get((device, stream))) is None:
        raise DeviceError(
            f"a call that checks indices is captured in a CUDA graph, and is the first of its kind on the GPU "
            f"{device.index}: call it once before capturing"
        )
    return flag


def look(device: Device) -> None:
    """Raise `MapError` if earlier calls on a device are known to have met a bad index."""
    if _shared:
        for (of, _), flag in list(_shared.items()):
            if of is device:
                flag.look()


def settle() -> None:
    """Wait for all calls. Raises `MapError` if one of them has met a bad index."""
    for device in {device for device, _ in list(_shared)}:
        if not device.capturing:  # waiting would break the capture
            device.synchronize_all()
            look(device)


_prepared = False


def _prepare() -> None:
    global _prepared
    if not _prepared:
        _prepared = True
        writer.before_flush.append(settle)
        atexit.register(_at_exit)
        os.register_at_fork(after_in_child=_begin_in_child)


def _begin_in_child() -> None:
    """Begin anew in a child: it has no devices."""
    _shared.clear()


def _at_exit() -> None:
    try:
        settle()
    except Exception as error:
        _log.error("at the end of the process: %s", error)
