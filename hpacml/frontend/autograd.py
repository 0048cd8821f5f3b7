"""Gathers and scatters as functions of Torch's autograd: gradients, gradients of these, and tangents. It imports Torch.

Their values are computed before, by the same code as without derivatives; the functions here record what they are.
What backward needs is the map alone, and indices, which Torch checks not to have been written meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.autograd import Function

from hpacml.errors import MapError
from hpacml.frontend.bound_map import BoundMap
from hpacml.frontend.linear_map import LinearMap, Tensors, ordinary, plain
from hpacml.functors.application import Way
from hpacml.runtime.arrays.protocols import is_tensor
from hpacml.runtime.differentiation import is_float, takes_part
from hpacml.runtime.gpu.devices import Device


class Door(Protocol):
    """A functor as `hpacml.functor` makes it."""

    def gather(self, targets: str, /, *, unchecked: bool = False, **names: Any) -> torch.Tensor: ...
    def scatter(self, tensor: object, targets: str, /, *, unchecked: bool = False, **names: object) -> None: ...
    def bind(self, targets: str, direction: Way, names: Mapping[str, object], unchecked: bool = False) -> BoundMap: ...
    def device(self, bound: BoundMap) -> Device | None: ...


def gather(
    functor: Door, targets: str, out: torch.Tensor | None, unchecked: bool, names: Mapping[str, Any]
) -> torch.Tensor:
    """Gather as a function of the tensors among the arrays. Raises as the functor does."""
    if out is not None:
        raise MapError("no gradient goes through 'out': leave it out, or gather under torch.no_grad()")
    given = {name: plain(value) if is_tensor(value) else value for name, value in names.items()}
    with ordinary():
        value = functor.gather(targets, unchecked=unchecked, **given)
        bound = functor.bind(targets, "to", given, unchecked)
    elements = {bound.application.arrays[head] for head in bound.application.heads}
    parts = [name for name in names if name in elements and is_float(each := names[name]) and takes_part(each)]
    if not parts or not value.is_floating_point():
        return value
    map = LinearMap.of(bound, functor.device(bound), given, parts)
    return gathered(map, value, [names[name] for name in parts], indices_of(map, names))


def scatter(functor: Door, tensor: object, targets: str, unchecked: bool, names: Mapping[str, Any]) -> None:
    """Scatter as a function of the tensor and of the arrays before. Raises as the functor does."""
    given = {name: plain(value) if is_tensor(value) else value for name, value in names.items()}
    source = plain(tensor) if is_tensor(tensor) else tensor
    with ordinary():
        bound = functor.bind(targets, "from", given, unchecked)
    written = dict.fromkeys(bound.application.arrays[head] for head in bound.application.heads)
    parts = [name for name in written if is_float(names[name])]
    for name in parts:
        require_may_be_written(names[name], name)
    with ordinary():
        map = LinearMap.of(bound, functor.device(bound), given, parts)
        functor.scatter(source, targets, unchecked=unchecked, **given)
    dense = tensor if is_float(tensor) else None
    for number, name in enumerate(parts):
        written_into(map, number, names[name], dense, indices_of(map, names))


def indices_of(map: LinearMap, names: Mapping[str, object]) -> list[Any]:
    """The tensors among the arrays of indices."""
    return [names[map.bound.application.arrays[position]] for position in map.indices]


def require_may_be_written(tensor: Any, name: str) -> None:
    """Raise `MapError` for a tensor whose gradient would be lost if it were written in place."""
    origin = tensor._base if tensor._is_view() else tensor
    if torch.is_grad_enabled() and origin.requires_grad and origin.is_leaf:
        what = "is" if origin is tensor else "is a view of"
        raise MapError(
            f"argument '{name}' is written, but it {what} a leaf that requires a gradient, of which Torch would "
            f"lose it: pass a copy, {name}.clone(), or pass its .detach()"
        )


def gathered(map: LinearMap, value: torch.Tensor, tensors: Tensors, indices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Record that `value` was gathered from the tensors."""
    return _Gather.apply(map, [value], *tensors, *indices)  # pyright: ignore


def written_into(
    map: LinearMap,
    number: int,
    target: torch.Tensor,
    dense: torch.Tensor | None,
    indices: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Record that a dense tensor, None for one without derivatives, was scattered into `target`, the number-th one.

    There is one record for each array, since Torch wants functions that write in place to return one tensor.
    """
    if takes_part(target) or (dense is not None and takes_part(dense)):
        return _Written.apply(map, number, target, dense, *indices)  # pyright: ignore
    return target


def _gather(map: LinearMap, tensors: Tensors, indices: Sequence[torch.Tensor]) -> torch.Tensor:
    return gathered(map, map.gather(tensors, indices), tensors, indices)


def _add(map: LinearMap, dense: torch.Tensor, indices: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    return _Add.apply(map, map.add(dense, indices), dense, *indices)  # pyright: ignore


def _scatter(
    map: LinearMap, number: int, target: torch.Tensor, dense: torch.Tensor | None, indices: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Scatter a dense tensor, None for zeros, into `target`, and return that."""
    values = torch.zeros((), dtype=target.dtype, device=target.device).expand(map.bound.shape)
    map.scatter(values if dense is None else dense, number, target, indices)
    return written_into(map, number, target, dense, indices)


class _Recorded(Function):
    """Keeps the map and the indices."""

    @staticmethod
    def keep(ctx: Any, map: LinearMap, indices: Sequence[torch.Tensor]) -> None:
        ctx.map = map
        ctx.save_for_backward(*indices)
        ctx.save_for_forward(*indices)
        ctx.set_materialize_grads(False)


class _Gather(_Recorded):
    @staticmethod
    def forward(map: LinearMap, made: list[torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
        return made[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        map, _, *tensors = inputs
        _Recorded.keep(ctx, map, tensors[len(map.tensors) :])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        (grad,), indices = grads, ctx.saved_tensors
        if grad is None:
            return (None,) * len(ctx.needs_input_grad)
        sums = zip(_add(ctx.map, grad, indices), ctx.needs_input_grad[2:], strict=False)
        return None, None, *[each if needed else None for each, needed in sums], *[None] * len(indices)

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor | None) -> torch.Tensor:
        return _gather(ctx.map, tangents[2 : 2 + len(ctx.map.tensors)], ctx.saved_tensors)


class _Add(_Recorded):
    @staticmethod
    def forward(
        map: LinearMap, made: list[torch.Tensor], dense: torch.Tensor, *indices: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        return tuple(made)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:
        map, _, dense, *indices = inputs
        _Recorded.keep(ctx, map, indices)
        ctx.dtype = dense.dtype

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        return None, None, _gather(ctx.map, grads, ctx.saved_tensors).to(ctx.dtype), *[None] * len(ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        tangent: Any = tangents[2]
        return tuple(_add(ctx.map, tangent, ctx.saved_tensors))


class _Written(_Recorded):
    """What a scatter writes is gone, so that its gradient is zero; what it wrote has the gradient of where it is."""

    @staticmethod
    def forward(
        map: LinearMap, number: int, target: torch.Tensor, dense: torch.Tensor | None, *indices: torch.Tensor
    ) -> torch.Tensor:
        return target

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        map, number, target, dense, *indices = inputs
        ctx.mark_dirty(target)
        _Recorded.keep(ctx, map, indices)
        ctx.number, ctx.dtype = number, None if dense is None else dense.dtype

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        (grad,), map, number, indices = grads, ctx.map, ctx.number, ctx.saved_tensors
        before = of_dense = None
        if grad is not None and ctx.needs_input_grad[2]:
            before = _scatter(map, number, grad.clone(), None, indices)
        if grad is not None and ctx.needs_input_grad[3]:
            of_dense = _gather(map, _only(grad, number, map), indices).to(ctx.dtype)
        return None, None, before, of_dense, *[None] * len(indices)

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor | None) -> torch.Tensor:
        map, number, (target, dense) = ctx.map, ctx.number, tangents[2:4]
        if target is None:
            target = map.zeros(number)
        return _scatter(map, number, target, dense, ctx.saved_tensors)


def _only(tensor: torch.Tensor, number: int, map: LinearMap) -> list[torch.Tensor | None]:
    return [tensor if k == number else None for k in range(len(map.tensors))]
