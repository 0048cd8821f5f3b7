"""Bodies of regions that return before their work is done, in whatever they return it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import logging
import multiprocessing.pool
import subprocess
import sys
import threading
from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest

import hpacml

TEXT = """
    tensor functor(point: [i, 0:1] = ([i]))
    ml(collect) in(point(a[0:3])) out(point(b[0:3])) database(file)
"""
Pair = namedtuple("Pair", "value work")
Work = Callable[[Any, Any], Any]

_stop = threading.Event()
_pool: list[multiprocessing.pool.ThreadPool] = []


@pytest.fixture(autouse=True)
def resources() -> Iterator[None]:
    _stop.clear()
    with multiprocessing.pool.ThreadPool(1) as pool:
        _pool[:] = [pool]
        yield
        _stop.set()


def later(a: Any, b: Any) -> Any:
    b[:] = a
    yield


async def awaited(a: Any, b: Any) -> None:
    b[:] = a


def started(thread: threading.Thread) -> threading.Thread:
    thread.start()
    return thread


class Lazy:
    """As Dask's collections."""

    def __init__(self, graph: object) -> None:
        self.graph = graph

    def __dask_graph__(self) -> object:
        return self.graph


@dataclasses.dataclass
class Record:
    work: Any
    inner: Any = None


class Holder:
    def __init__(self, work: Any) -> None:
        self.work = work


class Slotted(Holder):
    __slots__ = ("hidden",)

    def __init__(self, work: Any) -> None:
        self.hidden = work


class Delayed:
    """As Dask's, of a library that is not Dask."""

    def compute(self) -> None: ...


class Request:
    """As MPI's requests."""

    def __init__(self, done: bool) -> None:
        self.Get_status = lambda: done

    def Get_status(self) -> bool: ...  # pyright: ignore[reportRedeclaration]

    def Wait(self) -> None: ...


def running() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


UNFINISHED: dict[str, Work] = {
    "a thread that runs": lambda a, b: started(threading.Thread(target=_stop.wait)),
    "a thread to be started": lambda a, b: threading.Thread(target=b.fill, args=(1,)),
    "a timer": lambda a, b: {"timer": threading.Timer(0.1, b.fill, (1,))},
    "a process": lambda a, b: multiprocessing.get_context("spawn").Process(target=print),
    "a list of generators": lambda a, b: [later(a, b), later(a, b)],
    "coroutines": lambda a, b: (1.0, {"x": [awaited(a, b), awaited(a, b)]}),
    "a named tuple": lambda a, b: Pair(1.0, later(a, b)),
    "zip": lambda a, b: zip(range(3), later(a, b), strict=False),
    "zip of data and a list": lambda a, b: zip([1], [later(a, b)], strict=False),
    "enumerate": lambda a, b: enumerate(later(a, b)),
    "chain": lambda a, b: itertools.chain([1], later(a, b)),
    "islice of map": lambda a, b: itertools.islice(map(b.fill, a), 2),
    "starmap": lambda a, b: itertools.starmap(b.__setitem__, enumerate(a)),
    "tee": lambda a, b: itertools.tee(later(a, b)),
    "iter of a function": lambda a, b: iter(lambda: b.fill(1), 0),
    "iter of a list": lambda a, b: iter([later(a, b)]),
    "deque": lambda a, b: deque([filter(b.fill, a)]),
    "a future in a tuple": lambda a, b: (1, concurrent.futures.Future[None]()),
    "a pool's result": lambda a, b: _pool[0].apply_async(_stop.wait),
    "a pool's iterator": lambda a, b: _pool[0].imap(lambda _: _stop.wait(), a),
    "a pool's unordered iterator": lambda a, b: [_pool[0].imap_unordered(lambda _: _stop.wait(), a)],
    "a dataclass": lambda a, b: Record(concurrent.futures.Future[None]()),
    "a list in a dataclass in another": lambda a, b: Record(1, Record([later(a, b)])),
    "a field": lambda a, b: [Holder(concurrent.futures.Future[None]())],
    "a list in a field": lambda a, b: Holder([1.0, started(threading.Thread(target=_stop.wait))]),
    "a slot": lambda a, b: {"x": Slotted(awaited(a, b))},
    "Dask's": lambda a, b: Lazy({}),
    "MPI's": lambda a, b: [Request(False)],
    "a context manager in a list": lambda a, b: [contextlib.contextmanager(later)(a, b)],
}


def collects(work: Work, file: object) -> list[float]:
    @hpacml.region(TEXT)
    def step(a: Any, b: Any, file: str) -> Any:
        return work(a, b)

    step(np.ones(3), np.zeros(3), str(file))
    hpacml.flush()
    with h5py.File(str(file)) as opened:
        step_group: Any = opened["step"]
        return step_group["output"][0, :, 0].tolist()


@pytest.mark.parametrize("name", UNFINISHED)
def test_work_to_be_done_is_refused_wherever_it_stands(name: str, tmp_path: Any) -> None:
    with pytest.raises(hpacml.DirectiveError, match=r"the body of the region step returns a .*still to be done"):
        collects(UNFINISHED[name], tmp_path / "d.h5")
    assert not (tmp_path / "d.h5").exists()


def test_a_program_that_runs(tmp_path: Any) -> None:
    with running() as process:
        with pytest.raises(hpacml.DirectiveError, match="returns a Popen"):
            collects(lambda a, b: process, tmp_path / "d.h5")
        process.communicate(b"\n")
        collects(lambda a, b: process, tmp_path / "d.h5")


def joined(a: Any, b: Any) -> Any:
    thread = started(threading.Thread(target=b.__setitem__, args=(slice(None), a)))
    thread.join()
    return thread


def exhausted(a: Any, b: Any) -> Any:
    generator = later(a, b)
    return [*generator], generator, zip([1], generator, strict=False)


def completed(a: Any, b: Any) -> Any:
    result = _pool[0].apply_async(b.__setitem__, (slice(None), a))
    result.get()
    several = _pool[0].imap(abs, [1, 2])
    assert [*several] == [1, 2]
    holders = [Holder(result), Slotted([several]), Record(several, Holder(print)), Slotted.__new__(Slotted)]
    return {"result": result, "several": several, "request": Request(True), "eager": Lazy(None), "holders": holders}


async def _task(a: Any, b: Any) -> Any:
    task = asyncio.ensure_future(awaited(a, b))
    await task
    return task


FINISHED: dict[str, Work] = {
    "thread": joined,
    "generator": exhausted,
    "pool": completed,
    "task": lambda a, b: [asyncio.run(_task(a, b))],
    "iterators over data": lambda a, b: (
        b.fill(1),
        zip([1], (2, 3), strict=False),
        iter([1]),
        itertools.count(),
        range(3),
        iter({}),
    ),
    "data": lambda a, b: (b.fill(1), [1.0] * 5000, {"a": b}, {1, 2}, b.tolist(), Pair(1, 2)),
}


@pytest.mark.parametrize("name", FINISHED)
def test_work_that_is_done_is_recorded(name: str, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert collects(FINISHED[name], tmp_path / "d.h5") == [1.0] * 3
    assert not caplog.records


@pytest.mark.parametrize("kind", [Holder, Record])
def test_an_object_that_the_body_was_given_may_have_threads_that_serve(kind: Any, tmp_path: Any) -> None:
    @hpacml.region(TEXT)
    def step(state: Any, a: Any, b: Any, file: str) -> Any:
        b[:] = a
        return [state]

    state = kind(started(threading.Thread(target=_stop.wait)))
    step(state, np.ones(3), np.zeros(3), str(tmp_path / "d.h5"))
    hpacml.flush()


def test_a_list_that_contains_itself(tmp_path: Any) -> None:
    def work(a: Any, b: Any) -> Any:
        b[:] = a
        result: list[Any] = [1, 2]
        result += [result] * 5000
        return result

    assert collects(work, tmp_path / "d.h5") == [1.0] * 3


class Steps:
    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> None: ...


KINDS = ["partial", "function", "method", "Steps", "ExitStack", "Delayed"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_have_work_to_do_is_a_warning_once(kind: str, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    def work(a: Any, b: Any) -> Any:
        steps = Steps()
        stack = contextlib.ExitStack()
        stack.callback(b.fill, 1)
        results = (functools.partial(b.fill, 1), lambda: b.fill(1), steps.__next__, [steps], stack, Record(Delayed()))
        return dict(zip(KINDS, results, strict=True))[kind]

    def named(a: Any, b: Any, file: str) -> Any:
        return work(a, b)

    named.__name__ = f"of_{kind}"
    region = hpacml.region(TEXT)(named)
    with caplog.at_level(logging.WARNING, "hpacml"):
        for _ in range(2):
            region(np.ones(3), np.zeros(3), str(tmp_path / "d.h5"))
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"the body of the region of_{kind} returns a {kind}: if that writes" in message
    hpacml.flush()
