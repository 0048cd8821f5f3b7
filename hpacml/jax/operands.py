"""The arguments of calls as JAX's arrays, and their forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpacml.dtypes import BY_LONG_NAME, DTYPES, DType
from hpacml.errors import MapError
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.libraries import ShapeDtypeStruct, jax, jnp


def is_array(value: object) -> bool:
    """Whether a value is an array of JAX or NumPy."""
    return isinstance(value, jax.Array | np.ndarray)


def as_operand(value: Any, name: str) -> Any:
    """An argument as an array of JAX, known or traced. Raises MapError for one that is none."""
    if not is_array(value):
        raise MapError(f"argument '{name}' is a {type(value).__name__}: functions of JAX take arrays of JAX and NumPy")
    _known_dtype(value, name)
    array = jnp.asarray(value)
    if array.dtype != value.dtype:
        raise MapError(
            f"argument '{name}' has elements of {value.dtype}, which JAX would make {array.dtype}: turn on "
            "jax_enable_x64, or convert it"
        )
    form_of(array, name)
    return array


def form_of(array: Any, name: str) -> ArrayForm:
    """The form of an array. Raises MapError for elements that hpacml does not know, and sizes that are not known."""
    dtype = _known_dtype(array, name)
    if not all(isinstance(size, int) for size in array.shape):
        raise MapError(f"argument '{name}' has the shape {array.shape}, whose sizes must be numbers")
    return ArrayForm(dtype.name, tuple(array.shape))


def _known_dtype(array: Any, name: str) -> DType:
    """The element type of an array. Raises MapError for one that hpacml does not know."""
    dtype = BY_LONG_NAME.get(array.dtype.name)
    if dtype is None:
        known = ", ".join(each.long_name for each in DTYPES.values())
        raise MapError(f"argument '{name}' has elements of {array.dtype}: hpacml knows {known}")
    return dtype


def result_of(form: ArrayForm) -> Any:
    """A result of this form, as JAX describes it."""
    return ShapeDtypeStruct(form.shape, jnp.dtype(DTYPES[form.dtype].long_name))
