"""The arguments of regions in JAX: arrays and numbers of maps, whether they are known or traced."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from hpacml.directives.expressions import Expr
from hpacml.directives.syntax import FunctorDirective, Target
from hpacml.dtypes import DTYPES
from hpacml.errors import MapError
from hpacml.frontend.maps import AppliedFunctor
from hpacml.frontend.scope import Keyword
from hpacml.frontend.sources import weak_dtype
from hpacml.functors.tensor_functor import names_of
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.libraries import is_traced, jax, jnp, lax
from hpacml.jax.map_call import Use
from hpacml.jax.operands import as_operand

READ: tuple[Keyword, ...] = ("in", "inout")
WRITTEN: tuple[Keyword, ...] = ("out", "inout")


@dataclass(frozen=True, eq=False)
class PureCall:
    """A call of a region: its arguments by name, and the arrays of its maps as those of JAX."""

    values: Mapping[str, object]
    operands: Mapping[str, Any]
    forms: Mapping[str, ArrayForm]
    uses: tuple[tuple[Keyword, Use], ...]
    """The maps by their clauses."""
    written: tuple[str, ...]
    """The arrays that maps write."""
    bound: Any
    """What compiled code takes: a plan, the forms of arrays, numbers."""

    @property
    def key(self) -> tuple[object, ...]:
        """What calls that run the same code have in common."""
        return self.bound.plan, tuple(self.forms.items()), tuple(self.bound.numbers)

    def of(self, keywords: Sequence[Keyword]) -> list[Use]:
        """The maps of some clauses, in their order."""
        return [use for keyword in keywords for found, use in self.uses if found == keyword]


def integers_in(maps: Sequence[tuple[Keyword, FunctorDirective, tuple[Target, ...]]]) -> frozenset[str]:
    """The names that may be integers of maps."""
    found: set[str] = set()
    for _, functor, targets in maps:
        numbers = AppliedFunctor(functor, targets, frozenset()).open_numbers
        found.update(name for number in numbers if isinstance(number, Expr) for name in number.names)
        found |= names_of(entry for entries in (functor.lhs, *functor.rhs) for entry in entries)
    return frozenset(found)


def known_integer(name: str, value: Any, what: str) -> object:
    """A number of a map, which decides shapes. Raises MapError for one that is traced."""
    if getattr(value, "ndim", None) != 0 or not jnp.issubdtype(value.dtype, jnp.integer):
        return value
    if is_traced(value):
        raise MapError(
            f"'{name}' decides what the maps of {what} take, and is traced: it must be known when JAX traces the call, "
            "so name it in static_argnames of jax.jit, or take it from a shape"
        )
    return int(value)


def as_number(value: Any, name: str, rank: int, beside: Sequence[str]) -> Any:
    """A number that stands for an array of one element, of so many dimensions. Raises MapError."""
    if isinstance(value, bool | int | float):
        kind = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "f"
        dtype = np.dtype(DTYPES[weak_dtype(kind, beside)].bits_name)
        if dtype.itemsize == 8 and not jax.config.jax_enable_x64:
            dtype = np.dtype("int32" if kind == "i" else "float32")
        if kind == "i" and not np.iinfo("int32").min <= value <= np.iinfo("int32").max and dtype.itemsize == 4:
            raise MapError(f"argument '{name}' is {value}, which does not fit 32 bits: turn on jax_enable_x64")
        array = jnp.asarray(value, dtype)
    else:
        array = as_operand(np.asarray(cast(Any, value)) if isinstance(value, np.generic) else value, name)
    if array.shape not in ((), (1,) * rank):
        ranges = ", ".join(["0:n"] * array.ndim)
        raise MapError(
            f"argument '{name}' has the shape {list(array.shape)}, but stands in the map as a number: say which "
            f"elements, as in {name}[{ranges}]"
        )
    return array.reshape((1,) * rank)


def as_metadatum(value: Any, name: str) -> Any:
    """A number of `meta` as the bits of a float64, uint32[2], which JAX takes in any mode. Raises MapError."""
    number = value if is_traced(value) else np.asarray(value, np.float64)
    if number.ndim:
        raise MapError(f"'{name}' of 'meta' has the shape {list(number.shape)}, and is a number")
    if not is_traced(value):
        return jnp.asarray(number.reshape(1).view(np.uint32))
    with jax.enable_x64(True):
        return lax.bitcast_convert_type(jnp.asarray(lax.stop_gradient(value)).astype(jnp.float64), jnp.uint32)


def spread(signature: inspect.Signature, values: Mapping[str, object]) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments of a call."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        match parameter.kind:
            case inspect.Parameter.VAR_POSITIONAL:
                positional += cast("Sequence[Any]", values[name])
            case inspect.Parameter.VAR_KEYWORD:
                named |= cast("Mapping[str, Any]", values[name])
            case inspect.Parameter.KEYWORD_ONLY:
                named[name] = values[name]
            case _:
                positional.append(values[name])
    return positional, named
