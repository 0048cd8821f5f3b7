"""Where mappings come from: the lowering follows each to its map."""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import SymbolTable

from hpacml.dialects.hpacml.attributes import PREFIXES, MappingType
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.passes.common.located import refusal


def map_of(mapping: SSAValue, user: Operation) -> MapOp:
    """The map whose result `user` takes. Raises `PassFailedException` for any other mapping."""
    owner = mapping.owner
    if isinstance(owner, MapOp):
        return owner
    origin = "an argument of a block or function" if isinstance(owner, Block) else f"a result of {owner.name}"
    raise refusal(
        user,
        f"{user.name} takes a mapping that is {origin}: mappings are results of hpacml.map, "
        "and nothing stands between these and what gathers or scatters",
    )


def functor_of(map_op: MapOp, near: Operation) -> FunctorOp:
    """The functor of a map, whose symbol holds where `near` stands. Raises `PassFailedException` if there is none."""
    functor = SymbolTable.lookup_symbol(near, map_op.functor)
    if not isinstance(functor, FunctorOp):
        raise refusal(map_op, f"{map_op.functor} is not an hpacml.functor")
    return functor


def require_maps(module: Operation) -> None:
    """Raise `PassFailedException` unless all mappings go from `hpacml.map` of memory to operations of hpacml."""
    for op in module.walk():
        if isinstance(op, MapOp) and any(isinstance(array.type, TensorType) for array in op.arrays):
            raise refusal(op, f"{op.applied} is a map of a tensor: hpacml-bufferize comes before this pass")
        for operand in op.operands:
            if isinstance(operand.type, MappingType):
                map_of(operand, op)
                if not op.name.startswith(PREFIXES):
                    raise refusal(
                        op, f"{op.name} takes a mapping, which only operations of hpacml do: make one map for each use"
                    )
