"""What is left of hpacml when the lowering is done, which is nothing."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr
from xdsl.ir import Attribute, Operation, ParametrizedAttribute, TypeAttribute
from xdsl.utils.exceptions import PassFailedException

from hpacml.dialects.hpacml.attributes import PREFIXES


def require_nothing_left(module: Operation) -> None:
    """Raise `PassFailedException` if an operation, a type or an attribute of hpacml is left."""
    left = sorted({each for op in module.walk() for each in _of_hpacml(op)})
    if left:
        raise PassFailedException(
            f"nothing lowers {', '.join(left)} any more: the passes before this one have to, in the order that "
            "hpacml.pipelines has them"
        )


def _of_hpacml(op: Operation) -> Iterator[str]:
    if op.name.startswith(PREFIXES):
        yield op.name
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
