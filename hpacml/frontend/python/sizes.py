"""The sizes that annotations of arrays demand, and sizes in the IR that are known to be the same."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import DYNAMIC_INDEX, IntegerAttr, MemRefType
from xdsl.dialects.memref import AllocOp, DimOp
from xdsl.ir import SSAValue

from hpacml.frontend.python.annotations import ArrayParameter, Dim

Place: TypeAlias = tuple[int, int]
"""The position of an array among the arrays of a call, and one of its dimensions."""


class SizeRule(NamedTuple):
    """A size that must be that at another place, or `size` if there is none."""

    place: Place
    other: Place | None
    size: int
    text: str
    """What is wrong if it is not, for `format` with the sizes `given` and `wanted`."""


def size_rules(kernel: str, arrays: Sequence[ArrayParameter]) -> list[SizeRule]:
    """The rules for the arrays of a kernel: dimensions of a given size, then those of one name."""
    fixed: list[SizeRule] = []
    named: list[SizeRule] = []
    first: dict[str, Place] = {}
    for k, parameter in enumerate(arrays):
        for axis, dim in enumerate(parameter.dims):
            here = f"dimension {axis} of argument '{parameter.name}' of {kernel}()"
            if isinstance(dim, int):
                text = f"{here} is {{given}}, but its annotation says {{wanted}}"
                fixed.append(SizeRule((k, axis), None, dim, text))
            elif dim is not None and dim not in first:
                first[dim] = k, axis
            elif dim is not None:
                other, other_axis = first[dim]
                there = f"dimension {other_axis} of argument '{arrays[other].name}' of {kernel}()"
                text = f"'{dim}' is {{wanted}} in {there}, but {{given}} in dimension {axis} of '{parameter.name}'"
                named.append(SizeRule((k, axis), first[dim], 0, text))
    return [*fixed, *named]


def identity(array: SSAValue, axis: int, dims: Mapping[SSAValue, tuple[Dim, ...]]) -> Hashable:
    """What a size is: an integer if it is known, else something equal for sizes that are known to be equal.

    `dims` has the dimensions that annotations give arguments; their names are sizes that calls have checked.
    """
    shape = SSAValue.get(array, type=MemRefType).type.get_shape()
    if shape[axis] != DYNAMIC_INDEX:
        return shape[axis]
    if array in dims:
        return dims[array][axis] or (array, axis)
    if isinstance(array.owner, AllocOp):
        size = array.owner.dynamic_sizes[shape[:axis].count(DYNAMIC_INDEX)]
        if isinstance(size.owner, DimOp) and isinstance(size.owner.index.owner, ConstantOp):
            known = size.owner.index.owner.value
            assert isinstance(known, IntegerAttr)
            return identity(size.owner.source, known.value.data, dims)
        return size
    return array, axis
