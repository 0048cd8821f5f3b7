"""`hpacml-bufferize`: regions and functions on tensors become regions and functions on memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.control import MlOp, tensors_of
from hpacml.passes.common.buffers import (
    as_tensor,
    bufferize_call,
    bufferize_function,
    copied,
    fill,
    memory_of,
    readable,
)
from hpacml.passes.common.located import Builder, Rewriter, refusal
from hpacml.passes.common.mappings import map_of
from hpacml.passes.common.regions import captured


@dataclass(frozen=True)
class HpacmlBufferizePass(ModulePass):
    """
    Maps of tensors become maps of memory. What a region writes is a copy of its tensor, or its memory if that is a
    region's result which nothing else uses. Functions get arrays and give new ones.

    ```mlir
    func.func @step(%t: tensor<?xf64>) -> tensor<?xf64> {
      %in = hpacml.map to @sides(%t[1 : %n]) : tensor<?xf64> -> ...
      %out = hpacml.map from @point(%t[1 : %n]) : tensor<?xf64> -> ...
      %new = hpacml.ml collect in(%in) out(%out) label "r" -> tensor<?xf64> {
        ...
        hpacml.yield %next : tensor<?xf64>
      }
      func.return %new : tensor<?xf64>
    }
    ```
    becomes
    ```mlir
    func.func @step(%t: memref<?xf64>) -> memref<?xf64> {
      ...                                   // %own: new memory with the elements of %t
      %in = hpacml.map to @sides(%t[1 : %n]) : memref<?xf64> -> ...
      %out = hpacml.map from @point(%own[1 : %n]) : memref<?xf64> -> ...
      hpacml.ml collect in(%in) out(%out) label "r" {
        ...
        bufferization.materialize_in_destination %next in restrict writable %own
      }
      func.return %own : memref<?xf64>
    }
    ```
    What other operations do with tensors, in the original code and around it, stays: upstream MLIR's
    `one-shot-bufferize` lowers it, before our passes or behind them. It is in no pipeline: `hpacml.compile` runs it
    first.
    """

    name = "hpacml-bufferize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for each in [each for each in op.walk() if isinstance(each, MlOp)]:
            _bufferize_region(each)
        for each in [each for each in op.walk() if isinstance(each, MapOp)]:
            _bufferize_map(each)
        for each in [each for each in op.walk() if isinstance(each, func.CallOp)]:
            bufferize_call(each)
        for each in [each for each in op.walk() if isinstance(each, func.FuncOp)]:
            bufferize_function(each)


def _bufferize_region(region: MlOp) -> None:
    mappings = [*region.all_inputs, *region.all_outputs]
    captures = [value for value in captured(region.body) if isinstance(value.type, TensorType)]
    if not captures and not any(_is_of_tensors(map_of(mapping, region)) for mapping in mappings):
        return
    builder = Builder(InsertPoint.before(region))
    memory = partial(readable, builder=builder)
    own = {tensor: _own_memory(tensor, region, builder) for tensor in tensors_of(region.all_outputs)}
    for mapping in dict.fromkeys(mappings):
        _map_memory(mapping, region, own, builder)
    inner = Builder(InsertPoint.at_start(region.body.block), region)
    for value in captures:
        inside = as_tensor(memory(value), inner)
        value.replace_uses_with_if(inside, lambda use: region.body.is_ancestor(use.operation))
    end = region.body.block.last_op
    for made, target in zip(region.yields, own.values(), strict=True):
        fill(target, made, Builder(InsertPoint.before(end)) if end is not None else inner)
    if region.yields and end is not None:
        Rewriter.erase_op(end)
    _drop_results(region, list(own.values()))


def _drop_results(region: MlOp, memory: list[SSAValue]) -> None:
    """Replace a region by one without results, which are the memory that it has written."""
    given = region.but(region.detach_region(region.body), written=[])
    Rewriter.insert_op(given, InsertPoint.before(region))
    behind = Builder(InsertPoint.before(region))
    results = [as_tensor(each, behind, writable=True) for each in memory]
    for old, new in zip(region.written, results, strict=True):
        new.name_hint = old.name_hint
    Rewriter.replace_op(region, [], results)


def _own_memory(tensor: SSAValue, region: MlOp, builder: Builder) -> SSAValue:
    """The memory that a region writes in the place of a tensor."""
    mapped = {map_of(mapping, region) for mapping in (*region.all_inputs, *region.all_outputs)}
    elsewhere = any(
        use.operation not in mapped or any(user.operation is not region for user in use.operation.results[0].uses)
        for use in tensor.uses
    )
    found = None if elsewhere else memory_of(tensor, region)
    return copied(tensor, builder) if found is None else found


def _map_memory(mapping: SSAValue, region: MlOp, own: dict[SSAValue, SSAValue], builder: Builder) -> None:
    """Give a region a map of memory in the place of one of tensors."""
    op = map_of(mapping, region)
    if not _is_of_tensors(op):
        return
    writes = op.direction.data is not Direction.To and mapping in region.all_outputs
    given = op.clone()
    for number, array in enumerate(op.arrays):
        if isinstance(array.type, TensorType):
            written = writes and number in op.holding_elements
            # Memory of its own is read, too, where nothing else has the tensor: it is the only one then.
            in_place = memory_of(array, region) is own.get(array)
            given.operands[number] = own[array] if written or (array in own and in_place) else readable(array, builder)
    builder.insert(given)
    given.mapping.name_hint = mapping.name_hint
    mapping.replace_uses_with_if(given.mapping, lambda use: use.operation is region)
    if not mapping.uses:
        Rewriter.erase_op(op)


def _bufferize_map(op: MapOp) -> None:
    """Have what is gathered alone come from the memory of a tensor."""
    if not _is_of_tensors(op):
        return
    if op.direction.data is not Direction.To:
        raise refusal(op, f"{op.applied} writes a tensor, which only a region gives anew: scatter into memory")
    builder = Builder(InsertPoint.before(op))
    for number, array in enumerate(op.arrays):
        if isinstance(array.type, TensorType):
            op.operands[number] = readable(array, builder)


def _is_of_tensors(op: MapOp) -> bool:
    return any(isinstance(array.type, TensorType) for array in op.arrays)
