"""Over which axes of a mesh values vary inside of `jax.shard_map`, where each device has a shard of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from hpacml.errors import HpacmlError
from hpacml.jax.libraries import is_traced, jax, lax


def axes_of(types: Iterable[Any]) -> frozenset[Any]:
    """The axes over which values of these types vary, all together. Raises HpacmlError for sums that are not made."""
    kinds = [type.mat for type in types if hasattr(type, "mat")]
    if any(kind.unreduced for kind in kinds):
        raise HpacmlError("an argument is a sum over devices that is not made yet: call jax.lax.psum before")
    return frozenset[Any]().union(*(kind.varying for kind in kinds))


def results_in(arguments: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """The types of results, which vary as the types of the arguments do."""
    types = [jax.core.ShapedArray(each.shape, each.dtype) for each in results]
    if not (axes := axes_of(arguments)):
        return types
    mesh = next(each.sharding.mesh for each in arguments if each.mat.varying)
    whole = (jax.sharding.NamedSharding(mesh, jax.P(*[None] * each.ndim)) for each in types)
    manual = [each.mat.update(varying=axes) for each in types]
    return [
        each.update(sharding=sharding, manual_axis_type=kind)
        for each, sharding, kind in zip(types, whole, manual, strict=True)
    ]


def together(arrays: Sequence[Any], axes: Collection[Any] = ()) -> list[Any]:
    """Arrays that all vary over the axes over which one of them does, and over `axes`, as JAX's own operations make
    their operands."""
    types = [*map(jax.typeof, arrays)]
    wanted = axes_of(types) | frozenset(axes)
    pairs = zip(arrays, types, strict=True)
    return [lax.pcast(x, tuple(more), to="varying") if (more := wanted - axes_of([type])) else x for x, type in pairs]


def either(
    condition: Any, then: Callable[[], Sequence[Any]], otherwise: Callable[[], Sequence[Any]], near: Iterable[Any]
) -> Sequence[Any]:
    """What one of two functions makes, chosen now or, by a condition that is traced, when the program runs.

    Results vary over the axes over which the condition does, or the arrays `near`.
    """
    if not is_traced(condition):
        return then() if condition else otherwise()
    axes = axes_of(map(jax.typeof, (condition, *near)))
    return lax.cond(condition, lambda: tuple(together(then(), axes)), lambda: tuple(together(otherwise(), axes)))
