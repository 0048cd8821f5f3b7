"""The databases that a process has open, the calls that are still to be written, and the thread that writes them.

`Pool.append` copies a call into a block of memory; the thread writes the blocks. It commits a database early enough
that a kill loses no more than HPACML_DB_FLUSH allows: where the thread falls behind, `append` waits. A file stays open
for the next call, until all are closed.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from hpacml.errors import DatabaseError
from hpacml.runtime.databases.blocks import Block, OpenDatabase, Recorder, VaryingBlock
from hpacml.runtime.databases.commits.arena import Arena
from hpacml.runtime.databases.commits.committer import Committer
from hpacml.runtime.databases.files import File
from hpacml.runtime.databases.groups import CallShape
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.pending import COUNT
from hpacml.runtime.databases.schema import Schema
from hpacml.runtime.databases.settings import Loss, buffer_bytes
from hpacml.runtime.databases.worker import Worker

_log = logging.getLogger("hpacml")

MOST_FILES = 64
"""The most databases that are open at once."""
HELD_BYTES = 4 << 20
"""A database is committed when it has so many bytes in written blocks, which are free for other calls only then: until
the commit, another process may have to write them."""


class Pool:
    """The open databases of one process.

    Only the thread of the pool uses HDF5, as no interrupt can hit it (KeyboardInterrupt, or another exception of a
    signal handler); other threads ask it. An interrupt can hit those wherever they call something, so they change what
    belongs together without a call in between.
    """

    def __init__(self, ended: bool = False) -> None:
        self.process = os.getpid()
        self._worker = Worker("hpacml database writer", self._work, self._due_in, self._close_for_good)
        self._lock = self._worker.lock
        """Guards all below."""
        self._databases: dict[str, OpenDatabase] = {}
        self._recorders: dict[tuple[str, str], Recorder] = {}
        self._writing: deque[Block | VaryingBlock] = deque()
        """The queue of blocks to write, which take no more calls."""
        self._failures: dict[str, DatabaseError] = {}
        """The errors of the thread that nobody has seen yet, by path."""
        self._some_full = False
        """Whether there are full blocks that are not queued."""
        self._starving = False
        """Whether a call has found no memory since the thread last took all blocks."""
        self._ended = ended
        self._arena = Arena()
        self._committer = Committer(self._arena)

    # Called by threads that collect.

    def append(self, path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
        """Append one call, as `writer.append` does."""
        self._worker.enter()
        while True:
            recorder = self._recorders.get((path, label)) or self._opened(path, label, schema, tensors)
            try:
                nbytes = recorder.require(schema, tensors)
            except DatabaseError as error:
                raise DatabaseError(f"in the database '{path}': {error}") from None
            with self._lock:
                if self._ready(recorder, nbytes) and not recorder.database.closed:
                    self._add(recorder, tensors, milliseconds)
                    return
            self._worker.wait(functools.partial(self._ready, recorder, nbytes))

    def flush(self) -> None:
        """Return when all calls are in their files, and these are closed. Raises DatabaseError if some are lost."""
        self._worker.enter()
        if self._worker.running or self._databases:
            self._worker.ask(self._close_all)
        with self._lock:
            failures = list(self._failures.values())
            self._failures.clear()
        if failures:
            for other in failures[1:]:
                failures[0].add_note(str(other))
            raise failures[0]

    def end(self) -> None:
        """Flush, end the thread and the process that helps to commit, and open no database from now on."""
        self._ended = True
        try:
            self.flush()
        finally:
            self._worker.pause()

    def pause(self) -> None:
        """Flush and end the thread for a fork: until `resume` there are neither open files nor a thread."""
        self._worker.pause()

    def resume(self) -> None:
        """End a `pause` of the same thread."""
        self._worker.resume()

    def heir(self) -> Pool:
        """Make the pool of this process, which the process of `self` has forked.

        Databases are open only if the fork came in the middle of collecting, as in a signal handler: they stay the
        parent's.
        """
        for database in self._databases.values():
            database.file.abandon()
        self._committer.close()
        self._arena.abandon()
        return Pool(self._ended)

    def _opened(self, path: str, label: str, schema: Schema, tensors: Sequence[Array]) -> Recorder:
        if self._ended:
            raise DatabaseError(f"the program ends, and has closed the database '{path}': collect before its end")
        call_shapes = [CallShape(tensor.shape, tensor.dtype) for tensor in tensors]
        return self._worker.ask(functools.partial(self._open, path, label, schema, call_shapes))

    def _ready(self, recorder: Recorder, nbytes: int) -> bool:
        """Whether there is room for a call, of so many bytes if it differs, or the database is closed.

        Called with the lock.
        """
        database = recorder.database
        return database.closed or (
            not database.full and (recorder.has_room_for(nbytes) or self._add_block(recorder, nbytes))
        )

    def _add_block(self, recorder: Recorder, nbytes: int) -> bool:
        """Give a recorder a block, if there is memory for one."""
        if size := recorder.bytes_for(nbytes):
            limit = buffer_bytes()
            known = list(self._recorders.values())
            used = sum(block.nbytes for each in known for block in (*each.blocks, *each.free))
            used += sum(block.nbytes for block in self._writing)
            used += sum(block.nbytes for each in self._databases.values() for block in each.written)
            for other in known:
                while other.free and used + size > limit:
                    used -= other.free[-1].nbytes
                    other.free.pop().release()
            if used and used + size > limit:
                self._starving = True
                return False
        if recorder.blocks:  # which take no more calls
            self._some_full = True
            self._worker.wake()
        recorder.add_block(nbytes)
        return True

    def _add(self, recorder: Recorder, tensors: Sequence[Array], milliseconds: float) -> None:
        """Copy a call into a block. Called with the lock, and if there is room."""
        database, block = recorder.database, recorder.blocks[-1]
        count = block.count
        block.copy(count, tensors, milliseconds)
        count += 1
        first = not database.queued
        full = count == block.capacity
        now = time.monotonic() if first else database.since
        if first or full or database.loss.calls is not None:
            self._worker.wake()  # it sees the call, since it has to wait for the lock
        # Nothing is called from here on: an interrupt comes before the call counts, or after all that counts it.
        database.since = now
        database.queued += 1
        block.count = block.shared[COUNT] = count
        if full:
            self._some_full = True

    # Called by the thread that writes.

    def _due_in(self) -> float:
        """The seconds until there is something to write. Called with the lock."""
        if self._some_full or (self._starving and any(map(_has_blocks, self._databases.values()))):
            return 0.0
        return min((database.due for database in self._databases.values()), default=math.inf) - time.monotonic()

    def _work(self) -> None:
        """Write the blocks that are full, and commit the databases that are due."""
        now = time.monotonic()
        with self._lock:
            starved = self._starving
            due = [each for each in self._databases.values() if each.due <= now or (starved and _has_blocks(each))]
            self._queue_blocks(due)
        self._write(due, File.commit)

    def _open(self, path: str, label: str, schema: Schema, call_shapes: Sequence[CallShape]) -> Recorder:
        with self._lock:
            if (failure := self._failures.pop(path, None)) is not None:
                raise failure
        if (recorder := self._recorders.get((path, label))) is not None:
            return recorder
        if (database := self._databases.get(path)) is None:
            if len(self._databases) >= MOST_FILES:
                self._close_all()
            loss = Loss.of_environment()
            database = OpenDatabase(path, File(path, self._committer), loss)
        try:
            group = database.file.group(label, schema, call_shapes)
            recorder = Recorder(database, label, schema, group, self._arena)
        except BaseException:
            if not database.recorders:
                database.file.discard()
            raise
        with self._lock:
            database.recorders.append(recorder)
            self._databases[path] = database
            self._recorders[path, label] = recorder
        return recorder

    def _close_all(self) -> None:
        with self._lock:
            databases = list(self._databases.values())
            self._queue_blocks(databases)
            for database in databases:
                self._forget(database)
        self._write(databases, File.close)

    def _close_for_good(self) -> None:
        self._close_all()
        self._committer.close()

    def _queue_blocks(self, due: Sequence[OpenDatabase]) -> None:
        """Queue the blocks that are full, those of some databases, or all if a call waits for memory."""
        for database in due:
            database.committing, database.committing_since, database.queued = database.queued, database.since, 0
        for recorder in self._recorders.values():
            all_of_them = recorder.database in due or not recorder.has_room
            self._writing.extend(recorder.take(len(recorder.blocks) - (not all_of_them)))
        self._some_full = self._starving = False

    def _write(self, due: Sequence[OpenDatabase], finish: Callable[[File], None]) -> None:
        """Write the queued blocks, and then commit or close some databases."""
        failed: set[OpenDatabase] = set()
        while self._writing:
            block = self._writing[0]
            database = block.recorder.database
            if database not in failed and not self._try(database, functools.partial(self._write_block, block)):
                failed.add(database)
            with self._lock:
                self._writing.popleft()
                if database in failed:
                    block.release()
                else:
                    database.written.append(block)
                del block
            held = sum(block.nbytes for block in database.written)
            if held >= min(HELD_BYTES, buffer_bytes() // 4) and not self._commit(database, database.file.commit):
                failed.add(database)
        for database in due:
            if database not in failed:
                self._commit(database, functools.partial(finish, database.file))
            with self._lock:
                database.committing = 0
                self._worker.notify()

    def _commit(self, database: OpenDatabase, commit: Callable[[], None]) -> bool:
        """Commit the blocks of a database that are written, and free them. False if that fails."""
        if not self._try(database, commit):
            return False
        with self._lock:
            calls = sum(block.count for block in database.written)
            begun = min(calls, database.committing)
            database.committing -= begun
            database.queued -= calls - begun
            for block in database.written:
                self._recycle(block)
            database.written = []
            if database.closed:
                database.release()
            self._worker.notify()
        return True

    def _write_block(self, block: Block | VaryingBlock) -> None:
        recorder = block.recorder
        database = recorder.database
        if database.file.moved and not database.file.uncommitted:
            _log.warning("the database '%s' was removed or replaced, and is made or opened again", database.path)
            database.file.discard()
            database.file = File(database.path, self._committer)
            for each in database.recorders:
                each.place(database.file.group(each.label, each.schema, each.call_shapes))
                each.describe()
        if block.count:
            database.file.write(recorder.group, block.columns, list(recorder.samples))
            recorder.written += block.count

    def _try(self, database: OpenDatabase, action: Callable[[], None]) -> bool:
        """Do something with a database; if that fails, close it, and keep the error for its next call or flush."""
        try:
            action()
            return True
        except Exception as error:
            failure = error if isinstance(error, DatabaseError) else DatabaseError(f"'{database.path}': {error!r}")
        database.file.discard()
        with self._lock:
            self._forget(database)
            calls = database.queued + database.committing
            lost, verb = ("one call", "is") if calls == 1 else (f"{calls} calls", "are")
            text = f"{failure}; {lost} collected before it {verb} lost" if calls else str(failure)
            kept = self._failures[database.path] = DatabaseError(text)
            kept.__cause__ = failure.__cause__
            database.release()
            self._worker.notify()
        return False

    def _forget(self, database: OpenDatabase) -> None:
        """Have a database take no more calls."""
        database.closed = True
        if self._databases.get(database.path) is database:
            del self._databases[database.path]
        for recorder in database.recorders:
            if self._recorders.get((database.path, recorder.label)) is recorder:
                del self._recorders[database.path, recorder.label]
            recorder.release_blocks()

    def _recycle(self, block: Block | VaryingBlock) -> None:
        """Keep a written block for new calls, unless its recorder is closed or has larger ones by now."""
        if block.recorder.database.closed:
            block.release()
        else:
            block.recorder.recycle(block)


def _has_blocks(database: OpenDatabase) -> bool:
    return bool(database.written) or any(recorder.blocks for recorder in database.recorders)
