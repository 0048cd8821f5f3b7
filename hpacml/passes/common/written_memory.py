"""Which memory a function may write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import affine, arith, bufferization, func, memref, scf
from xdsl.dialects.builtin import (
    AnyFloat,
    IndexType,
    IntegerType,
    MemRefType,
    TensorType,
    VectorType,
)
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.traits import MemoryEffectKind, get_effects

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.original_code import CallPythonOp
from hpacml.passes.common.origins import VIEWS, origins

_FLOW = (arith.SelectOp, scf.ForOp, scf.WhileOp, scf.YieldOp, scf.ConditionOp, func.ReturnOp, *VIEWS)
"""Operations that only pass memory on, to where `origins` follows it."""

_READ = (affine.LoadOp, memref.DimOp)
"""Operations that write nothing, beside those whose effects say so."""

_MADE = (memref.AllocOp, memref.AllocaOp, memref.GetGlobalOp)
"""Operations whose memory is no argument's."""


def written_arguments(function: func.FuncOp) -> frozenset[int]:
    """The positions of the arguments that a function may write."""
    arguments: dict[SSAValue, int] = {argument: k for k, argument in enumerate(function.args)}
    found: set[int] = set()
    for op in function.body.walk():
        for value in dict.fromkeys(op.operands):
            if isinstance(value.type, MemRefType) and _writes(op, value):
                for origin in origins(value):
                    if origin in arguments:
                        found.add(arguments[origin])
                    elif not isinstance(origin.owner, _MADE):  # any array, as far as the code tells
                        found |= {k for each, k in arguments.items() if isinstance(each.type, MemRefType)}
    return frozenset(found)


def _writes(op: Operation, value: SSAValue) -> bool:
    """Whether an operation may write memory that it is given. What is not known may."""
    match op:
        case _ if isinstance(op, (*_FLOW, *_READ)):
            return False
        case bufferization.ToTensorOp():
            return op.writable is not None
        case MapOp():
            return op.direction.data is not Direction.To
        case CallPythonOp():
            return any(op.arrays[k] is value for k in op.written.get_values())
        case memref.CopyOp():
            return value is op.destination
        case LinalgStructuredOperation():
            return value in cast("Sequence[SSAValue]", op.outputs)
        case memref.ExtractAlignedPointerAsIndexOp():  # what is done with the pointer is not followed
            return True
        case _:
            effects = get_effects(op)
            only_reads = effects is not None and all(effect.kind is MemoryEffectKind.READ for effect in effects)
            return not only_reads or not all(map(_is_no_pointer, op.result_types))


def _is_no_pointer(type: Attribute) -> bool:
    return isinstance(type, IndexType | IntegerType | AnyFloat | VectorType | TensorType | MemRefType)
