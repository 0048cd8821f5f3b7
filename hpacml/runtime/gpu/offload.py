"""Calls on devices: arrays of the host transferred, streams in order, and calls that repeat replayed as graphs."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpacml.errors import DeviceError
from hpacml.locks import Order, lock
from hpacml.runtime.arrays.views import ArrayView
from hpacml.runtime.frame import Frame
from hpacml.runtime.gpu import flags
from hpacml.runtime.gpu.device_call import Call

if TYPE_CHECKING:
    from hpacml.functors.boxes import Box
    from hpacml.runtime.gpu.devices import Device, Event


@dataclass(slots=True, eq=False)  # not frozen: that would take several times as long to make
class Work:
    """A call on a device. `written` has the numbers of the views that it writes, `rest` what else decides its work."""

    device: Device
    frame: Frame
    views: Sequence[ArrayView]
    written: frozenset[int]
    rest: Hashable
    boxes: Sequence[Box] | None = None
    """The part of each view that is touched, if that is known."""


class Offload:
    """The calls of one kernel or region."""

    def __init__(self, name: str) -> None:
        from hpacml.runtime.gpu.graphs import Graphs

        self._graphs = Graphs(name)

    def run(self, work: Work, invoke: Callable[[Sequence[ArrayView]], object]) -> object:
        """Return the result of `invoke`, which runs compiled code on views of device memory."""
        if None in [view.device for view in work.views]:
            return _transferred(work, invoke)

        def execute(call: Call) -> object:
            with work.frame.on(call):
                return invoke(work.views)

        key = work.rest, *((view.address, view.shape, view.strides, view.dtype) for view in work.views)
        with _Ordered(work) as capturing, work.frame:
            if capturing:  # the call becomes part of a graph of other code
                return execute(Call(work.device, capturing=True))
            return self._graphs.run(work.device, key, execute)


def run(work: Work, invoke: Callable[[Sequence[ArrayView]], object], kind: type[Call] = Call) -> object:
    """Do as `Offload.run` without graphs, for functors and programs of others."""
    if None in [view.device for view in work.views]:
        return _transferred(work, invoke)
    with _Ordered(work) as capturing, work.frame.on(kind(work.device, capturing)):
        return invoke(work.views)


def _transferred(work: Work, invoke: Callable[[Sequence[ArrayView]], object]) -> object:
    """Run on copies of the arrays of the host, and write changes back, unless the host has done the work itself."""
    from hpacml.runtime.gpu.transfers import Transfers

    with _Ordered(work) as capturing:
        if capturing:
            raise DeviceError("arrays of the host cannot be captured in a CUDA graph: they are copied in each call")
        transfers = Transfers(work.device, work.views, work.boxes, work.written)
        call = Call(work.device, originals=transfers.originals)
        with work.frame.on(call):
            result = invoke(transfers.views)
        if not call.original:
            transfers.finish()
        return result


class _Ordered:
    """Orders a call on the current stream of a device after earlier, and before later, work of the arrays' owners.

    `with` returns whether that stream is being captured: work in a graph can wait for nothing outside. It raises
    `MapError` if earlier calls are known to have met a bad index.
    """

    __slots__ = ("_active", "_borrowed", "_device", "_streams")

    def __init__(self, work: Work) -> None:
        self._device = work.device
        self._active = work.device.active()
        self._streams = {view.stream for view in work.views if view.stream is not None}
        self._borrowed = [view.owner for view in work.views if view.borrowed]

    def __enter__(self) -> bool:
        self._active.__enter__()
        try:
            if self._device.capturing:
                self._streams.clear()
                return True
            flags.look(self._device)
            for stream in self._streams:
                self._device.wait_for(stream)
        except BaseException:
            self._active.__exit__(*sys.exc_info())
            raise
        return False

    def __exit__(self, *raised: Any) -> None:
        try:
            for stream in self._streams:
                self._device.have_wait(stream)
            if self._borrowed or _lent:
                _keep(self._device, self._borrowed)
        finally:
            self._active.__exit__(*raised)


_lent: deque[tuple[Event, Sequence[object]]] = deque()
"""The owners of borrowed memory, and the events up to which devices use it."""

_lending = lock(Order.DEVICE)


def _keep(device: Device, owners: Sequence[object]) -> None:
    """Keep owners until a later call sees that the device has come here."""
    with _lending:
        while _lent and _lent[0][0].query():
            _lent.popleft()
        if owners and not device.capturing:  # the code that captures keeps memory, and a graph has no events
            _lent.append((device.event(), owners))
