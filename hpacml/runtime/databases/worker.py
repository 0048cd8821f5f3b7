"""A thread that does what others ask of it, and between that what is due, one thing at a time."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from hpacml.errors import DatabaseError

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Request(Generic[T]):
    action: Callable[[], T]
    done: bool = False
    result: T | None = None
    error: Exception | None = None


class Worker:
    """One thread, which starts when there is something to do, and what other threads need to wait for it.

    An interrupt, such as KeyboardInterrupt or another exception of a signal handler, can hit other threads wherever
    they call something. It can leave `threading.Condition.wait` without the lock, and `Condition.__enter__` with it. So
    here a thread that waits takes the lock to look at its condition, releases it, and then blocks on another one, which
    is released at the next progress.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        due_in: Callable[[], float],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """`work` does what is due, `due_in` gives the seconds until something is due and is called with the lock, and
        `close` is called last before a pause."""
        self.lock: Any = threading.RLock()
        """Guards the worker, and what `work` shares with other threads."""
        self._name = name
        self._work = work
        self._due_in = due_in
        self._close = close
        self._requests: deque[_Request[Any]] = deque()
        """What to do, in order; the first request stays here until it is done."""
        self._thread: threading.Thread | None = None
        self._ident = 0
        """The identifier of the thread, once it runs."""
        self._pausing: set[int] = set()
        """The identifiers of threads that are in a pause."""
        self._called = _held_lock()
        """Released to have the thread look for something to do."""
        self._progress = _held_lock()
        """Released, and replaced by another lock, to have all threads that wait look at their conditions."""

    @property
    def running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def enter(self) -> None:
        """Raise DatabaseError if this thread has the lock, or is the worker's.

        So it is where a signal handler or a finalizer (`__del__`, a callback of `weakref`) interrupts a change: it must
        not make another change, nor wait for the thread.
        """
        own = threading.get_ident()
        if self.lock._is_owned() or own == self._ident:
            raise DatabaseError(
                "a signal handler or a finalizer collects, flushes or forks in the middle of collecting or flushing: "
                "have it set a flag, and do that where the program looks at the flag"
            )
        if own in self._pausing:  # an interrupt prevented `resume`
            self.resume()

    def ask(self, action: Callable[[], T]) -> T:
        """Have the thread call a function. Returns what that returns, and raises what that raises."""
        request = _Request(action)
        with self.lock:
            self._requests.append(request)
        self.wait(lambda: request.done)
        if request.error is not None:
            raise request.error
        return cast(T, request.result)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when a condition is true, which the thread makes true. The condition is called with the lock."""
        while True:
            with self.lock:
                if condition():
                    return
                progress = self._progress
                served = self.wake()
            if served:
                with progress:  # and then leave it to the next thread that waits
                    pass
            else:
                self._in_place(self._step)

    def wake(self) -> bool:
        """Have the thread look for something to do; False if no thread can be started. Called with the lock."""
        if self._thread is None and not self._pausing and not self._start():
            return False
        if self._called.locked():
            self._called.release()
        return True

    def notify(self) -> None:
        """Have all threads that wait look at their conditions. Called with the lock."""
        fresh = _held_lock()
        reached, self._progress = self._progress, fresh
        reached.release()

    def pause(self) -> None:
        """Close, and end the thread until `resume`. After an interrupt, call this again, or `resume`."""
        own = threading.get_ident()

        def alone() -> bool:
            self._pausing.add(own)  # each time, since a finalizer that asks for something ends the pause
            return self._thread is None

        self.enter()
        self.wait(alone)
        while not self._in_place(self._close):
            self.wait(alone)

    def resume(self) -> None:
        """End the pause of this thread, if it is in one."""
        with self.lock:
            self._pausing.discard(threading.get_ident())
            self.notify()

    def _start(self) -> bool:
        self._thread = thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except BaseException as error:  # if the thread has started all the same, it sees that it is not the one
            self._thread = None
            if isinstance(error, RuntimeError):  # the interpreter ends, or the system has no more threads
                return False
            raise
        return True

    def _in_place(self, action: Callable[[], None]) -> bool:
        """Call a function in this thread as if it were the worker's; False if there is another one."""
        own = threading.get_ident()
        try:
            with self.lock:
                if self._thread is not None:
                    return False
                self._thread, self._ident = threading.current_thread(), own
            action()
            return True
        finally:
            if self._ident == own:
                self._thread, self._ident = None, 0
                with self.lock:
                    self.notify()

    def _run(self) -> None:
        with self.lock:
            if self._thread is not threading.current_thread():
                return
            self._ident = threading.get_ident()
        try:
            while self._turn():
                pass
        finally:
            with self.lock:
                self._thread, self._ident = None, 0
                self.notify()

    def _turn(self) -> bool:
        """Do one thing, or wait until there is something to do; False if the thread is to end."""
        with self.lock:
            pausing = bool(self._pausing)
            seconds = 0.0 if pausing or self._requests else self._due_in()
        if pausing:
            self._close()
            return not self._pausing
        if seconds <= 0:
            self._step()
        else:
            self._called.acquire(timeout=-1 if seconds == math.inf else seconds)
        return True

    def _step(self) -> None:
        """Serve the first request, or else do what is due."""
        with self.lock:
            request = self._requests[0] if self._requests else None
        if request is None:
            self._work()
            return
        try:
            request.result = request.action()
        except Exception as error:
            request.error = error
        with self.lock:
            self._requests.popleft()
            request.done = True
            self.notify()


def _held_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock
