"""Maps as JAX's own index arithmetic, which it differentiates and transposes: the tangents of gathers and scatters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any

from hpacml.frontend.maps import AppliedFunctor
from hpacml.functors.strided_views import Mapped, View
from hpacml.functors.targets import Access, accesses
from hpacml.functors.tensor_functor import Functor
from hpacml.jax.libraries import jnp, lax


def gather(application: AppliedFunctor, mapped: Mapped[int], arrays: Mapping[str, Any], dtype: Any) -> Any:
    """The dense tensor of a map."""
    sweep = _sweep_sizes(application.functor, mapped)
    parts = [
        _element(access, application.arrays, arrays, view).astype(dtype).reshape(*sweep, prod(view.sizes[len(sweep) :]))
        for view, access in _views(application, mapped)
    ]
    features = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
    order, sizes = _layout(application.functor, mapped)
    return features.reshape(*sweep, *sizes).transpose(order)


def scatter(application: AppliedFunctor, mapped: Mapped[int], arrays: Mapping[str, Any], tensor: Any) -> dict[str, Any]:
    """The arrays that a map writes, by name, with the elements of a dense tensor."""
    sweep = _sweep_sizes(application.functor, mapped)
    order, sizes = _layout(application.functor, mapped)
    inverse = [order.index(d) for d in range(len(order))]
    features = tensor.transpose(inverse).reshape(*sweep, prod(sizes))
    written = {application.arrays[head]: jnp.asarray(arrays[application.arrays[head]]) for head in application.heads}
    views = _views(application, mapped)
    counts = [prod(view.sizes[len(sweep) :]) for view, _ in views]
    for (view, access), end, count in zip(views, accumulate(counts), counts, strict=True):
        name = application.arrays[access.array]
        part = features[..., end - count : end].reshape(view.sizes).astype(written[name].dtype)
        places = _places(access, application.arrays, arrays, view)
        written[name] = written[name].at[places].set(part, unique_indices=True)
    return written


def _views(application: AppliedFunctor, mapped: Mapped[int]) -> list[tuple[View[int], Access]]:
    return list(zip(mapped.views, accesses(application.trees, len(mapped.views)), strict=True))


def _sweep_sizes(functor: Functor, mapped: Mapped[int]) -> tuple[int, ...]:
    return mapped.views[0].sizes[: len(functor.sweep)]


def _layout(functor: Functor, mapped: Mapped[int]) -> tuple[list[int], list[int]]:
    """Where each dimension of the tensor is in [sweep, features], and the sizes of the latter."""
    sweep = iter(range(len(functor.sweep)))
    features = {d: len(functor.sweep) + k for k, d in enumerate(functor.feature_dims)}
    order = [features[d] if d in features else next(sweep) for d in range(len(functor.lhs))]
    return order, [mapped.shape[d] for d in functor.feature_dims]


def _element(access: Access, names: Sequence[str], arrays: Mapping[str, Any], view: View[int]) -> Any:
    array = jnp.asarray(arrays[names[access.array]])  # constants of a program come as NumPy's
    found = array[_places(access, names, arrays, view)]
    return jnp.broadcast_to(found, view.sizes)


def _places(access: Access, names: Sequence[str], arrays: Mapping[str, Any], view: View[int]) -> tuple[Any, ...]:
    """The index in each dimension of an array, for all elements of a view."""
    return tuple(
        _element(each, names, arrays, view) if isinstance(each, Access) else _index(each, view) for each in access.dims
    )


def _index(dim: int, view: View[int]) -> Any:
    """The index in a dimension of the target, for all elements of a view."""
    found = jnp.full(view.sizes, view.base[dim], jnp.int32)
    for d, step in enumerate(view.steps[dim]):
        if step:
            found += step * lax.broadcasted_iota(jnp.int32, view.sizes, d)
    return found
