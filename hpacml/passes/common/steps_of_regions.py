"""The steps that regions become, as the expansion of regions builds them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import scf
from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Region, SSAValue

from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, TensorOp
from hpacml.passes.common.located import Builder
from hpacml.passes.common.mappings import functor_of, map_of


def branch(condition: SSAValue, then: Region, otherwise: Region) -> scf.IfOp:
    for region in (then, otherwise):
        region.block.add_op(scf.YieldOp())
    return scf.IfOp(condition, [], then, otherwise)


def is_indirect(mapping: SSAValue) -> bool:
    return isinstance(mapping.owner, MapOp) and bool(mapping.owner.index_arrays)


def tensor_for(mapping: SSAValue, name: str, builder: Builder, fresh: bool = False) -> SSAValue:
    tensor = builder.insert(TensorOp(mapping, fresh)).tensor
    tensor.name_hint = name
    return tensor


def gathered(mapping: SSAValue, name: str, builder: Builder, fresh: bool = False) -> SSAValue:
    tensor = tensor_for(mapping, name, builder, fresh)
    builder.insert(GatherOp(mapping, tensor))
    return tensor


def texts_of_maps(op: MlOp) -> ArrayAttr[StringAttr]:
    """Functor and map of every input and output as text, for messages and for the database."""
    return ArrayAttr([*texts_of(op.all_inputs, "to", op), *texts_of(op.all_outputs, "from", op)])


def texts_of(mappings: Sequence[SSAValue], direction: str, op: MlOp) -> list[StringAttr]:
    maps = [map_of(mapping, op) for mapping in mappings]
    return [StringAttr(f"{direction}: {functor_of(each, op).declaration} | {each.applied}") for each in maps]
