"""The database of collected data: one HDF5 group per region, one dataset per tensor, one entry per call.

    /heat           maps, maps_sha256, input_dtypes, output_dtypes, input_shapes, output_shapes, hpacml_version, runs
                    (attributes; `hpacml.runtime.databases.schema` and `hpacml.runtime.databases.runs`)
    /heat/input     [calls, *shape of the tensor]; further inputs are input_1, input_2, ...
    /heat/output    [calls, *shape of the tensor]; further outputs are output_1, output_2, ...
    /heat/runtime   [calls], float32: the time that the original code took, in milliseconds

The groups and datasets are those of HPAC-ML, the attributes are not.

`append` copies a call into a block of memory; a thread writes the blocks. A database is committed in time for a kill
to lose no more than HPACML_DB_FLUSH says: where the thread falls behind, `append` waits. A file stays open for the
next call; `flush` closes all files, and so do the end of the process and a fork.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar, cast

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.blocks import Block, Recorder
from hpacml.runtime.databases.commits.committer import Committer
from hpacml.runtime.databases.files import File
from hpacml.runtime.databases.groups import Entry
from hpacml.runtime.databases.hdf5 import Array, h5py, without_lock
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.settings import Loss, buffer_bytes

T = TypeVar("T")

_log = logging.getLogger("hpacml")

MOST_FILES = 64
"""So many databases are open at most."""

PATIENCE = 1.0
"""Seconds after which a thread that waits looks again."""


def append(path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
    """Append one call of the region `label` to the database at `path`, which is made if it is not there.

    `path` is absolute, `tensors` are the inputs and then the outputs; they are copied. Raises DatabaseError: for this
    call, if the database cannot be opened or holds other data; or else for calls before, of which it says how many
    could not be written. In both cases this call is not recorded, and the next one tries anew.
    """
    prepare()
    with without_lock():
        _writer.append(path, label, schema, tensors, milliseconds)


def flush() -> None:
    """Return when everything collected so far is in its files, and other processes can read them.

    It closes the databases; the next collection opens them again. Raises DatabaseError if calls could not be written.
    """
    with ExitStack() as stack:  # of what is registered all is done, also where some of it fails
        stack.callback(_flush_writer)
        for settle in reversed(before_flush):
            stack.callback(settle)


def _flush_writer() -> None:
    with without_lock():
        _writer.flush()


@dataclass(eq=False, slots=True)
class Target:
    """A database that is open, and what of it is not committed yet."""

    path: str
    file: File
    loss: Loss
    recorders: list[Recorder] = field(default_factory=list[Recorder])
    closed: bool = False
    """Whether it takes no more calls."""
    queued: int = 0
    """Calls since the thread last began to commit."""
    since: float = 0.0
    """When the first of them came."""
    committing: int = 0
    """Calls that the thread is committing."""
    committing_since: float = 0.0

    @property
    def due(self) -> float:
        """When the thread is to commit: early enough that it is done before `full`."""
        if not self.queued:
            return math.inf
        if self.loss.calls is not None:
            return self.since if 2 * self.queued >= self.loss.calls else math.inf
        return self.since + self.loss.seconds / 2

    @property
    def full(self) -> bool:
        """Whether a kill could lose more than it may if there were one more call."""
        if self.loss.calls is not None:
            return self.queued + self.committing >= self.loss.calls
        if not self.queued and not self.committing:
            return False
        return time.monotonic() - (self.committing_since if self.committing else self.since) > self.loss.seconds


class Writer:
    """The databases of this process, and the thread that writes them.

    Only the thread uses HDF5, which no interrupt may hit; others ask it. A signal handler may come at any time, and
    may itself collect, flush or fork: hence a lock that its thread can take again, and no call between what must not
    be seen in part.
    """

    def __init__(self) -> None:
        self._state = threading.RLock()
        """Guards all below."""
        self._work = threading.Condition(self._state)
        self._progress = threading.Condition(self._state)
        self._asked: deque[tuple[Callable[[], object], Future[object]]] = deque()
        """What the thread is asked to do, in order; the first is under way."""
        self._targets: dict[str, Target] = {}
        self._recorders: dict[tuple[str, str], Recorder] = {}
        self._writing: deque[Block] = deque()
        self._failures: dict[str, DatabaseError] = {}
        """Those of the thread that nobody knows of yet, by path."""
        self._some_full = False
        """Whether there are full blocks."""
        self._starving = 0
        """How many threads wait for memory."""
        self._closers: list[int] = []
        """The threads that wait for everything to be closed."""
        self._stopping = False
        self._ending = False
        self._thread: threading.Thread | None = None
        self._committer = Committer()

    # What the threads do that collect.

    def append(self, path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
        while True:
            recorder = self._recorders.get((path, label))
            if recorder is None:
                if self._ending:
                    raise DatabaseError(
                        f"the program ends, and has closed the database '{path}': collect before its end"
                    )
                with self._state:
                    while set(self._closers) - {threading.get_ident()}:
                        self._progress.wait(PATIENCE)
                entries = [Entry(tensor.shape, tensor.dtype) for tensor in tensors]
                recorder = self._ask(functools.partial(self._open, path, label, schema, entries))
            try:
                recorder.require(schema, tensors)
            except DatabaseError as error:
                raise DatabaseError(f"in the database '{path}': {error}") from None
            with self._state:
                if self._add(recorder, tensors, milliseconds):
                    return

    def flush(self) -> None:
        self._close()
        with self._state:
            failures = list(self._failures.values())
            self._failures.clear()
        if failures:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]

    def end(self) -> None:
        """`flush` at the end of the process."""
        self._ending = True
        try:
            self.flush()
        finally:
            with self._state:
                self._stop()

    def pause(self) -> None:
        """For a fork: with everything written, and neither a thread nor a file, until `resume`."""
        self._state.acquire()
        try:
            self._stop()
        except BaseException:
            self._state.release()
            raise

    def resume(self) -> None:
        self._progress.notify_all()
        self._state.release()

    def start_anew(self) -> None:
        """`resume` in the child of a fork, which has none of the other threads."""
        self._asked.clear()
        self._failures.clear()
        self._closers.clear()
        self._starving = 0
        self.resume()

    def _add(self, recorder: Recorder, tensors: Sequence[Array], milliseconds: float) -> bool:
        """Copy a call into a block; False if it has to be tried again."""
        target = recorder.target
        if target.full:
            self._wait(lambda: target.closed or not target.full)
        if not recorder.blocks or not recorder.blocks[-1].ready:
            self._starving += 1
            try:
                self._wait(lambda: target.closed or self._add_block(recorder))
            finally:
                self._starving -= 1
        self._raise_failure(target.path)
        now = time.monotonic()
        # A signal handler can come where something is called: not from here to the copy, nor from it to the count.
        blocks = recorder.blocks
        if target.closed or not blocks:
            return False
        block = blocks[-1]
        position = block.count
        if block.busy or position == block.capacity:
            return False
        block.busy = True
        try:
            block.copy(position, tensors, milliseconds)
        finally:
            block.busy = False
        blocks = recorder.blocks
        if target.closed or not blocks or blocks[-1] is not block or block.count != position:
            return False
        first = not target.queued
        if first:
            target.since = now
        block.count = position + 1
        target.queued += 1
        full = block.count == block.capacity
        if full:
            self._some_full = True
        if first or full or target.loss.calls is not None:
            self._start()
            self._work.notify()
        return True

    def _add_block(self, recorder: Recorder) -> bool:
        """Give a recorder a block, if there is memory for one."""
        if not recorder.free:
            limit, size = buffer_bytes(), recorder.capacity * recorder.call_bytes
            known = list(self._recorders.values())
            used = sum(block.nbytes for each in known for block in (*each.blocks, *each.free))
            used += sum(block.nbytes for block in self._writing)
            for other in known:
                while other.free and used + size > limit:
                    used -= other.free.pop().nbytes
            if used and used + size > limit:
                return False
        recorder.add_block()
        return True

    def _close(self) -> None:
        """Return when all that was collected is in its files, or could not be written."""
        if self._thread is not None or self._targets:
            self._ask(self._close_all)

    def _stop(self) -> None:
        """End the thread, and the process that helps to commit, when all is closed. Called with `_state`."""
        self._closers.append(threading.get_ident())  # or others would open databases again and again
        try:
            while self._thread is not None or self._targets:
                self._ask(self._close_for_good)
                self._wait(lambda: self._thread is None or not self._stopping)
        finally:
            self._closers.remove(threading.get_ident())
            self._progress.notify_all()

    def _ask(self, action: Callable[[], T]) -> T:
        """Have the thread do something with files."""
        done: Future[object] = Future()
        with self._state:
            self._asked.append((action, done))
            self._wait(done.done)
        return cast(T, done.result())

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for what the thread brings about. Called with `_state`, which others have meanwhile."""
        while not condition():
            if self._start():
                self._work.notify()
                self._progress.wait(PATIENCE)  # a signal handler may have used up the notification
            else:
                self._work_once()

    def _start(self) -> bool:
        """Have the thread run; False if there can be none, since the interpreter ends."""
        if self._thread is None:
            self._thread = thread = threading.Thread(target=self._run, name="hpacml database writer", daemon=True)
            try:
                thread.start()
            except BaseException as error:  # if it has started all the same, it finds that it is not the one
                self._thread = None
                if isinstance(error, RuntimeError):
                    return False
                raise
        return True

    def _raise_failure(self, path: str) -> None:
        with self._state:
            if (failure := self._failures.pop(path, None)) is not None:
                raise failure

    # What the thread does.

    def _run(self) -> None:
        with self._state:
            if self._thread is not threading.current_thread():
                return
        try:
            while not self._stopping:
                with self._state:
                    while not self._has_work():
                        due = min((target.due for target in self._targets.values()), default=math.inf)
                        pause = min(PATIENCE, due - time.monotonic()) if self._targets else None
                        self._work.wait(pause)
                self._work_once()
        finally:
            with self._state:
                self._thread, self._stopping = None, False
                self._progress.notify_all()

    def _has_work(self) -> bool:
        if self._asked or self._some_full:
            return True
        if self._starving and any(recorder.blocks for recorder in self._recorders.values()):
            return True
        now = time.monotonic()
        return any(target.due <= now for target in self._targets.values())

    def _work_once(self) -> None:
        """Do what is asked, or else write what is full, and commit what is due."""
        with self._state:
            action, done = self._asked[0] if self._asked else (None, None)
        if action is None or done is None:
            now = time.monotonic()
            with self._state:
                due = [target for target in self._targets.values() if target.due <= now]
                self._take(due)
            self._write(due, File.commit)
            return
        try:
            done.set_result(action())
        except Exception as error:
            done.set_exception(error)
        with self._state:
            self._asked.popleft()
            self._progress.notify_all()

    def _open(self, path: str, label: str, schema: Schema, entries: Sequence[Entry]) -> Recorder:
        self._raise_failure(path)
        if (recorder := self._recorders.get((path, label))) is not None:
            return recorder
        if (target := self._targets.get(path)) is None:
            if len(self._targets) >= MOST_FILES:
                self._close_all()
            loss = Loss.of_environment()
            target = Target(path, File(path, self._committer), loss)
        try:
            recorder = Recorder(target, label, schema, entries, target.file.group(label, schema, entries))
        except BaseException:
            if not target.recorders:
                target.file.discard()
            raise
        with self._state:
            target.recorders.append(recorder)
            self._targets[path] = target
            self._recorders[path, label] = recorder
        return recorder

    def _close_all(self) -> None:
        with self._state:
            targets = list(self._targets.values())
            self._take(targets)
            for target in targets:
                self._forget(target)
        self._write(targets, File.close)

    def _close_for_good(self) -> None:
        self._close_all()
        self._committer.close()
        with self._state:
            # Unless another thread has asked for something meanwhile.
            self._stopping = len(self._asked) == 1

    def _take(self, due: Sequence[Target]) -> None:
        """Have the blocks written that are full, and all of some databases, or all to have their memory."""
        for target in due:
            target.committing, target.committing_since, target.queued = target.queued, target.since, 0
        for recorder in self._recorders.values():
            blocks = recorder.blocks
            whole = bool(self._starving) or recorder.target in due
            if blocks and not whole and blocks[-1].count < blocks[-1].capacity:
                self._writing.extend(blocks[:-1])
                recorder.blocks = blocks[-1:]
            else:
                self._writing.extend(blocks)
                recorder.blocks = []
        self._some_full = False

    def _write(self, due: Sequence[Target], finish: Callable[[File], None]) -> None:
        """Write the blocks that were taken, and then commit or close some databases."""
        failed: set[Target] = set()
        while self._writing:
            block = self._writing[0]
            target = block.recorder.target
            if target not in failed and not self._try(target, functools.partial(self._write_block, block)):
                failed.add(target)
            with self._state:
                self._writing.popleft()
                self._recycle(block)
                del block
                self._progress.notify_all()
        for target in due:
            if target not in failed:
                self._try(target, functools.partial(finish, target.file))
            with self._state:
                target.committing = 0
                self._progress.notify_all()

    def _write_block(self, block: Block) -> None:
        recorder = block.recorder
        target = recorder.target
        if target.file.moved and not target.file.uncommitted:
            _log.warning("the database '%s' was removed or replaced, and is made or opened again", target.path)
            target.file.discard()
            target.file = File(target.path, self._committer)
            for each in target.recorders:
                each.group = target.file.group(each.label, each.schema, each.entries)
        if block.count:
            target.file.write(recorder.group, block.columns, list(recorder.samples))

    def _try(self, target: Target, action: Callable[[], None]) -> bool:
        """Do something with a database; if that fails, close it, and keep the error for who uses it next."""
        try:
            action()
            return True
        except Exception as error:
            failure = error if isinstance(error, DatabaseError) else DatabaseError(f"'{target.path}': {error!r}")
        target.file.discard()
        with self._state:
            self._forget(target)
            calls = target.queued + target.committing
            lost, verb = ("one call", "is") if calls == 1 else (f"{calls} calls", "are")
            told = self._failures[target.path] = DatabaseError(f"{failure}; {lost} collected before it {verb} lost")
            told.__cause__ = failure.__cause__
            self._progress.notify_all()
        return False

    def _forget(self, target: Target) -> None:
        """Take no more calls for a database."""
        target.closed = True
        if self._targets.get(target.path) is target:
            del self._targets[target.path]
        for recorder in target.recorders:
            if self._recorders.get((target.path, recorder.label)) is recorder:
                del self._recorders[target.path, recorder.label]
            recorder.blocks, recorder.free = [], []

    def _recycle(self, block: Block) -> None:
        recorder = block.recorder
        if not (recorder.target.closed or self._starving or block.capacity < recorder.capacity):
            block.count = 0
            recorder.free.append(block)


_writer = Writer()

before_flush: list[Callable[[], None]] = []
"""What is to be done so that everything collected is with the writer."""

_register_lock = threading.RLock()
_registered: set[int] = set()
"""The processes in which all is set up; with 0, for the ones that this one forks."""
_interrupted = False
"""Whether an interrupt came when this process was about to fork."""


def prepare() -> None:
    """Have databases closed when this process ends or forks."""
    if os.getpid() not in _registered:
        _register()


def _register() -> None:
    with _register_lock:
        if 0 not in _registered:
            h5py()  # before the next lines: a fork takes our lock first and h5py's after it, as collecting does
            atexit.register(_writer.end)
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
            _registered.add(0)
        if util := sys.modules.get("multiprocessing.util"):  # a process that it made ends without atexit
            util.Finalize(None, flush, exitpriority=0)
        _registered.add(os.getpid())


def _before_fork() -> None:
    """No database is open while the process forks: two processes that continue one would destroy it."""
    global _interrupted
    _register_lock.acquire()
    with without_lock():
        while True:
            try:
                _writer.pause()
                return
            except KeyboardInterrupt:  # raised here, it would be printed, and the process would fork
                _interrupted = True


def _after_fork() -> None:
    global _interrupted
    _writer.resume()
    _register_lock.release()
    if _interrupted:
        _interrupted = False
        _thread.interrupt_main()


def _after_fork_in_child() -> None:
    global _interrupted
    _interrupted = False
    _writer.start_anew()
    _register_lock.release()
