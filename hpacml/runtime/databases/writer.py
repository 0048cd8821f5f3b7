"""Collected data on its way into databases: one HDF5 group per region, one dataset per tensor, one entry per call.

    /heat           maps, maps_sha256, input_dtypes, output_dtypes, input_shapes, output_shapes, hpacml_version
                    (attributes; `hpacml.runtime.databases.schema`)
    /heat/input     [calls, *shape of the tensor]; further inputs are input_1, input_2, ...
    /heat/output    [calls, *shape of the tensor]; further outputs are output_1, output_2, ...
    /heat/meta_t    [calls], float64: the number t of each call; there is a dataset for each number
    /heat/runtime   [calls], float32: the time that the original code took, in milliseconds
    /heat/runs      [runs], who collected the calls (`hpacml.runtime.databases.runs`)
    /heat/varying   calls that differ from those before in their points (`hpacml.runtime.databases.varying`)

Inputs, outputs and runtimes are those of HPAC-ML, the rest is not.

Here is what a process does with its `Pool` of databases: it appends, flushes, forks and ends.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from hpacml.errors import DatabaseError
from hpacml.runtime.databases import exit_status
from hpacml.runtime.databases.hdf5 import Array, h5py, without_lock
from hpacml.runtime.databases.pool import Pool
from hpacml.runtime.databases.schema import Schema

before_flush: list[Callable[[], None]] = []
"""Functions that append what is still on its way, which `flush` calls first."""

_pool = Pool()
_prepared = 0
"""The number of the process for which `prepare` was called; in the child of a fork it is the parent's at first."""
_interrupted = False
"""Whether KeyboardInterrupt came in a hook of a fork, where Python prints it and goes on."""


def append(path: str, label: str, schema: Schema, tensors: Sequence[Array], milliseconds: float) -> None:
    """Append one call of the region `label` to the database at `path`, which is made if it is not there.

    `path` is absolute, `tensors` are the inputs and then the outputs; they are copied. Raises DatabaseError: for this
    call, if the database cannot be opened or holds other data; or else for calls before, of which it says how many
    could not be written. In both cases this call is not recorded, and the next one tries anew.
    """
    if _prepared != os.getpid():
        prepare()
    without_lock(_pool.append, path, label, schema, tensors, milliseconds)


def flush() -> None:
    """Return when everything collected so far is in its files, and other processes can read them.

    It closes the databases; the next collection opens them again. Raises DatabaseError if calls could not be written.
    """
    with ExitStack() as stack:  # which calls all of them, also where some fail
        stack.callback(_flush_pool)
        for settle in reversed(before_flush):
            stack.callback(settle)


def prepare() -> None:
    """Have databases closed when this process ends or forks."""
    global _prepared
    if _prepared == os.getpid():
        return
    _inherit()
    h5py()  # first: a fork calls the last hooks first, and ours needs the lock that h5py's takes
    if not _prepared:  # an interrupt or another thread may have these registered twice, which does no harm
        atexit.register(_end)
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
    if util := sys.modules.get("multiprocessing.util"):  # its processes end without atexit
        util.Finalize(None, _end_of_multiprocessing, exitpriority=0)
    _prepared = os.getpid()


def _flush_pool() -> None:
    _inherit()
    without_lock(_pool.flush)


def _end() -> None:
    _inherit()
    try:
        _pool.end()
    except DatabaseError:
        exit_status.fail()
        raise


def _end_of_multiprocessing() -> None:
    """Flush. If that fails, the process does, too."""
    fails_anyhow = sys.exc_info()[1] is not None
    try:
        flush()
    except DatabaseError as error:
        if fails_anyhow:
            raise
        traceback.print_exception(error)
        raise SystemExit(1) from error


def _inherit() -> None:
    """Make the pool of this process, if the present one is its parent's."""
    global _pool
    if _pool.process != os.getpid():
        _pool = _pool.heir()


def _before_fork() -> None:
    """Close all databases: two processes that go on with one open database would destroy it."""
    _insist(functools.partial(without_lock, _pool.pause))


def _after_fork() -> None:
    global _interrupted
    _insist(_pool.resume)
    if _interrupted:
        _interrupted = False
        # From another thread: this one would raise it at once, in the hook.
        _thread.start_new_thread(signal.pthread_kill, (threading.get_ident(), signal.SIGINT))


def _insist(action: Callable[[], None]) -> None:
    """Call a function, again after each interrupt, of which `_after_fork` raises one."""
    global _interrupted
    while True:
        try:
            action()
            return
        except KeyboardInterrupt:
            _interrupted = True


def _after_fork_in_child() -> None:
    global _interrupted
    _interrupted = False
    _inherit()
