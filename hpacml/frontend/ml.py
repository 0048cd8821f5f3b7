"""The operation of an `ml` directive, for kernels and regions alike."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr, SymbolRefAttr
from xdsl.ir import Region, SSAValue

from hpacml import environment
from hpacml.clauses import Bounds, Guard, Sampling
from hpacml.dialects.hpacml.attributes import Direction, Mode
from hpacml.dialects.hpacml.control import MlOp
from hpacml.directives.parser import parse_sampling
from hpacml.directives.syntax import MlDirective, Name
from hpacml.errors import DirectiveError
from hpacml.frontend.guarding import Where
from hpacml.frontend.scope import Keyword

MAP_OF_CLAUSE: dict[Keyword, Direction] = {
    "in": Direction.To,
    "out": Direction.From,
    "inout": Direction.Inout,
    "truth": Direction.To,
    "where": Direction.To,
}
"""The direction of the maps in each clause."""


def ml_op(
    ml: MlDirective,
    function: str,
    mappings: Sequence[tuple[Keyword, SSAValue]],
    condition: SSAValue | None,
    if_condition: SSAValue | None,
    numbers: Sequence[SSAValue],
    body: Region,
    on_error: str | None = None,
    where: Where[SSAValue] | None = None,
    clip: Sequence[Bounds] = (),
) -> MlOp:
    """The operation of `ml` in `function`. `mappings` has the maps of its clauses, in the order of the model.

    `numbers` are the values of its clause `meta`, `where` has those of `guard(where: ...)`, and `clip` the
    bounds of each output.
    """

    def of(keyword: Keyword) -> list[SSAValue]:
        return [mapping for used_in, mapping in mappings if used_in == keyword]

    return MlOp(
        Mode(ml.mode),
        ml.label or function,
        body,
        condition=condition,
        if_condition=if_condition,
        inputs=of("in"),
        outputs=of("out"),
        inouts=of("inout"),
        truths=of("truth"),
        numbers=numbers,
        model=_source(ml.model),
        database=_source(ml.database),
        batch=None if ml.batch is None else ml.batch.rows or 0,
        on_error=on_error,
        engine=ml.engine,
        sample=None if not ml.may_collect else ml.sample or _sampling_of_environment(),
        meta=[each.name for each in ml.meta],
        units={unit.array.id: unit.unit for unit in ml.units},
        guard=None if ml.guarding is None or ml.guarding.guard == Guard() else ml.guarding.guard,
        where=None if where is None else str(where.condition),
        where_points={} if where is None else where.points,
        where_numbers={} if where is None else where.numbers,
        verify=ml.verify,
        clip=clip,
        project=None if ml.project is None else ml.project.id,
        pointwise=ml.pointwise,
    )


def _sampling_of_environment() -> Sampling | None:
    """The sampling of regions without the clause.

    It is read when a region is compiled, so that calls that sample nothing have no cost. Raises `DirectiveError`.
    """
    text = environment.SAMPLE.text()
    try:
        return parse_sampling(text) if text else None
    except DirectiveError as error:
        message = f"in the environment variable {environment.SAMPLE.name}: {error.message}"
        raise DirectiveError(message, error.text, error.start, error.end) from None


def _source(source: str | Name | None) -> StringAttr | SymbolRefAttr | None:
    if isinstance(source, Name):
        return SymbolRefAttr(source.id)
    return None if source is None else StringAttr(source)
