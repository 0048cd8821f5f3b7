"""Calls outside of programs that JAX compiles: done when they return, with the errors of hpacml."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hpacml.jax.libraries import is_traced, jax
from hpacml.jax.xla_handler import original

R = TypeVar("R")


def settled(run: Callable[[], R]) -> R:
    """What a function returns, which JAX may compute later; not if nothing of it is traced.

    Raises the errors of hpacml that JAX would raise as its own.
    """
    try:
        results = run()
        return results if any(map(is_traced, jax.tree.leaves(results))) else jax.block_until_ready(results)
    except (RuntimeError, ValueError) as error:  # the latter where a program is run once more
        if (known := original(error)) is not None:
            raise known from None
        raise
