"""xDSL's builder and rewriter, by which what takes an operation's place has its location in the source, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from xdsl import builder, rewriter
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr, UnknownLoc
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import PassFailedException

from hpacml.dialects.hpacml.locations import locate, place

OperationT = TypeVar("OperationT", bound=Operation)


class Builder(builder.Builder):
    """Gives what it inserts the location of `origin`.

    By default that is the operation before which it inserts, or the one around the block at whose end it inserts.
    """

    def __init__(self, insertion_point: InsertPoint, origin: Operation | None = None):
        origin = origin or insertion_point.insert_before or insertion_point.block.parent_op()
        where = UnknownLoc() if origin is None else origin.location
        known = not isinstance(where, UnknownLoc)
        super().__init__(insertion_point, operation_insertion_handler=[partial(locate, where=where)] if known else [])

    def index(self, value: int) -> SSAValue:
        """Insert a constant of the type `index`."""
        return self.insert(arith.ConstantOp(IntegerAttr(value, IndexType()))).result


class Rewriter(rewriter.Rewriter):
    """Gives what replaces an operation its location."""

    @staticmethod
    def replace_op(
        op: Operation,
        new_ops: Operation | Sequence[Operation],
        new_results: Sequence[SSAValue | None] | None = None,
        safe_erase: bool = True,
    ) -> None:
        for new in [new_ops] if isinstance(new_ops, Operation) else new_ops:
            located(new, op)
        rewriter.Rewriter.replace_op(op, new_ops, new_results, safe_erase)


def located(op: OperationT, origin: Operation) -> OperationT:
    """The operation, with the location of `origin` where it, or an operation inside it, has none."""
    if not isinstance(origin.location, UnknownLoc):
        locate(op, origin.location)
    return op


class Refusal(PassFailedException):
    """The error of a pass about an operation: its place in the source, if known, and why it is refused."""

    def __init__(self, operation: Operation | None, why: str):
        super().__init__(f"{place(operation)}{why}")
        self.operation, self.why = operation, why


def refusal(op: Operation | Block, why: str) -> Refusal:
    """The error of a pass about an operation, or the one around a block: first its place in the source, if known."""
    return Refusal(op.parent_op() if isinstance(op, Block) else op, why)
