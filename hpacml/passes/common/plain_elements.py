"""Integers in memory as upstream MLIR has them: without a sign, and a bool as a byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    FunctionType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    TensorType,
    UnrealizedConversionCastOp,
    VectorType,
    i1,
    i8,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import number_type
from hpacml.passes.common.located import Builder, Rewriter


def plain_elements(module: ModuleOp) -> None:
    """Take the signs from integers in memory, and store bools as bytes, of which those that are not 0 are true.

    What a sign means, operations have said by now.
    """
    if not any(_is_told(value) for value in _values(module)):
        return
    for value in list(_values(module)):
        if (plain := _plain(value.type)) != value.type:
            Rewriter.replace_value_with_new_type(value, plain)
    for op in list(module.walk()):
        for attributes in (op.properties, op.attributes):
            attributes.update({name: _plain(attribute) for name, attribute in attributes.items()})
        match op:
            case memref.GlobalOp(initial_value=DenseIntOrFPElementsAttr() as elements):
                op.initial_value = _plain_constants(elements)
            case memref.LoadOp() if op.res.type == i1:
                _load(op)
            case memref.StoreOp() if op.value.type == i1:
                _store(op)
            case UnrealizedConversionCastOp() if [v.type for v in op.operands] == [v.type for v in op.results]:
                Rewriter.replace_op(op, [], list(op.operands))
            case _:
                pass


def _is_told(value: SSAValue) -> bool:
    """Whether it is memory whose type tells more than upstream MLIR stores."""
    type: Attribute = value.type
    return isinstance(type, MemRefType) and _plain(value.type) != value.type


def _values(module: Operation) -> Iterator[SSAValue]:
    for op in module.walk():
        yield from op.results
        for region in op.regions:
            for block in region.blocks:
                yield from block.args


def _plain(type: Attribute) -> Attribute:
    if isinstance(type, MemRefType):
        memory = cast("MemRefType[Attribute]", type)
        element_type = i8 if memory.element_type == i1 else number_type(memory.element_type)
        return MemRefType(element_type, memory.shape, memory.layout, memory.memory_space)
    if isinstance(type, VectorType):
        vector = cast("VectorType[Attribute]", type)
        return VectorType(number_type(vector.element_type), vector.shape, vector.scalable_dims)
    if isinstance(type, FunctionType):
        inputs, outputs = (ArrayAttr(map(_plain, types)) for types in (type.inputs, type.outputs))
        return FunctionType(inputs, outputs)
    return number_type(type)


def _plain_constants(elements: DenseIntOrFPElementsAttr) -> DenseIntOrFPElementsAttr:
    type = elements.type
    plain = i8 if type.element_type == i1 else number_type(type.element_type)
    if plain == type.element_type:
        return elements
    from_list: Any = DenseIntOrFPElementsAttr.from_list  # its overloads know no type that is an Attribute
    return from_list(TensorType(plain, type.get_shape()), list(map(int, cast("Iterable[int]", elements.get_values()))))


def _load(op: memref.LoadOp) -> None:
    builder = Builder(InsertPoint.before(op))
    loaded = builder.insert(memref.LoadOp.get(op.memref, op.indices)).res
    zero = builder.insert(arith.ConstantOp(IntegerAttr(0, i8))).result
    Rewriter.replace_op(op, arith.CmpiOp(loaded, zero, "ne"))


def _store(op: memref.StoreOp) -> None:
    builder = Builder(InsertPoint.before(op))
    byte = builder.insert(arith.ExtUIOp(op.value, i8)).result
    Rewriter.replace_op(op, memref.StoreOp.get(byte, op.memref, op.indices))
