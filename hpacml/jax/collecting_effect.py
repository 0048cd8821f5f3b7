"""The effect of calls that do more than to make results, and where JAX would have them happen more often.

JAX has no public names for what effects may do, nor for how it batches conditions and loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpacml.errors import HpacmlError
from hpacml.jax.libraries import batching, core, effects, io_callback, jax, lax


class CallEffect(effects.Effect):
    """A call is recorded, or prints."""

    def __str__(self) -> str:
        return "hpacml call"


EFFECT = CallEffect()
for _allowed in (
    effects.lowerable_effects,
    effects.control_flow_allowed_effects,
    effects.partial_eval_kept_effects,  # or derivatives of loops would leave it out
):
    _allowed.add_type(CallEffect)

_batched_cond = batching.fancy_primitive_batchers[lax.cond_p]
_batched_while = batching.fancy_primitive_batchers[lax.while_p]


def _cond(axis: Any, arguments: Sequence[Any], dims: Sequence[Any], *, branches: Sequence[Any], **more: Any) -> Any:
    """Batch a condition. Raises HpacmlError where it differs within the batch, for which JAX runs both branches."""
    if dims[0] is not None and any(EFFECT in branch.effects for branch in branches):
        raise _differs("cond")
    return _batched_cond(axis, arguments, dims, branches=branches, **more)


def _while(
    axis: Any, arguments: Sequence[Any], dims: Sequence[Any], *, body_jaxpr: Any, cond_jaxpr: Any, **more: Any
) -> Any:
    """Batch a loop, which JAX refuses for what it knows as output if its condition differs within the batch. Raises
    HpacmlError then."""
    is_ours = EFFECT in body_jaxpr.effects or EFFECT in cond_jaxpr.effects
    if is_ours:
        output = jax.make_jaxpr(lambda: io_callback(lambda: None, None))().effects
        body_jaxpr = core.replace_jaxpr_effects(body_jaxpr, body_jaxpr.effects | output)
    try:
        return _batched_while(axis, arguments, dims, body_jaxpr=body_jaxpr, cond_jaxpr=cond_jaxpr, **more)
    except Exception as error:
        if is_ours and "batched predicate" in str(error):
            raise _differs("while_loop") from None
        raise


def _differs(operation: str) -> HpacmlError:
    return HpacmlError(
        f"a jax.lax.{operation} around a region that collects, or a kernel that does more than to make results, has a "
        "condition that differs within the batch of jax.vmap, which would run it for all: use jax.lax.map in place "
        "of jax.vmap, or the condition of the region, by 'if' or 'predicated'"
    )


batching.fancy_primitive_batchers[lax.cond_p] = _cond
batching.fancy_primitive_batchers[lax.while_p] = _while
