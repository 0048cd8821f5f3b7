"""The database of collected data: one HDF5 group per region, one dataset per tensor, one entry per call.

    /heat           maps, maps_sha256, input_dtypes, output_dtypes, input_shapes, output_shapes, hpacml_version, runs
                    (attributes; `hpacml.runtime.schema` and `hpacml.runtime.runs`)
    /heat/input     [calls, *shape of the tensor]; further inputs are input_1, input_2, ...
    /heat/output    [calls, *shape of the tensor]; further outputs are output_1, output_2, ...
    /heat/runtime   [calls], float32: the time that the original code took, in milliseconds

The groups and datasets are those of HPAC-ML, the attributes are not.

`append` copies a call into a block of memory; a thread writes the blocks. A database is committed in time for a kill
to lose no more than HPACML_DB_FLUSH says: where the thread falls behind, `append` waits. A file stays open for the
next call; `flush` closes all files, and so do the end of the process and a fork.
"""

from __future__ import annotations

import atexit
import functools
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from hpacml.errors import DatabaseError
from hpacml.runtime.blocks import Block, Recorder
from hpacml.runtime.committer import Committer
from hpacml.runtime.files import File
from hpacml.runtime.groups import Entry
from hpacml.runtime.hdf5 import Array, h5py, without_lock
from hpacml.runtime.schema import Schema
from hpacml.runtime.settings import Loss, buffer_bytes


def append(path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
    """Append one call of the region `label` to the database at `path`, which is made if it is not there.

    `path` is absolute, `tensors` are the inputs and then the outputs; they are copied. Raises DatabaseError: for this
    call, if the database cannot be opened or holds other data; or else for calls before, of which it says how many
    could not be written. In both cases this call is not recorded, and the next one tries anew.
    """
    _register()
    _flush_at_exit_of(os.getpid())
    with without_lock():
        _writer.append(path, label, schema, tensors, milliseconds)


def flush() -> None:
    """Return when everything collected so far is in its files, and other processes can read them.

    It closes the databases; the next collection opens them again. Raises DatabaseError if calls could not be written.
    """
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
    """The databases of this process, and the thread that writes them."""

    def __init__(self) -> None:
        self._files = threading.Lock()
        """Held by who uses HDF5. It is taken before `_state`."""
        self._state = threading.RLock()
        """Guards all below."""
        self._work = threading.Condition(self._state)
        self._progress = threading.Condition(self._state)
        self._targets: dict[str, Target] = {}
        self._recorders: dict[tuple[str, str], Recorder] = {}
        self._failures: dict[str, DatabaseError] = {}
        """Those of the thread that nobody knows of yet, by path."""
        self._openings: deque[tuple[Future[Recorder], Callable[[], Recorder]]] = deque()
        self._blocks: deque[Block] = deque()
        """Full ones, which are to be written."""
        self._bytes = 0
        """Of all blocks."""
        self._starving = 0
        """How many threads wait for memory."""
        self._closings_wanted = self._closings_done = 0
        self._stopping = False
        self._pauses = 0
        """How many threads are about to fork."""
        self._ending = False
        self._thread: threading.Thread | None = None
        self._committer = Committer()

    # What the threads do that collect.

    def append(self, path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
        while True:
            recorder = self._recorders.get((path, label))
            if recorder is None:
                recorder = self._open(path, label, schema, tensors)
            try:
                recorder.require(schema, tensors)
            except DatabaseError as error:
                raise DatabaseError(f"in the database '{path}': {error}") from None
            with self._state:
                if self._add(recorder, tensors, milliseconds):
                    break

    def flush(self) -> None:
        self._close_all()
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
            self._stop()

    def pause(self) -> None:
        """For a fork: with everything written, and neither a thread nor a file, until `resume`."""
        with self._state:
            self._pauses += 1  # or other threads that collect would open databases again and again
        while True:
            self._close_all()
            self._stop()
            self._files.acquire()
            self._state.acquire()
            if not self._targets and not self._openings:
                return
            self._state.release()
            self._files.release()

    def resume(self) -> None:
        self._pauses -= 1
        self._progress.notify_all()
        self._state.release()
        self._files.release()

    def _open(self, path: str, label: str, schema: Schema, tensors: Sequence[Array]) -> Recorder:
        """The recorder of a region, made by the thread: an interrupt of this one must not hit HDF5."""
        entries = [Entry(tensor.shape, tensor.dtype) for tensor in tensors]
        opening: Future[Recorder] = Future()
        with self._state:
            while self._pauses:
                self._progress.wait()
            if self._ending:
                raise DatabaseError(f"the program ends, and has closed the database '{path}': collect before its end")
            self._openings.append((opening, lambda: self._make_recorder(path, label, schema, entries)))
            self._wait(opening.done)
        return opening.result()

    def _add(self, recorder: Recorder, tensors: Sequence[Array], milliseconds: float) -> bool:
        """Copy a call into a block; False if the database was closed meanwhile."""
        target = recorder.target
        if target.full:
            self._wait(lambda: target.closed or not target.full)
        if recorder.block is None:
            self._starving += 1
            try:
                self._wait(lambda: target.closed or recorder.block is not None or self._new_block(recorder))
            finally:
                self._starving -= 1
        self._raise_failure(target.path)
        block = recorder.block
        if target.closed or block is None:
            return False
        block.add(tensors, milliseconds)
        if block.full:
            self._blocks.append(block)
            recorder.block = None
        if not target.queued:
            target.since = time.monotonic()
        target.queued += 1
        if target.queued == 1 or block.full or target.loss.calls is not None:
            self._start()
            self._work.notify()
        return True

    def _new_block(self, recorder: Recorder) -> bool:
        """Give a recorder a block, if there is memory for one."""
        if recorder.free:
            recorder.block = recorder.free.pop()
            return True
        limit = buffer_bytes()
        for other in self._recorders.values():
            while other.free and self._bytes + recorder.nbytes > limit:
                self._release(other.free.pop())
        if self._bytes and self._bytes + recorder.nbytes > limit:
            return False
        recorder.block = Block(recorder)
        self._bytes += recorder.nbytes
        return True

    def _close_all(self) -> None:
        """Return when all that was collected is in its files, or could not be written."""
        with self._state:
            if self._targets or self._openings or self._closings_wanted > self._closings_done:
                self._closings_wanted += 1
                wanted = self._closings_wanted
                self._wait(lambda: self._closings_done >= wanted)

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for what the thread brings about. Called with `_state`, which others have meanwhile."""
        while not condition():
            if self._start():
                self._work.notify()
                self._progress.wait()
                continue
            self._state.release()
            try:
                with self._files:
                    self._step()
            finally:
                self._state.acquire()

    def _start(self) -> bool:
        """Have the thread run; False if there can be none, since the interpreter ends."""
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="hpacml database writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _stop(self) -> None:
        """End the thread, and the process that commits."""
        with self._state:
            thread, self._stopping = self._thread, True
            self._work.notify()
        if thread is not None:
            thread.join()
        with self._state:
            self._thread, self._stopping = None, False
        with self._files:
            self._committer.close()

    def _raise_failure(self, path: str) -> None:
        with self._state:
            if (failure := self._failures.pop(path, None)) is not None:
                raise failure

    # What the thread does.

    def _run(self) -> None:
        while True:
            with self._state:
                while not self._has_work():
                    if self._stopping:
                        return
                    due = min((target.due for target in self._targets.values()), default=math.inf)
                    self._work.wait(None if due == math.inf else max(0.0, due - time.monotonic()))
            with self._files:
                self._step()

    def _has_work(self) -> bool:
        if self._openings or self._blocks or self._closings_wanted > self._closings_done:
            return True
        if self._starving and any(recorder.block is not None for recorder in self._recorders.values()):
            return True
        now = time.monotonic()
        return any(target.due <= now for target in self._targets.values())

    def _step(self) -> None:
        """Open and write what waits, and commit what is due."""
        while self._openings:
            opening, make = self._openings[0]
            try:
                opening.set_result(make())
            except Exception as error:
                opening.set_exception(error)
            self._openings.popleft()  # not before: who waits for all to be closed must see it
        with self._state:
            self._progress.notify_all()
            closing = self._closings_wanted if self._closings_wanted > self._closings_done else None
            now = time.monotonic()
            due = [target for target in self._targets.values() if closing or target.due <= now]
            blocks = [*self._blocks, *self._take_started(due)]
            self._blocks.clear()
            for target in due:
                target.committing, target.committing_since, target.queued = target.queued, target.since, 0
                if closing:
                    self._forget(target)
        failed: set[Target] = set()
        for block in blocks:
            target = block.recorder.target
            if target not in failed and not self._try(target, lambda block=block: self._write(block)):
                failed.add(target)
            with self._state:
                self._recycle(block)
                self._progress.notify_all()
        for target in due:
            if target not in failed:
                self._try(target, target.file.close if closing else target.file.commit)
            with self._state:
                target.committing = 0
                self._progress.notify_all()
        if closing:
            with self._state:
                self._closings_done = closing
                self._progress.notify_all()

    def _take_started(self, due: Sequence[Target]) -> list[Block]:
        """The blocks that are not full, but to be written: for a commit, or for their memory."""
        blocks: list[Block] = []
        for recorder in self._recorders.values():
            if recorder.block is not None and (self._starving or recorder.target in due):
                blocks.append(recorder.block)
                recorder.block = None
        return blocks

    def _write(self, block: Block) -> None:
        recorder = block.recorder
        target = recorder.target
        if target.file.moved and not target.file.uncommitted:
            target.file.discard()
            target.file = File(target.path, self._committer)
            for each in target.recorders:
                each.group = target.file.group(each.label, each.schema, each.entries)
        if block.count:
            target.file.write(recorder.group, block.columns, list(recorder.samples))

    def _make_recorder(self, path: str, label: str, schema: Schema, entries: Sequence[Entry]) -> Recorder:
        self._raise_failure(path)
        if (recorder := self._recorders.get((path, label))) is not None:
            return recorder
        target = self._targets.get(path)
        if target is None:
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
            self._failures[target.path] = DatabaseError(f"{failure}; {lost} collected before it {verb} lost")
            self._failures[target.path].__cause__ = failure.__cause__
            for block in [block for block in self._blocks if block.recorder.target is target]:
                self._blocks.remove(block)
                self._release(block)
            self._progress.notify_all()
        return False

    def _forget(self, target: Target) -> None:
        """Take no more calls for a database."""
        target.closed = True
        self._targets.pop(target.path, None)
        for recorder in target.recorders:
            self._recorders.pop((target.path, recorder.label), None)
            for block in (*recorder.free, *([] if recorder.block is None else [recorder.block])):
                self._release(block)
            recorder.free, recorder.block = [], None

    def _recycle(self, block: Block) -> None:
        block.count = 0
        if block.recorder.target.closed or self._starving:
            self._release(block)
        else:
            block.recorder.free.append(block)

    def _release(self, block: Block) -> None:
        self._bytes -= block.recorder.nbytes


_writer = Writer()


@functools.cache
def _register() -> None:
    h5py()  # before the next lines: a fork takes our locks first and h5py's after them, as collecting does
    atexit.register(lambda: _writer.end())
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


@functools.cache
def _flush_at_exit_of(process: int) -> None:
    # A process that multiprocessing made ends without atexit.
    if util := sys.modules.get("multiprocessing.util"):
        util.Finalize(None, flush, exitpriority=0)


def _before_fork() -> None:
    """No database is open while the process forks: two processes that continue one would destroy it."""
    _writer.pause()


def _after_fork() -> None:
    _writer.resume()


def _after_fork_in_child() -> None:
    global _writer
    _writer = Writer()
