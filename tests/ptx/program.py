"""Kernels as tests see them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod

import numpy as np

from tests.ptx import text
from tests.ptx.decoder import decode
from tests.ptx.errors import PtxError
from tests.ptx.floats import Array
from tests.ptx.machine import Code, Launch
from tests.ptx.memory import Memory, Traffic
from tests.ptx.text import Variable


class Program:
    """Kernels in PTX. Raises `PtxError`, with the line, for what it does not know."""

    def __init__(self, ptx_text: str):
        module = text.parse(ptx_text)
        self.globals = Memory()
        self._owners: list[Array] = []
        for variable in module.variables:
            if variable.space != "shared":
                self._allocate(variable)
        self.code: dict[str, Code] = {name: Code(function) for name, function in module.functions.items()}
        self._place(module.variables)
        for code in self.code.values():
            decode(code, self.code)
        self.kernels = {name: Kernel(self, code) for name, code in self.code.items() if code.function.kernel}

    def _allocate(self, variable: Variable) -> None:
        memory = np.zeros(variable.size + 256, np.uint8)
        start = -memory.ctypes.data % 256
        memory[start : start + len(variable.values)] = np.frombuffer(variable.values, np.uint8)
        self._owners.append(memory)
        variable.address = memory.ctypes.data + start
        self.globals.add(variable.address, variable.size)

    def _place(self, variables: Sequence[Variable]) -> None:
        """Shared memory of the module and of functions come first, then that of the kernel, and what a launch adds.

        Functions have their local memory likewise: none calls itself.
        """
        functions = [code for code in self.code.values() if not code.function.kernel]
        kernels = [code for code in self.code.values() if code.function.kernel]
        common = [variable for variable in variables if variable.space == "shared" and variable.size]
        shared = _place([*common, *(variable for code in functions for variable in code.memory("shared"))], 0)
        local = _place([variable for code in functions for variable in code.memory("local")], 0)
        for code in kernels:
            code.shared_bytes = _place(code.memory("shared"), shared)
            code.local_bytes = _place(code.memory("local"), local)
        self.dynamic = [variable for variable in variables if variable.space == "shared" and not variable.size]
        end = max((code.shared_bytes for code in kernels), default=0)
        for variable in self.dynamic:
            variable.address = end + -end % 16


def _place(variables: Sequence[Variable], start: int) -> int:
    for variable in variables:
        start += -start % max(variable.align, 1)
        variable.address = start
        start += variable.size
    return start


class Kernel:
    def __init__(self, program: Program, code: Code):
        self.program, self.code = program, code
        self.name = code.function.name
        self.parameters = [variable.size for variable in code.function.parameters]
        self.shared = code.shared_bytes

    def launch(
        self,
        memory: Memory,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        parameters: int,
        *,
        races: bool = True,
        dynamic_shared: int = 0,
    ) -> Traffic:
        """As `cuLaunchKernel`: `parameters` is the address of pointers to the values.

        Raises `PtxError` for what a GPU may punish, and `RaceError` unless `races` is false.
        """
        self._check(grid, block)
        launch = Launch(self, memory, grid, block, self._values(parameters), races, dynamic_shared)
        with np.errstate(all="ignore"):
            launch.run()
        return launch.traffic

    def _check(self, grid: tuple[int, int, int], block: tuple[int, int, int]) -> None:
        limits = self.code.function.limits
        most = prod(limits.get(".maxntid", [1024]))
        if min(*grid, *block) < 1 or prod(block) > most or prod(block) > 1024:
            raise PtxError(f"{self.name}: a grid of {grid} and blocks of {block}: at most {most} threads, at least one")
        required = limits.get(".reqntid")
        if required and tuple([*required, 1, 1][:3]) != tuple(block):
            raise PtxError(f"{self.name}: blocks of {block}, not {required}")

    def _values(self, parameters: int) -> dict[str, Array]:
        variables = self.code.function.parameters
        pointers = (ctypes.c_void_p * len(variables)).from_address(parameters) if variables else []
        values = {}
        for variable, pointer in zip(variables, pointers, strict=True):
            if not pointer:
                raise PtxError(f"{self.name}: no value for the parameter {variable.name}")
            data = ctypes.string_at(pointer, variable.size)
            values[variable.name] = np.frombuffer(data, np.uint8).reshape(1, -1)
        return values
