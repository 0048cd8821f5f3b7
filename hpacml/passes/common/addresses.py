"""What calls of the runtime get by address: numbers and descriptors that lie on the stack of the function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import arith, func, llvm, memref
from xdsl.dialects.builtin import (
    DenseArrayBase,
    IntegerAttr,
    MemRefType,
    NoneAttr,
    UnrealizedConversionCastOp,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.common.runtime_calls import POINTER, descriptor_type


def stack(op: Operation, element_type: Attribute, count: int) -> SSAValue:
    """Allocate `count` elements on the stack of the enclosing function, once, at its start."""
    function = op.parent_op()
    while function is not None and not isinstance(function, func.FuncOp):
        function = function.parent_op()
    if function is None:
        raise refusal(op, f"expected {op.name} inside a function")
    builder = Builder(InsertPoint.at_start(function.body.blocks[0]), op)
    size = builder.insert(arith.ConstantOp(IntegerAttr(count, i32))).result
    return builder.insert(llvm.AllocaOp(size, element_type, 8)).res


def store(value: SSAValue, base: SSAValue, position: int, element_type: Attribute, builder: Builder) -> None:
    place = builder.insert(llvm.GEPOp(base, [position], element_type)).result
    builder.insert(llvm.StoreOp(value, place))


def load(base: SSAValue, position: int, element_type: Attribute, builder: Builder) -> SSAValue:
    place = builder.insert(llvm.GEPOp(base, [position], element_type)).result
    return builder.insert(llvm.LoadOp(place, element_type)).dereferenced_value


def words(numbers: Sequence[SSAValue], op: Operation, builder: Builder) -> SSAValue:
    """Store 64-bit integers in an array on the stack; its address."""
    array = stack(op, i64, max(1, len(numbers)))
    for position, number in enumerate(numbers):
        store(number, array, position, i64, builder)
    return array


def descriptors(tensors: Sequence[SSAValue], op: Operation, builder: Builder) -> SSAValue:
    """Store pointers to memref descriptors in an array on the stack; its address, null without tensors."""
    if not tensors:
        return builder.insert(llvm.ZeroOp.build(result_types=[POINTER])).res
    return pointers([descriptor(tensor, op, builder) for tensor in tensors], op, builder)


def pointers(rooms: Sequence[SSAValue], op: Operation, builder: Builder) -> SSAValue:
    """Store pointers in an array on the stack; its address."""
    array = stack(op, POINTER, len(rooms))
    for position, room in enumerate(rooms):
        store(room, array, position, POINTER, builder)
    return array


def descriptor(tensor: SSAValue, op: Operation, builder: Builder) -> SSAValue:
    """Store a memref descriptor on the stack; its address."""
    tensor_type = cast(MemRefType, tensor.type)
    if not isinstance(tensor_type.memory_space, NoneAttr):
        generic = memref.MemorySpaceCastOp.from_type_and_target_space(tensor, tensor_type, NoneAttr())
        tensor = builder.insert(generic).dest
    struct = descriptor_type(tensor_type.get_num_dims())
    return kept(builder.insert(UnrealizedConversionCastOp.get([tensor], [struct])).results[0], op, builder)


def kept(value: SSAValue, op: Operation, builder: Builder) -> SSAValue:
    """Store a value on the stack; its address."""
    room = stack(op, value.type, 1)
    builder.insert(llvm.StoreOp(value, room))
    return room


def memory_at(address: SSAValue, type: MemRefType, builder: Builder) -> SSAValue:
    """The one-dimensional memref at an address."""
    pointer = builder.insert(llvm.IntToPtrOp(address)).output
    numbers = 0, type.get_shape()[0], 1
    offset, size, stride = (builder.insert(arith.ConstantOp(IntegerAttr(n, i64))).result for n in numbers)
    found: SSAValue = builder.insert(llvm.UndefOp(descriptor_type(1))).res
    for place, value in ([0], pointer), ([1], pointer), ([2], offset), ([3, 0], size), ([4, 0], stride):
        position = DenseArrayBase.from_list(i64, place)
        found = builder.insert(llvm.InsertValueOp(position, found, value)).res
    return builder.insert(UnrealizedConversionCastOp.get([found], [type])).results[0]
