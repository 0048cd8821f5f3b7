"""`hpacml-offer-views`: before an inference gathers, compiled code of its network may take the views themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

from xdsl.context import Context
from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, IntegerAttr, MemRefType, ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import Pure

from hpacml.dialects.hpacml.packing import PackOp, UnpackOp, adds, view_type
from hpacml.dialects.hpacml.steps import InferOnViewsOp, InferOp
from hpacml.passes.common.inferences import success
from hpacml.passes.common.located import Builder


@dataclass(frozen=True)
class HpacmlOfferViewsPass(ModulePass):
    """
    An inference of one tensor, packed of strided views, and unpacked to some, is asked for on the views first.

    ```mlir
    %x = memref.alloc(%n) : memref<?x2xf32>
    hpacml.pack %west into %x at %c0 features [1] ...
    hpacml.pack %east into %x at %c1 features [1] ...
    %y = memref.alloc(%n) : memref<?x1xf32>
    %done = hpacml.infer "r" model "m.pt2" ins(%x : memref<?x2xf32>) outs(%y : memref<?x1xf32>)
    scf.if %done {
      hpacml.unpack %centre from %y at %c0 features [1] ...
    }
    ```
    becomes
    ```mlir
    %on_views = hpacml.infer_on_views "r" model "m.pt2" tensors [memref<?x2xf32>, memref<?x1xf32>]
      ins(%west, %east : ...) outs(%centre : ...)
    scf.if %on_views {
    } else {
      ...  // as before
    }
    ```
    Both tensors have the same sweep, and their features in the last dimension. What measures itself stays as it is,
    and so do inferences that Torch is to compute, and views through indices and of other elements than the tensor.
    """

    name = "hpacml-offer-views"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for infer in [each for each in op.walk() if isinstance(each, InferOp)]:
            if (found := _Inference.of(infer)) is not None:
                found.offer()


@dataclass(frozen=True)
class _Inference:
    """An inference, its views, and the operations of its block that belong to it, one behind the other."""

    op: InferOp
    inputs: Sequence[SSAValue]
    outputs: Sequence[SSAValue]
    ops: Sequence[Operation]

    @staticmethod
    def of(op: InferOp) -> _Inference | None:
        """The inference, None if it cannot be on views."""
        if len(op.inputs) != 1 or len(op.outputs) != 1 or op.parent is None:
            return None
        if op.engine is not None and op.engine.data == "torch":
            return None
        (x,), (y,) = op.inputs, op.outputs
        if cast(MemRefType, x.type).get_num_dims() != cast(MemRefType, y.type).get_num_dims():
            return None  # the network makes one point of many, or many of one
        packs, unpacks = _copies(x, PackOp), _copies(y, UnpackOp)
        if not packs or not unpacks or any(pack.parent is not op.parent for pack in packs):
            return None
        if not all(_is_written_if_done(unpack, op) for unpack in unpacks):
            return None
        own = [cast(Operation, x.owner), cast(Operation, y.owner), *(use.operation for use in (*x.uses, *y.uses))]
        within = [each for each in map(op.parent.find_ancestor_op_in_block, own) if each is not None]
        places = [op.parent.get_operation_index(each) for each in within]
        ops = list(op.parent.ops)[min(places) : max(places) + 1]
        inputs, outputs = ([copy.view for copy in copies] for copies in (packs, unpacks))
        inside = {result for each in ops for result in each.results}
        if not inside.isdisjoint((*inputs, *outputs)) or _are_used_behind(ops):
            return None
        if not all(each in within or each.has_trait(Pure) for each in ops):
            return None  # the measurements of a report, or what somebody has put in between
        return _Inference(op, inputs, outputs, ops)

    def offer(self) -> None:
        """Ask for the inference on views in front of it, and let it follow where that is refused."""
        builder = Builder(InsertPoint.before(self.ops[0]), self.op)
        on_views = builder.insert(InferOnViewsOp(self.op, self.inputs, self.outputs)).done
        on_views.name_hint = "on_views"
        otherwise = Block()
        builder.insert(scf.IfOp(on_views, [], Region(Block([scf.YieldOp()])), Region(otherwise)))
        for each in self.ops:
            each.detach()
            otherwise.add_op(each)
        otherwise.add_op(scf.YieldOp())


def _copies(tensor: SSAValue, kind: type[PackOp] | type[UnpackOp]) -> list[PackOp | UnpackOp] | None:
    """The copies between views and a tensor in the order of features, None if the tensor has other uses."""
    tensor_type = cast(MemRefType, tensor.type)
    if not isinstance(tensor.owner, memref.AllocOp):
        return None
    copies: list[PackOp | UnpackOp] = []
    for use in tensor.uses:
        match use.operation:
            case PackOp() | UnpackOp() as copy if isinstance(copy, kind) and not adds(copy):
                copies.append(copy)
            case InferOp() | memref.DeallocOp():
                pass
            case _:
                return None
    last = tensor_type.get_num_dims() - 1
    if not all(_fits(copy, tensor_type, last) for copy in copies) or last < 1:
        return None
    if len({copy.parent for copy in copies}) != 1:
        return None  # there are none, or they are in several places
    copies.sort(key=cast(Block, copies[0].parent).get_operation_index)
    return copies if _fill(copies, tensor_type.get_shape()[last]) else None


def _fill(copies: Sequence[PackOp | UnpackOp], features: int) -> bool:
    """Whether the features of the views, one view after the other, are those of the tensor."""
    first = 0
    for copy in copies:
        sizes = view_type(copy.view).get_shape()[cast(MemRefType, copy.tensor.type).get_num_dims() - 1 :]
        number = copy.first.owner
        if not isinstance(number, arith.ConstantOp) or number.value != IntegerAttr(first, IndexType()):
            return False
        if DYNAMIC_INDEX in sizes:
            return False
        first += prod(sizes)
    return first == features


def _fits(copy: PackOp | UnpackOp, tensor: MemRefType, last: int) -> bool:
    view = view_type(copy.view)
    is_plain = isinstance(view, MemRefType) and view.memory_space == tensor.memory_space
    return is_plain and view.element_type == tensor.element_type and list(copy.features.get_values()) == [last]


def _is_written_if_done(unpack: PackOp | UnpackOp, op: InferOp) -> bool:
    """Whether an unpack depends on nothing but the inference, whose success has no other consequence."""
    found = success(unpack)
    if found is None or found.infer is not op or found.branch.parent is not op.parent:
        return False
    done = found.branch.true_region.block.ops
    return all(isinstance(each, UnpackOp | scf.YieldOp) or each.has_trait(Pure) for each in done)


def _are_used_behind(ops: Sequence[Operation]) -> bool:
    """Whether others use what the operations give."""
    inside = set(ops)
    block = cast(Block, ops[0].parent)
    return any(
        block.find_ancestor_op_in_block(use.operation) not in inside
        for each in ops
        for result in each.results
        for use in result.uses
    )
