"""The element types of arrays and tensors: one table, from which all other tables of types are made.

A new integer type is a row in `DTYPES`; a new float also needs its MLIR type in `hpacml.dialects.hpacml.attributes`.
NumPy and Torch are imported on first use.
"""

from __future__ import annotations

import functools
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
    kind: Literal["u", "i", "f"]
    """Unsigned or signed integer, or float."""
    bits: int
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
        return 4 if self.name == BRAIN else {"i": 0, "u": 1, "f": 2}[self.kind], self.bits


DTYPES = {
    dtype.name: dtype
    for dtype in (
        DType("u8", "u", 8, "uint8"),
        DType("i32", "i", 32, "int32"),
        DType("i64", "i", 64, "int64"),
        DType("f16", "f", 16, "float16", in_kernels=False),
        DType(BRAIN, "f", 16, "bfloat16", in_kernels=False),
        DType("f32", "f", 32, "float32"),
        DType("f64", "f", 64, "float64"),
    )
}
"""All element types by name: integers, then floats, each from narrow to wide."""

SIZES = {name: dtype.size for name, dtype in DTYPES.items()}
"""Bytes of an element, by name."""

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
