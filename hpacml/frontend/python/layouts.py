"""Converts between layouts of arrays and types of the IR."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import MemRefType, NoneAttr, StridedLayoutAttr
from xdsl.ir import Attribute

from hpacml.dialects.hpacml.attributes import strides_of
from hpacml.runtime.arrays.views import Layout


def memref_of_layout(element_type: Attribute, shape: Sequence[int], layout: Layout) -> MemRefType:
    """The type of an array with this layout."""
    if layout is Layout.PACKED:
        return MemRefType(element_type, shape)
    strides: list[int | None] = [None] * len(shape)
    if layout is Layout.ROWS:
        strides[-1] = 1
    return MemRefType(element_type, shape, StridedLayoutAttr(strides, None))


def is_in_order(type: MemRefType) -> bool:
    """Whether arrays of this type are known to lie in memory in the order of their indices."""
    rank = type.get_num_dims()
    return rank < 2 or layout_of_memref(type) is Layout.PACKED or (rank == 2 and layout_of_memref(type) is Layout.ROWS)


def layout_of_memref(type: MemRefType) -> Layout:
    """The layout of arrays of this type."""
    if isinstance(type.layout, NoneAttr):
        return Layout.PACKED
    return Layout.ROWS if strides_of(type)[-1] == 1 else Layout.STRIDED
