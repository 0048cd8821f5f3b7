"""Runs decoded kernels: many blocks at once, each register an array with an element for each thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from tests.ptx import text
from tests.ptx.arithmetic import bits_of, numpy_type
from tests.ptx.errors import PtxError, RaceError
from tests.ptx.floats import Array
from tests.ptx.memory import Access, Memory, Traffic, check_cached, check_races
from tests.ptx.text import Instruction, Variable

if TYPE_CHECKING:
    from tests.ptx.program import Kernel

WARP = 32
BATCH = 1 << 14
"""Threads that run at once, at least one block of them."""

STEPS = 1 << 20
"""Basic blocks that a batch may run: more are a loop without an end."""

Step = Callable[["Frame"], None]


@dataclass
class Block:
    """A basic block; `end` gives the ways on, each a block and the threads that take it."""

    steps: list[Step] = field(default_factory=list)
    opcodes: Counter[str] = field(default_factory=Counter)
    end: Callable[[Frame], Sequence[tuple[int, Array | None]]] = lambda frame: ()


class Code:
    """A function, and its basic blocks."""

    def __init__(self, function: text.Function):
        self.function = function
        self.blocks: list[Block] = []
        self.shared_bytes = self.local_bytes = 0

    def memory(self, space: str) -> list[Variable]:
        return [variable for variable in self.function.memory if variable.space == space]


class Launch:
    """A grid, run in batches of blocks."""

    def __init__(
        self,
        kernel: Kernel,
        memory: Memory,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        parameters: dict[str, Array],
        races: bool,
        dynamic_shared: int,
    ):
        self.kernel, self.memory, self.grid, self.block = kernel, memory, grid, block
        self.parameters, self.races = parameters, races
        self.threads = prod(block)
        dynamic = kernel.program.dynamic
        self.shared_bytes = (dynamic[0].address if dynamic else kernel.shared) + dynamic_shared
        self.traffic = Traffic()
        self.accesses: list[Access] = []

    def run(self) -> None:
        blocks, at_once = prod(self.grid), max(1, BATCH // self.threads)
        batches = [range(first, min(first + at_once, blocks)) for first in range(0, blocks, at_once)]
        phases = 0
        for batch in batches:
            phases += Batch(self, batch).run()
        if self.races:
            self._checked(lambda: check_cached(self.accesses, self.describe))
            if phases > 1:
                self._checked(lambda: check_races(self.accesses, lambda who: who // self.threads, self.describe))

    def check(self, accesses: list[Access]) -> None:
        """Between two barriers, threads are ordered by nothing."""
        if self.races:
            self._checked(lambda: check_races(accesses, lambda who: who, self.describe))

    def _checked(self, check: Callable[[], None]) -> None:
        try:
            check()
        except RaceError as error:
            raise RaceError(f"{self.kernel.name}: {error}") from None

    def describe(self, thread: int) -> str:
        number, within = divmod(thread, self.threads)
        return f"thread {_triple(within, self.block)} of block {_triple(number, self.grid)}"


def _triple(number: int, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    return number % sizes[0], number // sizes[0] % sizes[1], number // (sizes[0] * sizes[1])


class Batch:
    """Blocks that run at once."""

    def __init__(self, launch: Launch, blocks: range):
        self.launch, self.blocks = launch, blocks
        self.size = len(blocks) * launch.threads
        stride = -(-launch.shared_bytes // 16) * 16
        self.shared = np.full(len(blocks) * stride, 0xA5, np.uint8)  # what it holds is not defined
        self.shared_base = np.repeat(np.arange(len(blocks)) * stride, launch.threads)
        self.local_stride = -(-launch.kernel.code.local_bytes // 16) * 16
        self.all = np.arange(self.size)
        self.accesses: list[Access] = []
        self.waiting: list[tuple[int, Instruction, Array | None]] = []
        self.steps = 0

    @cached_property
    def local(self) -> Array:
        return np.full(self.size * self.local_stride, 0xA5, np.uint8)

    @cached_property
    def within(self) -> Array:
        """The number of each thread in its block."""
        return self.all % self.launch.threads

    @cached_property
    def threads(self) -> Array:
        return self.all + self.blocks.start * self.launch.threads

    @cached_property
    def warps(self) -> Array:
        return self.all // self.launch.threads * -(-self.launch.threads // WARP) + self.within // WARP

    def run(self) -> int:
        """The number of phases that barriers make."""
        frame = Frame(self, self.launch.kernel.code, self.launch.parameters)
        pending: dict[int, Array | None] = {0: None}
        phases = 0
        while pending:
            phases += 1
            self.run_code(frame, pending)
            self.launch.check(self.accesses)
            self.launch.accesses += [access for access in self.accesses if access.region is not None]
            self.accesses = []
            pending = self._released()
        return phases

    def run_code(self, frame: Frame, pending: dict[int, Array | None]) -> None:
        """Until no thread can go on. Those that are first in the text go first: the others wait for them there."""
        counts: dict[int, int] = {}
        while pending:
            at = min(pending)
            frame.select(pending.pop(at))
            block = frame.code.blocks[at]
            counts[at] = counts.get(at, 0) + frame.count
            self.steps += 1
            if self.steps > STEPS:
                raise PtxError(f"{self.launch.kernel.name}: no end after {STEPS} basic blocks")
            for step in block.steps:
                step(frame)
            for target, mask in block.end(frame):
                if target in pending:
                    other = pending[target]
                    mask = None if mask is None or other is None else mask | other
                pending[target] = mask
        executed = self.launch.traffic.instructions
        for at, count in counts.items():
            for opcode, times in frame.code.blocks[at].opcodes.items():
                executed[opcode] += times * count

    def _released(self) -> dict[int, Array | None]:
        """The threads behind the barrier at which they all wait: all of a block, each warp at one instruction."""
        shape = len(self.blocks), self.launch.threads
        arrived, warps = np.zeros(self.size, np.bool_), np.full(int(self.warps[-1]) + 1, -1)
        for target, instruction, mask in self.waiting:
            lanes = self.all if mask is None else np.flatnonzero(mask)
            arrived[lanes] = True
            here = self.warps[lanes]
            if np.any((warps[here] != -1) & (warps[here] != instruction.line)):
                raise PtxError(f"{self.launch.kernel.name}, line {instruction.line}: a warp at two barriers")
            warps[here] = instruction.line
        each = arrived.reshape(shape).sum(1)
        late = np.flatnonzero((each != 0) & (each != shape[1]))
        if len(late):
            thread = int(np.flatnonzero(~arrived.reshape(shape)[late[0]])[0]) + int(late[0]) * shape[1]
            raise PtxError(
                f"{self.launch.kernel.name}, line {self.waiting[0][1].line}: a barrier that "
                f"{self.launch.describe(int(self.threads[thread]))} does not come to"
            )
        pending: dict[int, Array | None] = {}
        for target, _, mask in self.waiting:
            other = pending.get(target, mask)
            pending[target] = None if mask is None or other is None else mask | other
        self.waiting = []
        return pending

    def record(
        self, instruction: Instruction, kind: str, region: int | None, addresses: Array, lanes: Array, size: int
    ):
        access = Access(instruction.opcode, instruction.line, kind, region, addresses, self.threads[lanes], size)
        if region is not None:
            self.launch.traffic.count(access, self.warps[lanes])
        if self.launch.races:
            self.accesses.append(access)


class Frame:
    """A call of a function by some threads: its registers, and memory for parameters, by name.

    An array of one element stands for as many equal ones. No array is changed once it is in a register.
    """

    def __init__(self, batch: Batch, code: Code, parameters: dict[str, Array]):
        self.batch, self.code = batch, code
        self.registers: list[Array] = [np.zeros(1, numpy_type(bits_of(kind))) for kind in code.function.registers]
        self.parameters = dict(parameters)
        self.carry = np.zeros(1, np.bool_)
        self.mask: Array | None = None

    def select(self, mask: Array | None) -> None:
        if mask is not None and mask.all():
            mask = None
        self.mask = mask
        self.lanes = self.batch.all if mask is None else np.flatnonzero(mask)
        self.count = len(self.lanes)

    def merged(self, new: Array, old: Array) -> Array:
        """New values for the threads that run, the old ones for the others."""
        return new if self.mask is None else np.where(self.mask, new, old)

    def active(self, values: Array) -> Array:
        """The values of the threads that run."""
        if len(values) == 1:
            return np.broadcast_to(values, self.count)
        return values if self.mask is None else values[self.lanes]

    def spread(self, values: Array) -> Array:
        """Values of the threads that run, and zeros for the others."""
        if self.mask is None:
            return values
        result = np.zeros(self.batch.size, values.dtype)
        result[self.lanes] = values
        return result
