"""Python objects from outside of a kernel, which are constants in it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import ModuleType
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.memref import GetGlobalOp
from xdsl.ir import SSAValue

from hpacml.frontend.python import bundles
from hpacml.frontend.python.emitter import Emitter
from hpacml.frontend.python.number import as_number
from hpacml.frontend.python.types import ARRAY_DTYPES, Refusal
from hpacml.frontend.python.values import Array, Record, Static, Tuple, Unset, Value, type_name

MOST_ELEMENTS = 1 << 16
"""The most elements of an array that is a constant: they become part of the code."""


def constant_of(found: object, emit: Emitter) -> Value:
    """A Python object as a value. Raises `Refusal` for an array that no constant can be.

    Such an array in a bundle is refused where it is read.
    """
    if isinstance(found, Enum) and isinstance(found, int):
        found = int(found)
    number = as_number(found)
    if number is not None:
        return number
    if found.__class__ in (list, tuple):
        items = cast("Sequence[object]", found)
        return Tuple(tuple(constant_of(item, emit) for item in items))
    if found.__class__ in (np.ndarray, np.memmap):  # others, such as masked arrays, are more than their elements
        return _array(cast("np.ndarray[Any, Any]", found), emit)
    if bundles.is_bundle(found.__class__):
        fields = {name: _field(getattr(found, name), f"'.{name}'", emit) for name in bundles.fields_of(found.__class__)}
        return Record(found.__class__, fields)
    if not isinstance(found, type | np.dtype | ModuleType) and hasattr(found, "shape"):
        raise Refusal(f"is a {type_name(found)}, where a number is needed: pass it as an argument")
    return Static(found)


def _field(found: object, name: str, emit: Emitter) -> Value:
    try:
        return constant_of(found, emit)
    except Refusal as refusal:
        return Unset(f"{name} {refusal}")


def _array(found: np.ndarray[Any, Any], emit: Emitter) -> Value:
    if found.ndim == 0:
        return constant_of(found[()], emit)
    if found.dtype.name not in ARRAY_DTYPES or not found.dtype.isnative:
        raise Refusal(f"is an array of {found.dtype}, which a kernel cannot have: convert it before, with .astype(...)")
    if found.size > MOST_ELEMENTS:
        raise Refusal(
            f"is an array of {found.size} elements, and a constant has at most {MOST_ELEMENTS}: pass it as an argument"
        )
    return table(found, emit)


def table(elements: np.ndarray[Any, Any], emit: Emitter) -> Array:
    """A constant array with these elements."""
    element = ARRAY_DTYPES[elements.dtype.name]
    type = MemRefType(element.element, elements.shape)
    memory = SSAValue.get(emit.value(GetGlobalOp(emit.table(elements, type), type)), type=MemRefType)
    in_order = elements.ndim < 2 or elements.flags.c_contiguous
    return Array("", element, memory, is_constant=True, in_order=in_order)
