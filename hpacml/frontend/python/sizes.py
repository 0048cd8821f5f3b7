"""Sizes in the IR that are known to be the same."""

from __future__ import annotations

from collections.abc import Hashable

from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType
from xdsl.dialects.memref import AllocOp, CastOp, DimOp, ReinterpretCastOp, SubviewOp
from xdsl.ir import Operation, SSAValue

from hpacml.frontend.python.annotations import Dim


class Identities:
    """What sizes and indices are: the same for those that are known to be equal."""

    def __init__(self) -> None:
        self.dims: dict[SSAValue, tuple[Dim, ...]] = {}
        """The dimensions that annotations give arguments; their names are sizes that calls have checked."""
        self._known: dict[SSAValue, Hashable] = {}
        self._computed: dict[Hashable, int] = {}
        """Numbers by the operations that compute them, with what their operands are."""

    def size(self, array: SSAValue, axis: int) -> Hashable:
        """What a size of an array is, an integer if it is known."""
        shape = SSAValue.get(array, type=MemRefType).type.get_shape()
        if shape[axis] != DYNAMIC_INDEX:
            return shape[axis]
        if array in self.dims:
            return self.dims[array][axis] or (array, axis)
        position = shape[:axis].count(DYNAMIC_INDEX)
        match array.owner:
            case CastOp(source=source):
                return self.size(source, axis)
            case AllocOp(dynamic_sizes=sizes) | SubviewOp(sizes=sizes) | ReinterpretCastOp(sizes=sizes):
                return self.number(sizes[position])  # dimensions that a view drops have the constant size 1
            case _:
                return array, axis

    def number(self, value: SSAValue) -> Hashable:
        """What a number is, an integer if it is constant."""
        if value not in self._known:
            self._known[value] = self._find(value)
        return self._known[value]

    def _find(self, value: SSAValue) -> Hashable:
        match op := value.owner:
            case ConstantOp(value=IntegerAttr() as constant):
                return constant.value.data
            case DimOp() if isinstance(axis := self.number(op.index), int):
                return self.size(op.source, axis)
            case Operation() if op.name.startswith("arith."):
                operands = tuple(map(self.number, op.operands))
                key = op.name, frozenset((op.properties | op.attributes).items()), operands
                return "computed", self._computed.setdefault(key, len(self._computed))
            case _:
                return value
