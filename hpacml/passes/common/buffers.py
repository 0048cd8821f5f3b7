"""The memory of tensors, by operations of `bufferization`, which upstream MLIR resolves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from xdsl.dialects import func, memref, tensor
from xdsl.dialects.bufferization import MaterializeInDestinationOp, ToBufferOp, ToTensorOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, FunctionType, MemRefType, NoneAttr, TensorType, UnitAttr
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from hpacml.passes.common.located import Builder, Rewriter, located, refusal


def buffer_type(type: Attribute) -> Attribute:
    """The type of the memory of a tensor, packed in C order; any other type is its own."""
    if not isinstance(type, TensorType):
        return type
    dense = cast("TensorType[Attribute]", type)
    return MemRefType(dense.element_type, dense.shape)


def as_tensor(memory: SSAValue, builder: Builder, *, writable: bool = False) -> SSAValue:
    """The tensor that memory holds, which nothing else writes while the tensor is used."""
    return builder.insert(ToTensorOp(memory, restrict=True, writable=writable)).tensor


def readable(value: SSAValue, builder: Builder) -> SSAValue:
    """Memory with the elements of a tensor, which nobody may write."""
    _require_dense(value)
    op = ToBufferOp.build(
        operands=[value], result_types=[buffer_type(value.type)], properties={"read_only": UnitAttr()}
    )
    op.memref.name_hint = value.name_hint
    return builder.insert(op).memref


def copied(value: SSAValue, builder: Builder) -> SSAValue:
    """New memory with the elements of a tensor."""
    _require_dense(value)
    type = cast("MemRefType", buffer_type(value.type))
    sizes = [
        builder.insert(tensor.DimOp(value, builder.index(number))).result
        for number, size in enumerate(type.get_shape())
        if size == DYNAMIC_INDEX
    ]
    memory = builder.insert(memref.AllocOp(sizes, [], type)).memref
    memory.name_hint = value.name_hint
    fill(memory, value, builder)
    return memory


def fill(memory: SSAValue, value: SSAValue, builder: Builder) -> None:
    """Write the elements of a tensor to memory of its own."""
    properties: dict[str, Attribute] = {"restrict": UnitAttr(), "writable": UnitAttr()}
    builder.insert(MaterializeInDestinationOp.build(operands=[value, memory], result_types=[[]], properties=properties))


def memory_of(value: SSAValue, user: Operation) -> SSAValue | None:
    """The memory of a tensor that is made of memory of its own in the block of `user`, else None."""
    op = value.owner
    if isinstance(op, ToTensorOp) and op.writable is not None and op.parent is user.parent:
        return op.memref
    return None


def bufferize_call(call: func.CallOp) -> None:
    """Have a call pass and get memory in the place of tensors."""
    if not _has_tensors([*call.operands, *call.results]):
        return
    builder = Builder(InsertPoint.before(call))
    given = [readable(each, builder) if _is_tensor(each.type) else each for each in call.arguments]
    made = builder.insert(
        located(func.CallOp(call.callee, given, [buffer_type(each) for each in call.result_types]), call)
    )
    results = [
        as_tensor(new, builder, writable=True) if _is_tensor(old.type) else new
        for old, new in zip(call.results, made.results, strict=True)
    ]
    Rewriter.replace_op(call, [], results)


def bufferize_function(function: func.FuncOp) -> None:
    """Have a function get and give memory in the place of tensors: what it gives is new."""
    type = function.function_type
    if not any(map(_is_tensor, (*type.inputs, *type.outputs))):
        return
    inputs, outputs = ([buffer_type(each) for each in types] for types in (type.inputs, type.outputs))
    function.function_type = FunctionType.from_lists(inputs, outputs)
    if function.is_declaration:
        return
    block = function.body.blocks[0]
    # Memory that is given as such may be that of a tensor, too, and be written before the tensor is read.
    shared = any(isinstance(each, MemRefType) for each in type.inputs)
    for argument in list(block.args):
        if _is_tensor(argument.type):
            memory = block.insert_arg(buffer_type(argument.type), argument.index)
            memory.name_hint = argument.name_hint
            builder = Builder(InsertPoint.at_start(block), function)
            value = as_tensor(memory, builder)
            if shared:
                value = as_tensor(copied(value, builder), builder, writable=True)
            argument.replace_all_uses_with(value)
            block.erase_arg(argument)
    for end in [each for each in function.walk() if isinstance(each, func.ReturnOp)]:
        builder = Builder(InsertPoint.before(end))
        for number, value in enumerate(end.operands):
            if _is_tensor(value.type):
                end.operands[number] = _given(value, end, builder)


def _given(value: SSAValue, end: func.ReturnOp, builder: Builder) -> SSAValue:
    """New memory with the elements of a tensor that is returned: its own, if nothing else has that."""
    memory = memory_of(value, end) if value.has_one_use() else None
    if memory is None or not isinstance(memory.owner, memref.AllocOp):
        return copied(value, builder)
    return memory


def _is_tensor(type: Attribute) -> bool:
    return isinstance(type, TensorType)


def _has_tensors(values: Iterable[SSAValue]) -> bool:
    return any(_is_tensor(value.type) for value in values)


def _require_dense(value: SSAValue) -> None:
    type = cast("TensorType[Attribute]", value.type)
    if not isinstance(type.encoding, NoneAttr):
        raise refusal(value.owner, f"a tensor of the type {type} has an encoding, and arrays are dense: give it none")
