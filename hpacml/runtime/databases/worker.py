"""A thread that does what others ask of it, and in between what is due, one thing at a time."""

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

    An exception of a signal handler, such as KeyboardInterrupt, hits other threads wherever something is called. That
    can make `threading.Condition.wait` return without its lock, so here nobody waits with a lock: who waits takes the
    lock to look at a condition, leaves it, and blocks on another lock that is released at the next progress.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        due_in: Callable[[], float],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """`work` does what is due now, and `due_in` says in how many seconds something is, which is asked with the
        lock. `close` is the last thing to be done before a pause."""
        self.lock: Any = threading.RLock()
        """Guards everything here, and what the thread has in common with others."""
        self._name = name
        self._work = work
        self._due_in = due_in
        self._close = close
        self._requests: deque[_Request[Any]] = deque()
        """In order; the first is under way."""
        self._thread: threading.Thread | None = None
        self._ident = 0
        """Of the thread, once it runs."""
        self._pausing: set[int] = set()
        """The threads that want no thread beside them."""
        self._called = _held_lock()
        """Released when the thread has something to look for."""
        self._progress = _held_lock()
        """Released, and replaced by another one, when those who wait have something to look for."""

    @property
    def running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def enter(self) -> None:
        """Raise DatabaseError where this thread is in the middle of something here already.

        A signal handler or a finalizer can come there (`__del__`, a callback of `weakref`): to wait for the thread,
        or to change what is half changed, would be wrong.
        """
        own = threading.get_ident()
        if self.lock._is_owned() or own == self._ident:
            raise DatabaseError(
                "a signal handler or a finalizer collects, flushes or forks in the middle of collecting or flushing: "
                "have it set a flag, and do that where the program looks at the flag"
            )
        if own in self._pausing:  # an interrupt has come in place of `resume`
            self.resume()

    def ask(self, action: Callable[[], T]) -> T:
        """Have the thread do something. Returns what it returns, and raises what it raises."""
        request = _Request(action)
        with self.lock:
            self._requests.append(request)
        self.wait(lambda: request.done)
        if request.error is not None:
            raise request.error
        return cast(T, request.result)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when a condition is true, which the thread brings about. The condition is called with the lock."""
        while True:
            with self.lock:
                if condition():
                    return
                progress = self._progress
                served = self.wake()
            if served:
                with progress:  # which the next one that waits can take then
                    pass
            else:
                self._in_place(self._step)

    def wake(self) -> bool:
        """Have the thread look for what is to be done; False if no thread can be started. Called with the lock."""
        if self._thread is None and not self._pausing and not self._start():
            return False
        if self._called.locked():
            self._called.release()
        return True

    def notify(self) -> None:
        """Have those who wait look at their conditions. Called with the lock."""
        fresh = _held_lock()
        reached, self._progress = self._progress, fresh
        reached.release()

    def pause(self) -> None:
        """Return when all is closed and there is no thread, nor will there be one before `resume`.

        If this is interrupted, call it again, or `resume`.
        """
        own = threading.get_ident()

        def alone() -> bool:
            self._pausing.add(own)  # each time: a finalizer that has come meanwhile may have ended the pause
            return self._thread is None

        self.enter()
        self.wait(alone)
        while not self._in_place(self._close):
            self.wait(alone)

    def resume(self) -> None:
        """End the `pause` of this thread, if there is one."""
        with self.lock:
            self._pausing.discard(threading.get_ident())
            self.notify()

    def _start(self) -> bool:
        self._thread = thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except BaseException as error:  # if it has started all the same, it finds that it is not the one
            self._thread = None
            if isinstance(error, RuntimeError):  # the interpreter ends, or the system has no more threads
                return False
            raise
        return True

    def _in_place(self, action: Callable[[], None]) -> bool:
        """Do something in this thread, in place of the one that works; False if there is one."""
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
        """Do one thing, or wait for one; False if the thread is to end."""
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
        """Do what is asked first, or else what is due."""
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
