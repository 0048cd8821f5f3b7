"""Tangents by functions of JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpacml.jax.libraries import jax, jnp


def is_real(x: Any) -> bool:
    """Whether an array has derivatives."""
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def tangents_of(
    function: Callable[..., Sequence[Any]], primals: Sequence[Any], tangents: Sequence[Any]
) -> Sequence[Any]:
    """The tangents of what a function of JAX makes of arrays, of which only those of floats have some."""
    real = [k for k, x in enumerate(primals) if is_real(x)]

    def of_real(*given: Any) -> Sequence[Any]:
        arguments = list(primals)
        for k, x in zip(real, given, strict=True):
            arguments[k] = x
        return tuple(function(*arguments))

    _, found = jax.jvp(of_real, [primals[k] for k in real], [tangents[k] for k in real])
    return found


def no_tangent(result: Any) -> Any:
    """The tangent of a result that has none."""
    return np.zeros(result.shape, jax.dtypes.float0)
