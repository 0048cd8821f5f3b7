"""The element types of arrays and tensors: one table, from which all other tables of types are made.

A new integer type is a row in `DTYPES`; a new float also needs its MLIR type in `hpacml.dialects.hpacml.attributes`.
NumPy and Torch are imported on first use.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

BRAIN = "bf16"
"""bfloat16, which NumPy and HDF5 lack: NumPy sees its bits as uint16, databases store it as float32."""


@dataclass(frozen=True, slots=True)
class DType:
    """An element type. `name` is its name in directives, the IR and the runtime ABI."""

    name: str
    kind: Literal["b", "u", "i", "f"]
    """Bool, unsigned or signed integer, or float."""
    bits: int
    """Those of an element in memory, which for a bool is a byte."""
    long_name: str
    """The name in Torch and, except for `bf16`, in NumPy."""
    in_kernels: bool = True
    """Whether compiled Python computes with such numbers."""

    @property
    def size(self) -> int:
        """The bytes of an element."""
        return self.bits // 8

    @property
    def bits_name(self) -> str:
        """NumPy's name of the type in which NumPy sees its elements."""
        return "uint16" if self.name == BRAIN else self.long_name

    @property
    def stored_name(self) -> str:
        """NumPy's name of the type in which databases store it."""
        return "float32" if self.name == BRAIN else self.long_name

    @property
    def type_code(self) -> str:
        """Its type code in the array interface; for `bf16`, that of signed integers of the same bits."""
        kind = "i" if self.name == BRAIN else self.kind
        return f"{'|' if self.size == 1 else '<'}{kind}{self.size}"

    @property
    def dlpack_code(self) -> tuple[int, int]:
        """Its type code and its bits in DLPack."""
        return 4 if self.name == BRAIN else {"i": 0, "u": 1, "f": 2, "b": 6}[self.kind], self.bits

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest integer that it holds. For integers and bools only."""
        if self.kind == "b":
            return 0, 1
        return (0, (1 << self.bits) - 1) if self.kind == "u" else (-(1 << self.bits - 1), (1 << self.bits - 1) - 1)


DTYPES = {
    dtype.name: dtype
    for dtype in (
        DType("bool", "b", 8, "bool"),
        DType("u8", "u", 8, "uint8"),
        DType("i8", "i", 8, "int8"),
        DType("u16", "u", 16, "uint16"),
        DType("i16", "i", 16, "int16"),
        DType("u32", "u", 32, "uint32"),
        DType("i32", "i", 32, "int32"),
        DType("u64", "u", 64, "uint64"),
        DType("i64", "i", 64, "int64"),
        DType("f16", "f", 16, "float16", in_kernels=False),
        DType(BRAIN, "f", 16, "bfloat16", in_kernels=False),
        DType("f32", "f", 32, "float32"),
        DType("f64", "f", 64, "float64"),
    )
}
"""All element types by name: bool, integers, then floats, each from narrow to wide."""

SIZES = {name: dtype.size for name, dtype in DTYPES.items()}
"""Bytes of an element, by name."""

INDICES = tuple(name for name, dtype in DTYPES.items() if dtype.kind in "ui")
"""The element types of index arrays."""


def common(names: Iterable[str]) -> str | None:
    """The element type of a tensor gathered from arrays of these, None if there is none.

    It is the widest float, or else the narrowest integer that holds the numbers of all, or bool.
    """
    types = sorted((DTYPES[name] for name in set(names)), key=lambda dtype: list(DTYPES).index(dtype.name))
    if floats := [dtype.name for dtype in types if dtype.kind == "f"]:
        return "f32" if floats == ["f16", BRAIN] else floats[-1]
    least, largest = min(dtype.bounds[0] for dtype in types), max(dtype.bounds[1] for dtype in types)
    wide = (dtype for dtype in DTYPES.values() if dtype.kind != "f")
    return next((dtype.name for dtype in wide if dtype.bounds[0] <= least and largest <= dtype.bounds[1]), None)


BY_LONG_NAME = {dtype.long_name: dtype for dtype in DTYPES.values()}

BY_DLPACK_CODE = {dtype.dlpack_code: name for name, dtype in DTYPES.items()}

BY_TYPE_CODE = {dtype.type_code: name for name, dtype in DTYPES.items() if name != BRAIN}


@functools.cache
def numpy_dtypes() -> dict[str, np.dtype[Any]]:
    """NumPy's types by name; for `bf16`, the type of its bits."""
    import numpy as np

    return {name: np.dtype(dtype.bits_name) for name, dtype in DTYPES.items()}


@functools.cache
def numpy_names() -> dict[np.dtype[Any], str]:
    """The names of NumPy's types."""
    return {dtype: name for name, dtype in numpy_dtypes().items() if name != BRAIN}


@functools.cache
def torch_dtypes() -> dict[str, torch.dtype]:
    """Torch's types by name."""
    import torch

    return {name: getattr(torch, dtype.long_name) for name, dtype in DTYPES.items()}


@functools.cache
def torch_names() -> dict[torch.dtype, str]:
    """The names of Torch's types."""
    return {dtype: name for name, dtype in torch_dtypes().items()}
