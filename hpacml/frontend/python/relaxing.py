"""What LLVM may do to floats in a kernel with `fastmath=True`, as MLIR's flags of operations."""

from __future__ import annotations

from xdsl.dialects.arith import FastMathFlagsAttr
from xdsl.dialects.utils import FastMathFlag
from xdsl.ir import Operation
from xdsl.irdl import IRDLOperation

FLAGS = FastMathFlagsAttr(
    [
        FastMathFlag.REASSOC,
        FastMathFlag.NO_SIGNED_ZEROS,
        FastMathFlag.ALLOW_RECIP,
        FastMathFlag.ALLOW_CONTRACT,
    ]
)
"""Operations may be regrouped and fused, divisions become products, and a zero may have either sign.

NaN and infinity stay what they are: code that asks for them would be wrong without a word. Functions are no
approximations of GPUs either, whose errors have no bound.
"""


def relax(operation: Operation) -> None:
    """Give an operation the flags, if it takes them."""
    if isinstance(operation, IRDLOperation) and "fastmath" in operation.get_irdl_definition().properties:
        operation.properties["fastmath"] = FLAGS
