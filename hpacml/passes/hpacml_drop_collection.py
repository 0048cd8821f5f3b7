"""`hpacml-drop-collection`: regions of a program without databases infer, or run their original code."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass

from hpacml.dialects.hpacml.attributes import Mode
from hpacml.dialects.hpacml.control import MlOp
from hpacml.dialects.hpacml.steps import CollectOp
from hpacml.passes.common.located import Rewriter, refusal


@dataclass(frozen=True)
class HpacmlDropCollectionPass(ModulePass):
    """
    Regions say nothing of collection any more: behind this, `hpacml-expand-ml{collect=false}` has a predicated region
    infer, or run its original code alone.

    ```mlir
    hpacml.ml predicated(%c) in(%in : ...) out(%out : ...) label "r" model "m" database "d" { body }
    ```
    becomes
    ```mlir
    hpacml.ml predicated(%c) in(%in : ...) out(%out : ...) label "r" model "m" on_error "accurate" { body }
    ```
    A region that is only there to collect is refused. It is in no pipeline of regions: code that stands alone, without
    Python, is made with it.
    """

    name = "hpacml-drop-collection"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for each in list(op.walk()):
            match each:
                case MlOp():
                    _replace(each)
                case CollectOp():
                    raise refusal(each, _collects(each.label))
                case _:
                    pass


def _collects(label: StringAttr) -> str:
    return f"the region '{label.data}' collects, and code that stands alone has no databases"


def _replace(op: MlOp) -> None:
    if op.mode.data is Mode.Collect:
        raise refusal(op, f"{_collects(op.label)}: make it predicated, or leave it out")
    if op.is_guarded or any(each is not None for each in (op.verify_settings, op.clip, op.project)):
        raise refusal(
            op,
            f"the region '{op.label.data}' has guards, checks, bounds or a projection, which need hpacml's runtime: "
            "code that stands alone has none",
        )
    region = op.but(
        op.detach_region(op.body),
        properties={
            **dict.fromkeys(("database", "sample", "units", "meta")),
            "on_error": StringAttr("accurate"),  # which no network needs, and inferences on views are offered with it
        },
        truths=[],
        numbers=[],
    )
    Rewriter.replace_op(op, region)
