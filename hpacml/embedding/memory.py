"""Which memory a function writes, and which it returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from xdsl.dialects import bufferization, func, memref
from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.linalg.abstract_ops import LinalgStructuredOperation
from xdsl.ir import Operation, SSAValue
from xdsl.traits import MemoryEffectKind, get_effects

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.passes.common.origins import origins

_VIEWS = (
    memref.CastOp,
    memref.CollapseShapeOp,
    memref.ExpandShapeOp,
    memref.MemorySpaceCastOp,
    memref.ReinterpretCastOp,
    memref.SubviewOp,
)
"""Operations whose result is memory of their first operand."""


class Memory:
    """The memory of a function: `written` has the positions of the arguments that it may write."""

    def __init__(self, function: func.FuncOp):
        self._function = function
        self._arguments: dict[SSAValue, int] = {argument: k for k, argument in enumerate(function.body.block.args)}
        self.written = frozenset(
            k
            for argument, k in self._arguments.items()
            if isinstance(argument.type, MemRefType) and any(map(_writes, _uses(argument)))
        )

    def sources(self, result: int) -> frozenset[int] | None:
        """The positions of the arguments whose memory a result is, none if it is new, None where that is not known."""
        found: set[int] = set()
        kinds: set[bool] = set()
        for op in self._function.walk():
            if isinstance(op, func.ReturnOp):
                for root in _roots(op.operands[result]):
                    argument = self._arguments.get(root)
                    if argument is not None:
                        found.add(argument)
                    elif not isinstance(root.owner, memref.AllocOp):
                        return None
                    kinds.add(argument is None)
        return frozenset(found) if len(kinds) == 1 else None


def _roots(value: SSAValue) -> set[SSAValue]:
    """The arrays of which memory is a part, on one path through loops and conditions or another."""
    found: set[SSAValue] = set()
    for origin in origins(value):
        found |= _roots(origin.owner.operands[0]) if isinstance(origin.owner, _VIEWS) else {origin}
    return found


def _uses(value: SSAValue) -> Iterator[tuple[Operation, SSAValue]]:
    """What uses memory, in whole or in parts, and as what."""
    for use in value.uses:
        if isinstance(use.operation, _VIEWS):
            yield from _uses(use.operation.results[0])
        else:
            yield use.operation, value


def _writes(use: tuple[Operation, SSAValue]) -> bool:
    """Whether an operation may write memory. What is not known may."""
    op, value = use
    match op:
        case func.ReturnOp() | memref.DimOp():
            return False
        case bufferization.ToTensorOp():
            return op.writable is not None
        case MapOp():
            return op.direction.data is not Direction.To
        case memref.CopyOp():
            return value is op.destination
        case LinalgStructuredOperation():
            return value in cast("Sequence[SSAValue]", op.outputs)
        case _:
            effects = get_effects(op)
            return effects is None or any(effect.kind is not MemoryEffectKind.READ for effect in effects)
