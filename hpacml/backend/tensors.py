"""Upstream MLIR finds memory for tensors, and where it is freed."""

from __future__ import annotations

from typing import Any

from hpacml.pipelines import MLIR_BUFFERIZATION


def bufferize(ir: Any, passmanager: Any, module: Any) -> None:
    """Have a module, in the context that is entered, work on memory in place of tensors. Raises MLIR's errors.

    `ir` and `passmanager` are MLIR's. It says where all memory of the module is freed, or nothing at all.
    """
    for op in _named(ir, module, "memref.dealloc"):
        op.erase()
    passmanager.PassManager.parse(MLIR_BUFFERIZATION).run(module)
    for op in _named(ir, module, "bufferization.dealloc"):
        with ir.InsertionPoint(op), op.location:
            _Freeing(ir, op).lower()
    passmanager.PassManager.parse("builtin.module(convert-bufferization-to-memref)").run(module)  # it knows copies


def _named(ir: Any, module: Any, name: str) -> list[Any]:
    found: list[Any] = []

    def look(operation: Any) -> Any:
        if operation.name == name:
            found.append(operation)
        return ir.WalkResult.ADVANCE

    module.walk(look)
    return found


class _Freeing:
    """A `bufferization.dealloc`, which frees memory under conditions, once, and not if it is among what is retained.

    MLIR's own lowering asks a function with arrays of bits, which its lowering to LLVM does not take.
    """

    def __init__(self, ir: Any, op: Any):
        self._ir, self._op = ir, op
        memory, conditions, _ = list(ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]))
        operands = list(op.operands)
        self._memory, self._conditions = operands[:memory], operands[memory : memory + conditions]
        self._retained = [self._address(each) for each in operands[memory + conditions :]]
        self._bit = ir.IntegerType.get_signless(1)

    def lower(self) -> None:
        addresses = [self._address(each) for each in self._memory]
        freed: list[tuple[Any, Any]] = []
        for memory, address, condition in zip(self._memory, addresses, self._conditions, strict=True):
            given = condition
            for kept in self._retained:
                given = self._unless(self._is_same(address, kept), given)
            for before, condition_before in freed:
                given = self._unless(self._both(self._is_same(address, before), condition_before), given)
            freed.append((address, given))
            self._free(memory, given)
        for result, kept in zip(self._op.results, self._retained, strict=True):
            owned = self._constant(0)
            for address, condition in zip(addresses, self._conditions, strict=True):
                same = self._both(condition, self._is_same(address, kept))
                owned = self._make("arith.ori", [owned, same], self._bit)
            result.replace_all_uses_with(owned)
        self._op.erase()

    def _address(self, memory: Any) -> Any:
        return self._make("memref.extract_aligned_pointer_as_index", [memory], self._ir.IndexType.get())

    def _is_same(self, one: Any, other: Any) -> Any:
        equal = self._ir.IntegerAttr.get(self._ir.IntegerType.get_signless(64), 0)
        return self._make("arith.cmpi", [one, other], self._bit, predicate=equal)

    def _both(self, one: Any, other: Any) -> Any:
        return self._make("arith.andi", [one, other], self._bit)

    def _unless(self, refused: Any, condition: Any) -> Any:
        allowed = self._make("arith.xori", [refused, self._constant(1)], self._bit)
        return self._both(condition, allowed)

    def _constant(self, bit: int) -> Any:
        return self._make("arith.constant", [], self._bit, value=self._ir.IntegerAttr.get(self._bit, bit))

    def _free(self, memory: Any, condition: Any) -> None:
        choice = self._ir.Operation.create("scf.if", operands=[condition], regions=2)
        with self._ir.InsertionPoint(choice.regions[0].blocks.append()):
            self._ir.Operation.create("memref.dealloc", operands=[memory])
            self._ir.Operation.create("scf.yield")

    def _make(self, name: str, operands: list[Any], result: Any, **attributes: Any) -> Any:
        return self._ir.Operation.create(name, [result], operands, attributes).result
