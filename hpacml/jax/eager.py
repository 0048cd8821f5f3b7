"""Calls outside of programs that JAX compiles: done when they return, with the errors of hpacml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpacml.jax.call_primitive import XlaCall
from hpacml.jax.libraries import is_traced, jax
from hpacml.jax.xla_handler import original


def eagerly(call: XlaCall, operands: Sequence[Any]) -> Sequence[Any]:
    """Call with arrays, or trace the call. With arrays that are known, it is done behind this."""
    return settled(lambda: call(*operands), operands)


def settled(run: Any, operands: Sequence[Any]) -> Any:
    """What a function returns, which JAX may compute later; not if nothing is traced.

    Raises the errors of hpacml that JAX would raise as its own.
    """
    if any(map(is_traced, operands)):
        return run()
    try:
        results = run()
        known = not any(map(is_traced, jax.tree.leaves(results)))  # else it is a part of a program with other arguments
        return jax.block_until_ready(results) if known else results
    except (RuntimeError, ValueError) as error:  # the latter where a program is run once more
        if (known := original(error)) is not None:
            raise known from None
        raise
