"""`hpacml-infer-maps`: regions without `in` and `out` get those that their code tells."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from hpacml.dialects.hpacml.attributes import Direction
from hpacml.dialects.hpacml.bridge import MapOp
from hpacml.dialects.hpacml.control import DIMS, MlOp
from hpacml.passes.common.located import Rewriter, refusal


@dataclass(frozen=True)
class HpacmlInferMapsPass(ModulePass):
    """
    A region without inputs and outputs gets functors and maps of the elements that its loads read before its stores
    write them, and of those that its stores write.

    ```mlir
    hpacml.ml collect label "smooth" {
      affine.for %i = 1 to %end {
        %a = affine.load %t[%i - 1]
        %b = affine.load %t[%i + 1]
        ...
        affine.store %mean, %new[%i]
      }
    }
    ```
    becomes
    ```mlir
    hpacml.functor @smooth_in : [i, 0:2] = ([i - 1], [i + 1])
    hpacml.functor @smooth_out : [i, 0:1] = ([i])
    ...
    %in = hpacml.map to @smooth_in(%t[1 : %end])
    %out = hpacml.map from @smooth_out(%new[1 : %end])
    hpacml.ml collect in(%in) out(%out) label "smooth" { ... }
    ```

    Accesses are those of `memref` and `affine`, in loops of `scf` and `affine`, whose indices are affine in
    the loops' indices. docs/embedding.md has the rules for sweeps. Whatever is not followed is an error that names the
    access, at its place: an index that depends on data, a store under a condition, a call that is given an array.
    """

    name = "hpacml-infer-maps"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for region in [each for each in op.walk() if isinstance(each, MlOp) and each.is_without_maps]:
            _give_maps(region)


def _give_maps(region: MlOp) -> None:
    # Few programs have such regions, and all others do not load what they take, stencils among it.
    from hpacml.passes.derivation.building import Building
    from hpacml.passes.derivation.region import derive

    elements, maps = derive(region)
    mappings = Building(region, elements.integers).build(maps)
    inputs, outputs, inouts = (mappings[each] for each in (Direction.To, Direction.From, Direction.Inout))
    given = region.but(region.detach_region(region.body), inputs=inputs, outputs=outputs, inouts=inouts)
    given.attributes.pop(DIMS, None)
    _check_units(region, given)
    Rewriter.replace_op(region, given)


def _check_units(region: MlOp, given: MlOp) -> None:
    """Refuse a unit of what is no array of the inferred maps."""
    maps = [mapping.owner for mapping in (*given.all_inputs, *given.all_outputs)]
    known = {name for each in maps if isinstance(each, MapOp) for name in each.array_names}
    for name, _ in region.units.data if region.units is not None else ():
        if name not in known:
            raise refusal(
                region,
                f"units are given of '{name}', which is no array of the inferred maps: these are of "
                f"{', '.join(sorted(known))}",
            )
