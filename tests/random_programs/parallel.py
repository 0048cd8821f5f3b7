"""Random programs of parallel loops and assignments of whole arrays, which run on a GPU: here on a simulated one.

They have what a GPU computes to the last bit without libdevice. An iteration writes its own rows alone.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hpacml.errors import CompileError
from hpacml.frontend.kernel import Kernel
from tests.frontend.kernels import kernel_of
from tests.random_programs.compare import REFUSALS, differ, outcome
from tests.random_programs.definitions import CONSTANTS, a_constant, annotation
from tests.random_programs.program import Arguments, Program
from tests.random_programs.scope import DTYPES, FLOATS, INTEGERS, Array, Helper, Scope
from tests.random_programs.statements import Statements
from tests.random_programs.terms import BINARY, UNARY
from tests.random_programs.writer import Writer
from tests.simulated_gpu import OnDevice, simulated

OF_LIBDEVICE = ("**", "//", "%", "hypot")
"""What floats have of CUDA's libdevice."""

OF_LOOPS = ("before the loop", "before this parallel loop", "differ between iterations")
"""Parts of messages about what docs/limits.md says of parallel loops."""


class Parallel(Statements):
    """Writes the statements of a kernel for a GPU."""

    unary = [each for each in UNARY if not any(part in each for part in OF_LIBDEVICE)]
    binary = [each for each in BINARY if not any(part in each for part in OF_LIBDEVICE)]
    inside = False
    """Whether this is in a parallel loop: elsewhere no element is read."""

    def integer(self, depth: int) -> tuple[str, int]:
        return super().integer(depth) if self.inside else Writer.integer(self, depth)

    def truth(self, depth: int) -> str:
        return super().truth(depth) if self.inside else Writer.truth(self, depth)

    def float(self, depth: int) -> str:
        rng = self.rng
        if depth <= 0 or rng.random() < 0.3:
            elements = self.inside and self.scope.with_elements("float64")
            literals = ["0.0", "(-0.0)", "0.1", "1e300", "WEIGHTS[1]", "SETTINGS.rate"]
            return (
                self.element("float64", depth)
                if elements and rng.random() < 0.4
                else rng.choice([*literals, *self.scope.floats])
            )
        a, b = self.float(depth - 1), self.float(depth - 1)
        kinds = [
            f"({a} {rng.choice('+-*')} {b})",
            f"abs({a})",
            f"math.sqrt(abs({a}))",
            f"(np.maximum({a}, {b}) + 0.0)",
            f"(min({a}, {b}) + 0.0)",
        ]
        return rng.choice([*kinds, f"({a} if {self.truth(depth - 1)} else {b})", f"float({self.small(1, 100)})"])

    def strong(self, dtype: str, depth: int) -> str:
        if dtype in INTEGERS and self.inside:
            return super().strong(dtype, depth)
        if dtype == "bool":
            return f"np.bool_({self.truth(0)})"
        value = self.float(1) if dtype in FLOATS else f"({self.small(1, 2**40)} % 100)"
        return f"np.{dtype}({value})"

    def helper(self, result: str) -> Helper | None:
        return None

    def whole(self) -> None:
        """Assign a part of an array outside of parallel loops."""
        self.assign_part(1)

    def loop(self) -> None:
        """A parallel loop over the first dimension of some arrays, of each of which it writes a row."""
        rng, outside = self.rng, self.scope
        size = rng.choice([array.shape[0] for array in outside.arrays.values() if array.writable])
        alike = [name for name, array in outside.arrays.items() if array.writable and array.shape[0] == size]
        written = rng.sample(alike, rng.randint(1, len(alike)))
        index = self.new("i")
        self.line(1, f"for {index} in {rng.choice(['hpacml.prange', 'prange'])}(len({written[0]})):")
        self.scope, self.inside = outside.inner(), True
        self.scope.arrays = {n: replace(a, writable=False) for n, a in outside.arrays.items() if n not in written}
        self.scope.integers[index] = 64
        self.scope.fixed |= {index, *self.scope.floats, *self.scope.integers, *self.scope.bools}
        self.declare(index, {name: outside.arrays[name] for name in written})
        for _ in range(rng.choice([2, 3, 4])):
            self.statement(2, 1, 0)
        self.scope, self.inside = outside, False

    def declare(self, index: str, written: dict[str, Array]) -> None:
        """Give names to the variables and the rows of an iteration."""
        y = self.new("y")
        self.line(2, f"{y} = {self.float(0)}")
        for name, array in written.items():
            if len(array.shape) == 1:
                value = self.strong(array.dtype, 2) if array.dtype != "float64" else self.float(2)
                self.line(2, f"{name}[{index}] = {value}")
            else:
                row = self.new("v")
                self.line(2, f"{row} = {name}[{index}]")
                self.scope.arrays[row] = replace(array, shape=array.shape[1:])
        self.scope.floats.append(y)

    def statement(self, indent: int, depth: int, loops: int) -> None:
        simple = [self.assign, self.store, *[self.assign_part] * 4, *[self.name_array] * 2]
        if depth and self.rng.random() < 0.3:
            self.rng.choice([self.branch, self.over_arrays, self.over_indices])(indent, depth, 2)
        else:
            self.rng.choice(simple)(indent)


def parallel_program(seed: int) -> Program:
    """The program of a seed for a GPU."""
    rng = random.Random(seed)
    dims = ["N", "N M", "N M", "M N", "N N", "N M K"]
    arrays = {name: f"{rng.choice(['float64', *DTYPES])} {rng.choice(dims)}" for name in "abc"[: rng.choice([1, 2, 3])]}
    parameters = {**arrays, "n": "int", "x": "float", "use": "bool"}
    scope, parts = Scope(), [CONSTANTS]
    if rng.random() < 0.4:
        text, scope.arrays["TABLE"] = a_constant(rng, "TABLE")
        parts.append(text)
    for name, what in parameters.items():
        scope.add_parameter(name, what)
    writer = Parallel(rng, scope, [])
    writer.line(
        0, f"@hpacml.kernel\ndef f({', '.join(f'{name}: {annotation(what)}' for name, what in parameters.items())}):"
    )
    for _ in range(rng.choice([1, 2, 3])):
        rng.choice([writer.whole, writer.loop, writer.loop])()
    writer.line(1, "pass")
    return Program("\n\n".join([*parts, "\n".join(writer.lines)]), parameters, seed)


def difference_on_gpu(program: Program, calls: int, tally: Counter[str]) -> str | None:
    """What a kernel leaves otherwise on the simulated GPU than Python, None if nothing."""
    kernel = kernel_of(program.text)
    with pytest.MonkeyPatch.context() as patch, simulated(patch) as (device,):
        there = Kernel(kernel.py_func)
        for number in range(calls):
            ours, theirs = (Arguments(program.seed, number, {}, False).of(program.parameters) for _ in range(2))
            given = {name: OnDevice(v, device) if isinstance(v, np.ndarray) else v for name, v in ours.items()}
            _, error = outcome(kernel.py_func, theirs, 0)
            _, raised = outcome(there, given, 0)
            if isinstance(raised, CompileError):
                tally["refused"] += 1
                return None if any(part in str(raised) for part in (*REFUSALS, *OF_LOOPS)) else f"refused: {raised}"
            if error is not None or raised is not None:
                tally["raised"] += 1
                if error is None:
                    return f"call {number} raises {raised!r}"
                continue
            tally["compared"] += 1
            if (found := differ(tuple(ours.values()), tuple(theirs.values()))) is not None:
                return f"call {number} leaves {found}"
    return None
