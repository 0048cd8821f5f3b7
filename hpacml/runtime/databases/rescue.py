"""The program that writes the calls of a process that was killed: `finisher` starts it when there are such calls.

It has the process's memory, and its databases. What is in the memory and in the file, as a kill may come between a
commit and the release of its memory, is known by the number of the call; others may have appended calls since.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import pickle
import socket
import time
from dataclasses import dataclass

import numpy as np

from hpacml import environment
from hpacml.errors import DatabaseError
from hpacml.runtime.databases import runs
from hpacml.runtime.databases.commits.committer import Committer
from hpacml.runtime.databases.commits.finisher import BLOCK, COUNT, PENDING, RESCUING, SLOTS, mark
from hpacml.runtime.databases.commits.locks import is_locking
from hpacml.runtime.databases.files import File
from hpacml.runtime.databases.groups import RUNTIME
from hpacml.runtime.databases.hdf5 import Array
from hpacml.runtime.databases.pending import DESCRIPTION, HEAD, ORIGIN, Description, columns_of, varying_columns
from hpacml.runtime.databases.varying import Calls

PATIENCE = 60.0
"""Seconds for which others may have a database open."""


def main(memory: int, files: list[tuple[int, int]]) -> None:
    """Write what is in a memory, which is open as the descriptor `memory`; `files` has those of databases by number.

    Standard input is a connection to the process that finishes commits.
    """
    with socket.socket(fileno=0) as connection:
        committer = Committer(connection=connection)
        calls = pending(np.frombuffer(mmap.mmap(memory, 0, prot=mmap.PROT_READ), np.uint8))
        for number, descriptor in files:
            shared = os.dup(descriptor)  # `File` closes its own
            if number in calls:
                _rescue(descriptor, calls[number], committer)
            fcntl.flock(shared, fcntl.LOCK_UN)
            for byte in (PENDING, RESCUING):
                mark(shared, byte, fcntl.F_UNLCK)


@dataclass(frozen=True, slots=True)
class Block:
    """Some calls in the memory, the first one of the number `first`; `capacity` is 0 if they differ in their points."""

    first: int
    count: int
    capacity: int
    memory: Array

    def columns(self, region: Description, skip: int) -> list[Array | Calls]:
        """The calls, without some at the beginning, for each dataset."""
        if not self.capacity:
            return varying_columns(self.memory.view(np.int64), self.count, region.layouts, region.dtypes, skip)
        shapes = [*(each.shape for each in region.call_shapes), RUNTIME.shape]
        return [column[skip : self.count] for column in columns_of(self.memory, self.capacity, shapes, region.dtypes)]


class Rest:
    """What is to be written of a region, whose group had `origin` calls before the first one of its process."""

    def __init__(self, description: Description, origin: int) -> None:
        self.description = description
        self.origin = origin
        self.blocks: list[Block] = []


def pending(memory: Array) -> dict[int, list[Rest]]:
    """Find the calls in a memory, by the numbers of their databases."""
    found: dict[int, Rest] = {}
    for slot in memory[: SLOTS * COUNT.size].view(np.int64).tolist():
        recorder, first, count, capacity = memory[slot : slot + BLOCK.size].view(np.int64).tolist()
        if not slot or not count:
            continue
        if recorder not in found:
            place, origin = memory[recorder : recorder + HEAD].view(np.int64)[[DESCRIPTION, ORIGIN]].tolist()
            if not place:  # it was released when its process died
                continue
            size = int(memory[place : place + COUNT.size].view(np.int64)[0])
            text = memory[place + COUNT.size : place + COUNT.size + size].tobytes()
            found[recorder] = Rest(pickle.loads(text), origin)
        found[recorder].blocks.append(Block(first, count, capacity, memory[slot + HEAD :]))
    result: dict[int, list[Rest]] = {}
    for rest in found.values():
        result.setdefault(rest.description.number, []).append(rest)
    return result


def _rescue(descriptor: int, regions: list[Rest], committer: Committer) -> None:
    path = regions[0].description.path
    try:
        _lock(descriptor)
        file = File(path, committer, descriptor)
        for rest in regions:
            _write(file, rest)
        file.close()
    except Exception as error:
        _tell(path, regions, error)


def _lock(descriptor: int) -> None:
    end = time.monotonic() + PATIENCE
    while is_locking():
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(0.002)


def _write(file: File, rest: Rest) -> None:
    region = rest.description
    environment.DB_DTYPE.set(region.dtype)
    environment.DB_COMPRESS.set(region.compress)
    runs.adopt(region.run)
    group = file.group(region.label, region.schema, region.call_shapes)
    # Of what the group has got since the process opened it, that which is not another one's.
    others = [r.first_call for r in group.runs if r.first_call >= rest.origin and r.process != region.run.process]
    done = min([group.calls, *others]) - rest.origin
    for block in sorted(rest.blocks, key=lambda block: block.first):
        if done < block.first:
            raise DatabaseError(f"the calls from {done} to {block.first} of '{region.label}' are missing")
        if block.first + block.count > done:
            file.write(group, block.columns(region, done - block.first), region.samples)
            done = block.first + block.count


def _tell(path: str, regions: list[Rest], error: Exception) -> None:
    """Leave a note beside the database, since there is nobody to raise an error for."""
    most = sum(block.count for rest in regions for block in rest.blocks)
    labels = ", ".join(f"'{rest.description.label}'" for rest in regions)
    text = f"A process that collected into '{path}' was killed. Its last calls of {labels}, {most} at most, are lost: "
    with contextlib.suppress(OSError):
        if os.path.exists(path):
            with open(f"{path}.lost", "a", encoding="utf-8") as note:
                note.write(f"{text}{error}\n")
