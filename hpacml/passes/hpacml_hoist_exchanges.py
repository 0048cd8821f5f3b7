"""`hpacml-hoist-exchanges`: exchanges at the ends of original code stand before and behind the region."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import MemoryEffectKind, get_effects

from hpacml.dialects.hpacml.control import MlOp
from hpacml.passes.common.exchanges import is_exchange
from hpacml.passes.common.located import Rewriter


@dataclass(frozen=True)
class HpacmlHoistExchangesPass(ModulePass):
    """
    Exchanges with other processes, of `dmp` and `mpi`, that come before the original code writes, or behind all that
    it does, move out of the region. Then they happen where a model runs, too, which reads what has come.

    ```mlir
    hpacml.ml infer in(%in) out(%out) label "r" {
      dmp.swap(%t) ...
      code
      dmp.swap(%new) ...
    }
    ```
    becomes
    ```mlir
    dmp.swap(%t) ...
    hpacml.ml infer in(%in) out(%out) label "r" {
      code
    }
    dmp.swap(%new) ...
    ```
    Others stay, and `hpacml-expand-ml` refuses them in a region that a model may replace. With `if`, under which the
    code runs without a model, too, that is so for either. It is in no pipeline: lowerings of `dmp` come with their own.
    """

    name = "hpacml-hoist-exchanges"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for region in [each for each in op.walk() if isinstance(each, MlOp)]:
            _move_before(region)
            _move_behind(region)


def _move_before(region: MlOp) -> None:
    readers: list[Operation] = []
    """What stays in the region, and reads memory before the exchanges that follow have changed it."""
    for op in list(region.body.block.ops):
        if is_exchange(op):
            needed = _needed(op, region)
            left = [each for each in readers if each not in needed]
            if any(map(is_exchange, needed)) or (left and not _has_no_effects(op)):
                return
            for each in (*needed, op):
                each.detach()
                Rewriter.insert_op(each, InsertPoint.before(region))
            readers = left
        elif not _only_reads(op):
            return
        elif not _has_no_effects(op):
            readers.append(op)


def _move_behind(region: MlOp) -> None:
    for op in reversed(list(region.body.block.ops)):
        if is_exchange(op):
            if _needed(op, region) or any(result.uses for result in op.results):
                return
            op.detach()
            Rewriter.insert_op(op, InsertPoint.after(region))
        elif not _has_no_effects(op):
            return


def _needed(op: Operation, region: MlOp) -> list[Operation]:
    """The operations of a region's code that make what an operation takes, also into its own regions, in order."""
    inside: set[Operation] = set()

    def look(taker: Operation) -> None:
        for owner in code & {value.owner for each in taker.walk() for value in each.operands}:
            if owner not in inside:
                inside.add(owner)
                look(owner)

    code = set(region.body.block.ops)
    look(op)
    return [each for each in region.body.block.ops if each in inside]


def _only_reads(op: Operation) -> bool:
    effects = get_effects(op)
    return effects is not None and all(effect.kind is MemoryEffectKind.READ for effect in effects)


def _has_no_effects(op: Operation) -> bool:
    effects = get_effects(op)
    return effects is not None and not effects
