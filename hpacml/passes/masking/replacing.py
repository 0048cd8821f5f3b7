"""The part of `hpacml-mask-nests` that replaces a body by its nest with the mask."""

from __future__ import annotations

from xdsl.dialects import scf
from xdsl.ir import Region
from xdsl.rewriter import InsertPoint

from hpacml.dialects.hpacml.original_code import BodyWhereOp
from hpacml.dialects.hpacml.steps import BodyOp
from hpacml.passes.common.bodies import outline
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.mappings import functor_of, map_of
from hpacml.passes.common.merging import take_originals
from hpacml.passes.common.strided import are_apart
from hpacml.passes.masking.accesses import Nest, NotFollowed
from hpacml.passes.masking.building import mask_points
from hpacml.passes.masking.point_nests import PointNest, point_nest
from hpacml.passes.masking.positions import Elements, elements_of


def mask_body(op: BodyWhereOp) -> None:
    """Have a body run its nest with the mask; what is no nest over the points stays as it is."""
    if len(op.function.body.blocks) != 1:
        return
    code = _inlined(op)
    try:
        found = _points_of(code.region, op)
        mask_points(found, op.mask)
    except NotFollowed:
        Rewriter.erase_op(code)
        return
    stem = f"{op.callee.root_reference.data}_masked"
    function, arguments = outline(code.region, stem, code)
    Rewriter.erase_op(code)
    a = IndexArithmetic(Builder(InsertPoint.before(op)))
    apart = a.all([are_apart(one, other, a) for one, other in found.shared])

    def masked(inner: IndexArithmetic) -> None:
        inner.builder.insert(BodyOp(op.label, function.sym_name.data, arguments))
        take_originals(op, op.mask, inner.builder)

    def whole(inner: IndexArithmetic) -> None:
        inner.builder.insert(op.clone())

    if apart is True:
        masked(a)
    else:
        where(a.truth(apart), masked, a, whole)
    Rewriter.erase_op(op)


def _inlined(op: BodyWhereOp) -> scf.ExecuteRegionOp:
    """The code of a body before it, on what it is called with."""
    region = Region()
    op.function.body.clone_into(region)
    block = region.block
    for argument, given in zip(list(block.args), op.arguments, strict=True):
        argument.replace_all_uses_with(given)
        block.erase_arg(argument)
    if (end := block.last_op) is not None:
        Rewriter.erase_op(end)
    return Builder(InsertPoint.before(op)).insert(scf.ExecuteRegionOp([], region))


def _points_of(code: Region, op: BodyWhereOp) -> PointNest:
    nest = Nest(code)
    outputs: list[Elements] = []
    for mapping in op.outputs:
        map_op = map_of(mapping, op)
        outputs += elements_of(map_op, functor_of(map_op, op).functor, nest.integers, nest.memory)
    return point_nest(nest, outputs)
