"""The mask of an inference with guards: at which points of a call the model is used, at which the original code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType, f32, f64, i8
from xdsl.ir import Attribute, SSAValue

from hpacml.clauses import Guard
from hpacml.dialects.hpacml.attributes import ELEMENT_TYPES, dtype_name
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.guarding import CountPointsOp, DomainOp
from hpacml.dialects.hpacml.masks import CheckBelowOp, CheckDistanceOp, CheckRangeOp, CheckWhereOp
from hpacml.dialects.hpacml.original_code import RequireEqualOp
from hpacml.dialects.hpacml.packing import sweep_dims
from hpacml.dtypes import DTYPES
from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.common.mappings import functor_of, map_of
from hpacml.passes.common.point_loops import each_point, product, size, sum_of


@dataclass(frozen=True)
class Tensor:
    """A dense tensor of a region, and which of its dimensions are features."""

    value: SSAValue
    features: Sequence[int]
    text: str
    mapping: SSAValue | None = None
    """Where its elements are to be read, if it has not been filled."""

    @property
    def type(self) -> MemRefType:
        return cast(MemRefType, self.value.type)

    @property
    def source(self) -> SSAValue:
        """Where its elements are read."""
        return self.value if self.mapping is None else self.mapping

    @property
    def sweep(self) -> list[int]:
        """The dimensions that are not features."""
        return sweep_dims(self.type, self.features)


def tensor_of(value: SSAValue, mapping: SSAValue, op: MlOp) -> Tensor:
    """The tensor that is gathered or scattered by a mapping of a region."""
    map_op = map_of(mapping, op)
    return Tensor(value, functor_of(map_op, op).functor.feature_dims, map_op.applied)


class Mask:
    """The mask of a call: at which points of the sweep of the first output the model may be used."""

    def __init__(self, op: MlOp, output: Tensor, builder: Builder):
        self._op, self._output = op, output
        self.guard = Guard() if op.guard is None else op.guard.data
        shape = [output.type.get_shape()[d] for d in output.sweep]
        self._sizes = [size(output.value, d, builder) for d in output.sweep]
        dynamic = [value for value, known in zip(self._sizes, shape, strict=True) if known == DYNAMIC_INDEX]
        self.value = builder.insert(memref.AllocOp(dynamic, [], MemRefType(i8, shape))).memref
        self.value.name_hint = "mask"

    def require_one_sweep(self, tensors: Sequence[Tensor], builder: Builder) -> None:
        """Refuse tensors that do not have the points of the first output."""
        for tensor in tensors:
            if len(tensor.sweep) != len(self._sizes):
                raise refusal(
                    self._op,
                    f"the guards of the region '{self._op.label.data}' decide at each point, and '{tensor.text}' has "
                    f"points of {len(tensor.sweep)} dimensions where '{self._output.text}' has {len(self._sizes)}",
                )
            for d, (own, wanted) in enumerate(zip(tensor.sweep, self._sizes, strict=True)):
                text = (
                    f"the guards of the region '{self._op.label.data}' decide at each point, and '{tensor.text}' has "
                    f"{{given}} points in dimension {d} where '{self._output.text}' has {{wanted}}"
                )
                builder.insert(RequireEqualOp(size(tensor.value, own, builder), wanted, text))

    def check(self, inputs: Sequence[Tensor], points: Sequence[Tensor], builder: Builder) -> None:
        """Reject points by the inputs, and by the condition of `where` on the elements at `points`."""
        op, guard = self._op, self.guard
        names = (op.where, op.where_names)
        zero = builder.insert(arith.ConstantOp(IntegerAttr(0, i8))).result
        self._clear(zero, builder)
        if names[0] is not None and names[1] is not None:
            tensors = [each.value for each in points]
            builder.insert(CheckWhereOp(names[0], names[1], tensors, list(op.where_numbers), self.value))
        if guard.range or guard.distance is not None:
            self._check_domain(inputs, builder)

    def _clear(self, zero: SSAValue, builder: Builder) -> None:
        def clear(place: Sequence[SSAValue], inner: Builder) -> None:
            inner.insert(memref.StoreOp.get(zero, self.value, place))

        each_point(self._sizes, clear, builder)

    def _check_domain(self, inputs: Sequence[Tensor], builder: Builder) -> None:
        """Reject points that are not where the model was trained."""
        guard, op = self.guard, self._op
        counts = [product([size(each.value, d, builder) for d in each.features], builder) for each in inputs]
        ends = [_ends_of(each.type.element_type) for each in inputs]
        ranges = [_numbers([count], builder, end) for count, end in zip(counts, ends, strict=True) for _ in range(2)]
        distance: list[SSAValue] = []
        if guard.distance is not None:
            total = sum_of(counts, builder)
            distance = [_numbers([total], builder), _numbers([total, total], builder)]
        builder.insert(DomainOp(op.clauses_for(DomainOp), ranges, distance, guard.margin))
        if guard.range:
            for each, low, high in zip(inputs, ranges[::2], ranges[1::2], strict=True):
                builder.insert(CheckRangeOp([each.source], [each.features], low, high, self.value))
        if guard.distance is not None:
            mean, whitening = distance
            tensors, features = [each.source for each in inputs], [each.features for each in inputs]
            builder.insert(CheckDistanceOp(tensors, features, mean, whitening, guard.distance, self.value))
        for each in (*ranges, *distance):
            builder.insert(memref.DeallocOp.get(each))

    def uncertainty(self, builder: Builder) -> Tensor:
        """Memory for the last output of the model, which is how uncertain it is at each point."""
        element = self._output.type.element_type
        if DTYPES[dtype_name(element)].kind != "f":
            element = ELEMENT_TYPES["f64"]
        shape = [*self.value.type.get_shape(), 1]
        dynamic = [value for value, known in zip(self._sizes, shape, strict=False) if known == DYNAMIC_INDEX]
        memory = builder.insert(memref.AllocOp(dynamic, [], MemRefType(element, shape))).memref
        memory.name_hint = "u"
        return Tensor(memory, [len(self._sizes)], "uncertainty")

    def check_uncertainty(self, tensor: Tensor, builder: Builder) -> None:
        """Reject points at which the model is not certain enough."""
        if self.guard.below is not None:
            builder.insert(CheckBelowOp(tensor.value, tensor.features, self.guard.below, self.value))

    def count(self, builder: Builder, positions: SSAValue | None = None, again: bool = False) -> SSAValue:
        """How many points are rejected, and where; counted for the report, too, unless that has been done."""
        return builder.insert(CountPointsOp(self._op.label, self.value, positions, again)).rejected

    def total(self, builder: Builder) -> SSAValue:
        """How many points there are."""
        return product(self._sizes, builder)


def _numbers(sizes: Sequence[SSAValue], builder: Builder, element: Attribute = f64) -> SSAValue:
    return builder.insert(memref.AllocOp(sizes, [], MemRefType(element, [DYNAMIC_INDEX] * len(sizes)))).memref


def _ends_of(element: Attribute) -> Attribute:
    """The type of a range's ends: one that has all elements, and of which a vector has many."""
    dtype = DTYPES[dtype_name(element)]
    return f32 if dtype.kind == "f" and dtype.size <= 4 else f64
