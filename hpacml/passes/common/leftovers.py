"""What is left of hpacml when the lowering is done, which is nothing."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import FunctionType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation
from xdsl.utils.exceptions import PassFailedException

from hpacml.dialects.hpacml.attributes import PREFIXES, IndirectType, MappingType


def require_nothing_left(module: Operation) -> None:
    """Raise `PassFailedException` if an operation or a type of hpacml is left."""
    left = sorted({each for op in module.walk() for each in _of_hpacml(op)})
    if left:
        raise PassFailedException(
            f"nothing lowers {', '.join(left)} any more: the passes before this one have to, in the order that "
            "hpacml.pipelines has them"
        )


def _of_hpacml(op: Operation) -> Iterator[str]:
    if op.name.startswith(PREFIXES):
        yield op.name
    for type in _types(op):
        if isinstance(type, MappingType | IndirectType):
            yield f"!{type.name}"


def _types(op: Operation) -> Iterator[Attribute]:
    yield from op.result_types
    for region in op.regions:
        for block in region.blocks:
            yield from (argument.type for argument in block.args)
    if isinstance(op, FuncOp):
        signature: FunctionType = op.function_type
        yield from (*signature.inputs, *signature.outputs)
