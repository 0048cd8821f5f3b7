"""The thread of a `Worker`, and the threads that wait for it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.worker import Worker

IN_THE_MIDDLE = "a signal handler or a finalizer collects, flushes or forks in the middle"


class Counter:
    """A worker whose duty is to count down, and what it has done."""

    def __init__(self) -> None:
        self.left = 0
        self.closed = 0
        self.worker = Worker("counter", self.work, lambda: 0.0 if self.left else math.inf, self.close)

    def work(self) -> None:
        self.left -= 1
        with self.worker.lock:
            self.worker.notify()

    def close(self) -> None:
        self.closed += 1

    def add(self, count: int) -> None:
        with self.worker.lock:
            self.left += count
            self.worker.wake()


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.worker.pause()
    assert not counter.worker.running


@pytest.fixture
def alarm() -> Iterator[Callable[[float, Callable[[], None]], None]]:
    """`alarm(seconds, action)` has a signal handler do something."""
    before = signal.getsignal(signal.SIGALRM)

    def after(seconds: float, action: Callable[[], None]) -> None:
        signal.signal(signal.SIGALRM, lambda *_: action())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def fail() -> None:
    raise ValueError("wrong")


def test_it_does_what_it_is_asked(counter: Counter):
    assert not counter.worker.running
    assert counter.worker.ask(lambda: threading.current_thread().name) == "counter"
    with pytest.raises(ValueError, match="wrong"):
        counter.worker.ask(fail)
    assert counter.worker.ask(lambda: 3) == 3


def test_it_does_what_is_due(counter: Counter):
    counter.add(5)
    counter.worker.wait(lambda: counter.left == 0)
    counter.add(5)
    counter.worker.wait(lambda: counter.left == 0)


def test_many_ask_at_once(counter: Counter):
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(counter.worker.ask(lambda: number)))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(20))


@pytest.mark.parametrize("running", [False, True])
def test_a_pause(counter: Counter, running: bool):
    if running:
        counter.worker.ask(lambda: None)
    counter.worker.pause()
    assert counter.closed
    assert not counter.worker.running
    answers: list[int] = []
    other = threading.Thread(target=lambda: answers.append(counter.worker.ask(lambda: 3)))
    other.start()
    other.join(0.1)
    assert not answers
    assert not counter.worker.running
    counter.worker.resume()
    other.join()
    assert answers == [3]


def test_several_pauses(counter: Counter):
    def work() -> None:
        for _ in range(200):
            counter.worker.pause()
            assert not counter.worker.running
            counter.worker.resume()
            counter.worker.ask(lambda: None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_it_cannot_be_entered_twice(counter: Counter):
    def enter() -> bool:
        with pytest.raises(DatabaseError, match=IN_THE_MIDDLE):
            counter.worker.enter()
        return True

    assert counter.worker.ask(enter)
    counter.worker.wait(enter)
    counter.worker.enter()


def test_an_interrupt_of_who_waits(counter: Counter, alarm: Callable[..., None]):
    alarm(0.05, fail)
    with pytest.raises(ValueError, match="wrong"):
        counter.worker.ask(lambda: time.sleep(0.2))
    assert counter.worker.ask(lambda: 3) == 3


def test_an_interrupt_of_a_pause(counter: Counter, alarm: Callable[..., None]):
    counter.worker.ask(lambda: None)
    counter.worker._close = lambda: time.sleep(0.2)
    alarm(0.05, fail)
    with pytest.raises(ValueError, match="wrong"):
        counter.worker.pause()
    counter.worker.pause()
    assert not counter.worker.running
    counter.worker.resume()
    assert counter.worker.ask(lambda: 3) == 3


def test_who_comes_in_the_middle_of_a_pause(counter: Counter, alarm: Callable[..., None]):
    """It is served, and the pause begins anew."""
    answers: list[int] = []

    def enter() -> None:
        counter.worker.enter()
        answers.append(counter.worker.ask(lambda: 3))

    counter.worker.ask(lambda: None)
    counter.worker._close = lambda: time.sleep(0.2)
    alarm(0.05, enter)
    counter.worker.pause()
    assert answers == [3]
    assert not counter.worker.running


def test_without_threads(counter: Counter, monkeypatch: pytest.MonkeyPatch):
    """As at the end of the interpreter: who waits does the work."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert counter.worker.ask(threading.get_ident) == threading.get_ident()
    counter.add(5)
    counter.worker.wait(lambda: counter.left == 0)
    assert not counter.worker.running
