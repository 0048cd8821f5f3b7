"""One call of compiled code on a device, with its stream, memory, events and flag."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hpacml import environment
from hpacml.errors import DeviceError
from hpacml.runtime import checks, frame
from hpacml.runtime.gpu import kernels
from hpacml.runtime.gpu.transfers import Place, place_of

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.arrays.views import ArrayView
    from hpacml.runtime.gpu.devices import Device, Event
    from hpacml.runtime.gpu.flags import Flag


_Words = ctypes.c_int64 * 7  # `%call` in `shim.ll`
_START, _NEXT, _END, _ASKED = 3, 4, 5, 6


class Use(Protocol):
    """A model that a call ran."""

    @property
    def label(self) -> str:
        """The label of the region."""
        ...

    def remember(self) -> None:
        """Note the state of the model, now that it is captured. The use may keep tensors of the run."""
        ...

    def holds(self) -> bool:
        """Whether a call would now run the same model, with its weights in the same memory."""
        ...

    def give_up(self) -> None:
        """Capture no more calls that run this model."""
        ...


class Call:
    """A call on the current stream of a device. Memory that it allocates lives until it is freed, or the call ends.

    While it is `capturing`, `home` is the stream of the graph; without one the graph belongs to other code, which may
    replay it at any time on any stream. `originals` are the arrays of the host that were copied for the call.
    """

    __slots__ = (
        *("_bodies", "_flag", "_home", "_memory", "_originals", "_using"),
        *("capturing", "device", "events", "on_host", "original", "stream", "uses", "words"),
    )

    def __init__(
        self,
        device: Device,
        capturing: bool = False,
        home: int | None = None,
        originals: Mapping[Place, ArrayView] = MappingProxyType({}),
    ) -> None:
        self.device = device
        self.stream = device.stream
        self.words = _Words(device.launcher if device.index < kernels.MOST_DEVICES else 0, self.stream, device.index)
        """The data of the call that compiled code reads and writes."""
        self.capturing = capturing
        self.on_host = False
        """Whether the host has done something that it must do again in each call."""
        self.original = False
        """Whether the host has run original code on its own arrays."""
        self.uses: list[Use] = []
        self.events: list[Event] = []
        self._bodies: list[Event] = []
        self._memory: dict[int, torch.Tensor] = {}
        self._originals = originals
        self._home = home
        self._flag: Flag | None = None
        self._using: AbstractContextManager[None] | None = None

    @property
    def flag(self) -> Flag:
        """The flag for bad indices of the call. Raises `MapError` if it is raised for indices of earlier calls."""
        if self._flag is None:
            from hpacml.runtime.gpu import flags

            if self.capturing:
                if "sync" in checks.chosen():
                    self.leave_to_host(f"{environment.CHECK.name}=sync")
                self._flag = flags.captured(self.device, self._home)
                return self._flag
            own = self._originals or "sync" in checks.chosen()  # a call on copies waits for the device anyway
            self._flag = flags.OwnFlag(self.device) if own else flags.shared(self.device, self.stream)
            using = self._flag.used()
            using.__enter__()
            self._using = using
        return self._flag

    @property
    def flagged(self) -> Flag | None:
        """Its flag, or None if it has checked no indices."""
        return self._flag

    def original_of(self, view: ArrayView) -> ArrayView | None:
        """The array of the host of which an array of the call is a copy; None if it is no copy."""
        return self._originals.get(place_of(view)) if self._originals else None

    def end(self) -> None:
        """Note that the call launches no more kernels."""
        if self._using is not None:
            self._using.__exit__(None, None, None)
            self._using = None

    def leave_to_host(self, what: str) -> None:
        """Note that the host must do `what` again in each call. Raises `DeviceError` in a graph, where it cannot."""
        if self.capturing:
            raise DeviceError(f"{what} cannot be captured in a CUDA graph, since the host does it anew in each call")
        self.on_host = True

    @property
    def repeats(self) -> bool:
        """Whether it only launched kernels and ran models, so that a graph can do the same again."""
        return bool(self.uses) and not self.on_host

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes, if possible, from which compiled code takes its tensors without asking Python."""
        with suppress(DeviceError):
            start = self.allocate(size)
            self.words[_START], self.words[_NEXT], self.words[_END] = start, start, start + size

    @property
    def asked(self) -> int:
        """The bytes that compiled code has asked for."""
        return self.words[_ASKED]

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes of new memory. Raises `DeviceError` if there is no memory."""
        words = max(-(-size // 4), 1)  # whole words: an atomic change of a byte changes its word
        tensor = self.device.empty((4 * words,), "u8")
        address = tensor.data_ptr()
        self._memory[address] = tensor
        return address

    def is_temporary(self, address: int) -> bool:
        """Whether memory at an address is of the call, and not an array of the application."""
        return address in self._memory or self.words[_START] <= address < self.words[_END]

    def free(self, address: int) -> None:
        """Free memory of the call. What comes later on the stream may use it again."""
        del self._memory[address]

    def time(self) -> int:
        """Record a new event and return its number. A captured call has no events: nobody could read their times."""
        if self.capturing:
            return 0
        self.events.append(self.device.event())
        return len(self.events) - 1

    def body_time(self) -> int:
        """Do as `time` before and after a body, even if no times are measured. These events are numbered apart."""
        if self.capturing:
            return 0
        self._bodies.append(self.device.event())
        return len(self._bodies) - 1

    def body(self, apart: float) -> tuple[Event, Event]:
        """The events before and after the body that has just ended, numbered `apart` from each other: bodies nest."""
        return self._bodies[-1 - int(apart)], self._bodies[-1]


class TimedByHost(Call):
    """A call whose bodies other code has run: the host knows how long that took."""

    __slots__ = ()

    def body(self, apart: float) -> tuple[Event, Event]:
        """Two points that are past, so many milliseconds `apart`."""
        return _Instant(0.0), _Instant(apart)


class _Instant(NamedTuple):
    milliseconds: float

    def synchronize(self) -> None:
        """It is past."""

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: _Instant, /) -> float:
        return end_event.milliseconds - self.milliseconds


def innermost() -> Call | None:
    """The call on a device that this thread is in; None outside of calls, and in a call on the host."""
    around = frame.innermost()
    return None if around is None else around.gpu  # pyright: ignore[reportReturnType] (of its protocol)


def current() -> Call:
    """The call on a device that this thread is in. Raises `DeviceError` if there is none."""
    if (call := innermost()) is None:
        raise DeviceError("code for a GPU runs, but no call on a device is under way")
    return call
