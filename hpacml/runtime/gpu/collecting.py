"""Collection on devices: tensors are copied to pinned memory after they are filled, and recorded on arrival."""

from __future__ import annotations

import atexit
import functools
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpacml.errors import DatabaseError
from hpacml.runtime.databases import writer
from hpacml.runtime.databases.settings import buffer_bytes
from hpacml.runtime.databases.worker import Worker

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.arrays.views import ArrayView
    from hpacml.runtime.gpu.device_call import Call
    from hpacml.runtime.gpu.devices import Device, Event


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A call whose tensors are on their way. `record` is called with them and the milliseconds of the body."""

    device: Device
    path: str
    tensors: Sequence[torch.Tensor]
    start: Event
    stop: Event
    copied: Event
    raised: torch.Tensor | None
    """The call's flag: if it met a bad index, what it gathered is not valid."""
    record: Callable[[Sequence[torch.Tensor], float], None]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def finish(self) -> None:
        with self.device.active():  # a new thread starts on the first device
            self.copied.synchronize()
            milliseconds = self.start.elapsed_time(self.stop)
        if self.raised is not None and self.raised.any():
            return  # a `MapError` comes where the flag is found raised
        self.record(self.tensors, milliseconds)


class Arrivals:
    """The calls of this process that are on their way, in order, and the thread that records them."""

    def __init__(self) -> None:
        self._worker = Worker("hpacml arrivals from GPUs", self._take, lambda: 0.0 if self._pending else math.inf)
        self._pending: deque[_Arrival] = deque()
        self._bytes = 0
        """The bytes of the pending calls."""
        self._failures: dict[str, DatabaseError] = {}

    def add(self, arrival: _Arrival) -> None:
        """Have a call recorded once its tensors are there. Raises DatabaseError of calls before, into the same file."""
        self._worker.enter()
        self._raise_failure(arrival.path)
        self._worker.wait(functools.partial(self._admit, arrival, arrival.nbytes))

    def settle(self) -> None:
        """Return when all calls are recorded. Raises DatabaseError if one could not be."""
        self.drain()
        for path in list(self._failures):
            self._raise_failure(path)

    def drain(self) -> None:
        """Return when no call is on its way."""
        self._worker.enter()
        self._worker.wait(lambda: not self._pending)

    def start_anew(self) -> None:
        """Forget all calls, in the child of a fork, which has neither the thread nor the devices."""
        self.__init__()

    def _raise_failure(self, path: str) -> None:
        if (failure := self._failures.pop(path, None)) is not None:
            raise failure

    def _admit(self, arrival: _Arrival, nbytes: int) -> bool:
        """Add a call, if there is memory for it. Called with the worker's lock."""
        if self._pending and self._bytes + nbytes > buffer_bytes():
            return False
        self._worker.wake()
        # The bytes come first: once the call is appended, an interrupt can come.
        self._bytes += nbytes
        self._pending.append(arrival)
        return True

    def _take(self) -> None:
        """Record the first call, in the thread."""
        first = self._pending[0]
        try:
            first.finish()
        except DatabaseError as error:
            self._failures.setdefault(first.path, error)
        except Exception as error:
            self._failures.setdefault(first.path, DatabaseError(f"a call on a GPU is not recorded: {error!r}"))
        with self._worker.lock:
            self._pending.popleft()
            self._bytes -= first.nbytes
            self._worker.notify()


_arrivals = Arrivals()
_prepared = False


def collect(
    call: Call,
    path: str,
    views: Sequence[ArrayView],
    body: tuple[Event, Event],
    record: Callable[[Sequence[torch.Tensor], float], None],
) -> None:
    """Pass the tensors of a call on a device to `record` once they have arrived; two events enclose the `body`."""
    prepare()
    device = call.device
    tensors = [device.to_pinned(device.tensor(view)) for view in views]
    raised = None if call.flagged is None else device.to_pinned(call.flagged.word)
    copied = device.event(blocking=True)  # else the thread that waits for it would take a core
    _arrivals.add(_Arrival(device, path, tensors, *body, copied, raised, record))


def prepare() -> None:
    """Make `flush`, the end of the process and forks record all calls before databases are closed."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    writer.prepare()  # first: what is registered last is called first
    writer.before_flush.append(_arrivals.settle)
    atexit.register(_arrivals.settle)
    os.register_at_fork(before=_arrivals.drain, after_in_child=_arrivals.start_anew)
