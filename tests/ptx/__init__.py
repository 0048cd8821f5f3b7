"""Runs kernels in PTX, as LLVM writes them, on the CPU: what a GPU would do, and what it would not forgive.

    kernel = Program(text).kernels["heat_kernel"]
    memory = Memory()
    memory.add(address, nbytes)
    traffic = kernel.launch(memory, grid=(2, 1, 1), block=(256, 1, 1), parameters=address_of_pointers)

The threads of many blocks run at once, each register an array with an element for each. Where they part, those that are
first in the text go first, so that they meet again. A fault or a race raises, before memory is touched or at the next
barrier.

Approximate instructions (ex2.approx and so on) are nearer to the truth here than on a GPU, and NaNs have other bits.
"""

from tests.ptx.errors import PtxError, RaceError
from tests.ptx.memory import Memory, Traffic
from tests.ptx.program import Kernel, Program

__all__ = ["Kernel", "Memory", "Program", "PtxError", "RaceError", "Traffic"]
