"""What kernels return, for what makes Python objects of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from hpacml.frontend.python.types import ScalarType


@dataclass(frozen=True)
class ArrayResult:
    """An array: of the memory of one of these parameters, or, if there are none, of its own."""

    element: ScalarType
    rank: int
    parameters: frozenset[int]
    in_order: bool


@dataclass(frozen=True)
class ConstantResult:
    """A Python object that is known when the kernel is compiled, such as None."""

    object: Any


@dataclass(frozen=True)
class RecordResult:
    """A new dataclass or named tuple."""

    type: type[Any]
    items: tuple[Result, ...]


Result: TypeAlias = "ScalarType | ArrayResult | ConstantResult | RecordResult | tuple[Result, ...]"
