"""Collection on devices: tensors are copied to pinned memory after they are filled, and recorded on arrival."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpacml.errors import DatabaseError
from hpacml.runtime.databases import writer
from hpacml.runtime.databases.settings import buffer_bytes

if TYPE_CHECKING:
    import torch

    from hpacml.runtime.arrays.views import ArrayView
    from hpacml.runtime.gpu.device_call import Call
    from hpacml.runtime.gpu.devices import Device, Event


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A call whose tensors are on their way; `record` takes them as arrays, and the milliseconds of its body."""

    device: Device
    path: str
    tensors: Sequence[torch.Tensor]
    start: Event
    stop: Event
    copied: Event
    raised: torch.Tensor | None
    """The call's flag: what it gathered is not there if it met a bad index."""
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
        self._taking = threading.RLock()
        """Held while a call is recorded: calls stay in order."""
        self._changed = threading.Condition()
        """Guards all below."""
        self._pending: deque[_Arrival] = deque()
        self._bytes = 0
        """Of the pending ones."""
        self._failures: dict[str, DatabaseError] = {}
        self._thread: threading.Thread | None = None

    def add(self, arrival: _Arrival) -> None:
        """Record a call once it is there. Raises what calls before it, into the same database, could not."""
        self._raise_failure(arrival.path)
        while self._pending and self._bytes + arrival.nbytes > buffer_bytes():
            self._take()
        with self._changed:
            self._pending.append(arrival)
            self._bytes += arrival.nbytes
            self._start()
            self._changed.notify_all()

    def settle(self) -> None:
        """Return when all calls are recorded. Raises DatabaseError if some could not be."""
        while self._take():
            pass
        for path in list(self._failures):
            self._raise_failure(path)

    def start_anew(self) -> None:
        """In the child of a fork, which has neither the thread nor the devices."""
        self.__init__()

    def _raise_failure(self, path: str) -> None:
        if (failure := self._failures.pop(path, None)) is not None:
            raise failure

    def _take(self) -> bool:
        """Record the first call; False if there is none."""
        with self._taking:
            if not self._pending:
                return False
            first = self._pending[0]
            try:
                first.finish()
            except DatabaseError as error:
                self._failures.setdefault(first.path, error)
            except Exception as error:
                self._failures.setdefault(first.path, DatabaseError(f"a call on a GPU is not recorded: {error!r}"))
            with self._changed:
                self._pending.popleft()
                self._bytes -= first.nbytes
            return True

    def _start(self) -> None:
        """Have the thread run, if there can be one: at the end of the interpreter, `settle` does its work."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hpacml arrivals from GPUs", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
            self._take()


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
    _prepare()
    device = call.device
    tensors = [device.to_pinned(device.tensor(view)) for view in views]
    raised = None if call.flagged is None else device.to_pinned(call.flagged.word)
    copied = device.event(blocking=True)  # else the thread that waits for it would take a core
    _arrivals.add(_Arrival(device, path, tensors, *body, copied, raised, record))


def _prepare() -> None:
    """Make `flush`, the end of the process and forks record all calls before databases are closed."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    writer.prepare()  # what is registered last is called first
    writer.before_flush.append(_arrivals.settle)
    atexit.register(_arrivals.settle)
    os.register_at_fork(before=_arrivals.settle, after_in_child=_arrivals.start_anew)
