"""What is left of hpacml when the lowering is done, which is nothing."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr
from xdsl.ir import Attribute, Operation, ParametrizedAttribute, TypeAttribute

from hpacml.dialects.hpacml.attributes import PREFIXES
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.passes.common.located import refusal


def require_nothing_left(module: Operation) -> None:
    """Raise `PassFailedException`, at its place, if an operation, a type or an attribute of hpacml is left."""
    operations = [op for op in module.walk() if op.name.startswith(PREFIXES)]
    if operations:
        culprit = next((op for op in operations if not isinstance(op, FunctorOp | MapOp)), operations[0])
        names = {op.name for op in operations}
    else:
        left = [(each, op) for op in module.walk() for each in _of_hpacml(op)]
        if not left:
            return
        culprit, names = left[0][1], {each for each, _ in left}
    raise refusal(
        culprit,
        f"nothing lowers {', '.join(sorted(names))} any more: the passes before this one have to, in the order that "
        "hpacml.pipelines has them",
    )


def _of_hpacml(op: Operation) -> Iterator[str]:
    """The types and attributes of hpacml that an operation has."""
    yield from (f"the attribute {name}" for name in op.attributes if name.startswith(PREFIXES))
    arguments = (argument.type for region in op.regions for block in region.blocks for argument in block.args)
    for each in (*op.result_types, *arguments, *op.properties.values(), *op.attributes.values()):
        yield from _inside(each)


def _inside(attribute: Attribute) -> Iterator[str]:
    """The attributes of hpacml that an attribute is or contains."""
    if attribute.name.startswith(PREFIXES):
        yield f"{'!' if isinstance(attribute, TypeAttribute) else '#'}{attribute.name}"
        return
    match attribute:
        case ArrayAttr():
            inner = attribute.data
        case DictionaryAttr():
            inner = attribute.data.values()
        case ParametrizedAttribute():
            inner = attribute.parameters
        case _:
            return
    for each in inner:
        yield from _inside(each)
