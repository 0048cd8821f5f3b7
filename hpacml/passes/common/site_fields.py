"""What records of call sites have of operations: places, models, texts and types of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, MemRefType, StringAttr, SymbolRefAttr
from xdsl.ir import Attribute, Data, Operation, SSAValue

from hpacml.abi.records import Source, TensorType
from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.locations import TextLoc, written_location


def place_of(op: Operation) -> str | None:
    """The place in the source, for messages at run time. That in the text of the IR is none: it changes with passes."""
    return None if isinstance(op.location, TextLoc) else written_location(op.location)


def source_of(attribute: Attribute | None) -> Source:
    """A model or a database: a path, an argument of the region, or the one that the environment names."""
    if isinstance(attribute, SymbolRefAttr):
        return Source(argument=attribute.root_reference.data)
    return Source() if attribute is None else Source(path=content(attribute))


def content(attribute: Attribute) -> Any:
    """What an attribute holds."""
    match attribute:
        case IntegerAttr():
            return attribute.value.data
        case ArrayAttr():
            return tuple(map(content, attribute))
        case _:
            return cast("Data[Any]", attribute).data


def texts(given: ArrayAttr[StringAttr] | None) -> tuple[str, ...]:
    """Texts, none where the attribute is missing."""
    return () if given is None else tuple(text.data for text in given)


def tensor_types(values: Sequence[SSAValue]) -> tuple[TensorType, ...]:
    """The element types and ranks of memory."""
    return tuple(tensor_type(cast(MemRefType, value.type)) for value in values)


def tensor_type(type: MemRefType) -> TensorType:
    """The element type and rank of memory."""
    return TensorType(dtype_name(type.element_type), type.get_num_dims())
