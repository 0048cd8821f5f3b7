"""One call of compiled code on a device: what the host part asks for on the way."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

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


_Words = ctypes.c_int64 * 7
_START, _NEXT, _END, _ASKED = 3, 4, 5, 6


class Use(Protocol):
    """A model that a call ran."""

    @property
    def label(self) -> str:
        """Of the region."""
        ...

    def remember(self) -> None:
        """Note how the model is, now that it is captured: it may keep tensors of its run."""
        ...

    def holds(self) -> bool:
        """Whether the call would run the same model, with its weights in the same memory."""
        ...

    def give_up(self) -> None:
        """Capture no more calls that run this model."""
        ...


class Call:
    """A call on the current stream of a device. What it allocates lives until it is freed, or the call ends.

    While it is captured, `home` is the stream that the graph will run on; without one the graph is somebody else's, who
    may replay it at any time and anywhere. If arrays of the host have been copied for it, `originals` are these.
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
        """What compiled code knows of the call (`%call` in `shim.ll`)."""
        self.capturing = capturing
        self.on_host = False
        """Whether it has done what the host must do again in each call."""
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
        """The flag for its bad indices. Raises `MapError` if it is raised for those of earlier calls."""
        if self._flag is None:
            from hpacml.runtime.gpu import flags

            if self.capturing:
                if "sync" in checks.chosen():
                    self.leave_to_host(f"{environment.CHECK.name}=sync")
                self._flag = flags.captured(self.device, self._home)
                return self._flag
            own = self._originals or "sync" in checks.chosen()  # copies of the host's are waited for anyway
            self._flag = flags.OwnFlag(self.device) if own else flags.shared(self.device, self.stream)
            using = self._flag.used()
            using.__enter__()
            self._using = using
        return self._flag

    @property
    def flagged(self) -> Flag | None:
        """Its flag, if it has indices that are checked."""
        return self._flag

    def original_of(self, view: ArrayView) -> ArrayView | None:
        """The array of the host that an array of the call is a copy of, if it is one."""
        return self._originals.get(place_of(view)) if self._originals else None

    def end(self) -> None:
        """It launches no more kernels."""
        if self._using is not None:
            self._using.__exit__(None, None, None)
            self._using = None

    def leave_to_host(self, what: str) -> None:
        """Note that the host must do something in each call again. Raises `DeviceError` in a graph, which cannot."""
        if self.capturing:
            raise DeviceError(f"{what} cannot be captured in a CUDA graph, since the host does it anew in each call")
        self.on_host = True

    @property
    def repeats(self) -> bool:
        """Whether it did nothing but launch kernels and run models, so that the same can be done again as a graph."""
        return bool(self.uses) and not self.on_host

    def reserve(self, size: int) -> None:
        """Have memory of which compiled code takes its tensors without asking, if there is so much."""
        with suppress(DeviceError):
            start = self.allocate(size)
            self.words[_START], self.words[_NEXT], self.words[_END] = start, start, start + size

    @property
    def asked(self) -> int:
        """How many bytes compiled code has asked for."""
        return self.words[_ASKED]

    def allocate(self, size: int) -> int:
        """The address of new memory of so many bytes. Raises `DeviceError`."""
        words = max(-(-size // 4), 1)  # whole ones: to change a byte atomically is to change the word that it is in
        tensor = self.device.empty((4 * words,), "u8")
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

    def body_time(self) -> int:
        """The same, before and behind a body, whether times are measured or not; these count by themselves."""
        if self.capturing:
            return 0
        self._bodies.append(self.device.event())
        return len(self._bodies) - 1

    def body(self, apart: int) -> tuple[Event, Event]:
        """The events before and behind the body that is done now, which are so many apart: bodies nest."""
        return self._bodies[-1 - apart], self._bodies[-1]


def innermost() -> Call | None:
    """The call that this thread is in, None if it is in none, or in one on the host."""
    around = frame.innermost()
    return None if around is None else around.gpu  # pyright: ignore[reportReturnType] (of its protocol)


def current() -> Call:
    """The call that this thread is in. Raises `DeviceError` if it is in none."""
    if (call := innermost()) is None:
        raise DeviceError("code for a GPU runs, but no call on a device is under way")
    return call
