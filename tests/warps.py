"""Which memory the warps of a kernel touch: its IR, interpreted without data, for the threads of one block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from xdsl.dialects import arith, func, gpu, memref, scf, vector
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType, ModuleOp, VectorType
from xdsl.ir import Operation, SSAValue

from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.passes.launches import WORKGROUP
from hpacml.runtime.memref import DTYPE_SIZES

SECTOR = 32
"""Bytes of memory that come and go together."""

WARP = 32


@dataclass(frozen=True)
class Memory:
    """An array at an address; strides and offset in elements."""

    address: int
    offset: int
    sizes: Sequence[int]
    strides: Sequence[int]


@dataclass
class Traffic:
    """Bytes that threads ask for, and bytes of the sectors that these are in."""

    asked: int = 0
    moved: int = 0

    @property
    def efficiency(self) -> float:
        return self.asked / self.moved


BINARY = {
    arith.AddiOp: lambda x, y: x + y,
    arith.SubiOp: lambda x, y: x - y,
    arith.MuliOp: lambda x, y: x * y,
    arith.DivUIOp: lambda x, y: x // y,
    arith.RemUIOp: lambda x, y: x % y,
    arith.CeilDivUIOp: lambda x, y: -(-x // y),
    arith.MaxSIOp: max,
    arith.MinUIOp: min,
    arith.AndIOp: lambda x, y: x & y,
    arith.OrIOp: lambda x, y: x | y,
}
COMPARISONS = {
    "eq": lambda x, y: x == y,
    "sle": lambda x, y: x <= y,
    "ult": lambda x, y: x < y,
}


class Interpreter:
    """Runs the one function of a module on arrays of these addresses and sizes, in C order, and on integers.

    What is loaded is 0. Of each launch, block `block` runs; barriers need nothing, since data does not matter.
    """

    def __init__(self, module: ModuleOp, block: int):
        self.function = next(op for op in module.body.block.ops if isinstance(op, func.FuncOp))
        self.block = block
        self.loads, self.stores = Traffic(), Traffic()

    def run(self, *arguments: Memory | int) -> None:
        self.values: dict[SSAValue, Any] = dict(zip(self.function.body.block.args, arguments, strict=True))
        self.accesses: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        self.thread, self.times = 0, defaultdict[Operation, Any](count)
        self._block(self.function.body.block.ops)

    def _block(self, ops: Iterable[Operation]) -> None:
        for op in ops:
            self._run(op)

    def _run(self, op: Operation) -> None:
        operands = [self.values.get(value) for value in op.operands]
        result: Any = 0
        match op:
            case gpu.LaunchOp():
                self._launch(op)
            case scf.ForOp():
                for n in range(*operands[:3]):
                    self.values[op.body.block.args[0]] = n
                    self._block(op.body.block.ops)
            case scf.IfOp():
                region = op.true_region if operands[0] else op.false_region
                self._block(region.block.ops if region.blocks else ())
            case arith.ConstantOp():
                result = op.value.value.data if isinstance(op.value, IntegerAttr) else 0
            case arith.CmpiOp():
                name = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult")[op.predicate.value.data]
                result = COMPARISONS[name](*operands)
            case arith.SelectOp():
                result = operands[1] if operands[0] else operands[2]
            case memref.DimOp():
                result = operands[0].sizes[operands[1]]
            case memref.ExtractStridedMetaDataOp():
                memory = operands[0]
                self.values.update(
                    zip(op.results, [memory, memory.offset, *memory.sizes, *memory.strides], strict=True)
                )
                return
            case memref.ExtractAlignedPointerAsIndexOp():
                result = operands[0].address
            case memref.ReinterpretCastOp():
                result = Memory(
                    operands[0].address,
                    self._given(op.static_offsets, op.offsets)[0],
                    self._given(op.static_sizes, op.sizes),
                    self._given(op.static_strides, op.strides),
                )
            case memref.LoadOp():
                self._access(op, op.memref, op.indices)
            case memref.StoreOp():
                self._access(op, op.memref, op.indices)
            case vector.LoadOp():
                self._access(op, op.base, op.indices, op.result.type)
            case vector.StoreOp():
                self._access(op, op.base, op.indices, op.vector.type)
            case _ if type(op) in BINARY:
                result = BINARY[type(op)](*operands)
            case _:
                pass
        if op.results:
            self.values[op.results[0]] = result

    def _given(self, static: Any, values: Sequence[SSAValue]) -> list[int]:
        operands = iter(values)
        return [self.values[next(operands)] if n == DYNAMIC_INDEX else n for n in static.get_values()]

    def _launch(self, op: gpu.LaunchOp) -> None:
        threads = self.values[op.blockSizeX]
        for self.thread in range(threads):
            self.times.clear()
            ids = (self.block, 0, 0, self.thread, 0, 0, self.values[op.gridSizeX], 1, 1, threads, 1, 1)
            self.values.update(zip(op.body.block.args, ids, strict=True))
            self._block(op.body.block.ops)
        for (access, _, _), touched in self.accesses.items():
            traffic = self.loads if isinstance(access, memref.LoadOp | vector.LoadOp) else self.stores
            sectors = {byte // SECTOR for start, size in touched for byte in (start, start + size - 1)}
            traffic.asked += sum(size for _, size in touched)
            traffic.moved += SECTOR * len(sectors)

    def _access(
        self, op: Operation, array: SSAValue, indices: Sequence[SSAValue], wide: VectorType | None = None
    ) -> None:
        """A thread's access: those of a warp that come at the same time are one."""
        array_type = array.type
        assert isinstance(array_type, MemRefType)
        if array_type.memory_space == WORKGROUP:
            return
        memory, size = self.values[array], DTYPE_SIZES[dtype_name(array_type.element_type)]
        place = [self.values[index] for index in indices]
        element = memory.offset + sum(i * s for i, s in zip(place, memory.strides, strict=True))
        width = size if wide is None else size * wide.get_shape()[0]
        key = op, next(self.times[op]), self.thread // WARP
        self.accesses[key].append((memory.address + size * element, width))


def c_order(address: int, *sizes: int) -> Memory:
    strides = [1]
    for size in reversed(sizes[1:]):
        strides.insert(0, strides[0] * size)
    return Memory(address, 0, sizes, strides)
