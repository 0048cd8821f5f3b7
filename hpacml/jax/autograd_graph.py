"""What Torch's record of a model tells of derivatives that it does not know. It imports Torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import torch
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node


def with_known_derivatives(
    outputs: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor], made_of: Collection[Node]
) -> Sequence[torch.Tensor]:
    """Outputs of a model, of whose real inputs `made_of` are the nodes. One that does not depend on these as Torch sees
    it is one whose derivative raises RuntimeError, forward always. Raises RuntimeError if there are no others."""
    known = [any(node in made_of for node in _nodes([y])) for y in outputs]
    if not any(known):
        raise RuntimeError(f"no output {_UNKNOWN}")
    return [
        y if is_known or not y.is_floating_point() else cast(Any, _Unknown).apply(y, *inputs)
        for y, is_known in zip(outputs, known, strict=True)
    ]


_UNKNOWN = (
    "depends on inputs as Torch sees it, as where a model detaches, computes by NumPy or under torch.no_grad, so that "
    "derivatives are unknown. Where they are zero, add 0 * x.sum() of an input x to it"
)


class _Unknown(torch.autograd.Function):
    """The identity, of an output whose derivatives by the inputs that follow are unknown, and need not be zero."""

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
        ctx.count = len(tensors)
        return tensors[0].clone()

    @staticmethod
    def backward(ctx: Any, *along: torch.Tensor) -> Any:
        if bool(along[0].any()):
            raise RuntimeError(f"one of the outputs, whose derivative is asked for, in no way {_UNKNOWN}")
        return (None,) * ctx.count


def require_products_of(outputs: Sequence[torch.Tensor]) -> None:
    """Have a backward of outputs raise RuntimeError where a function's own backward computes outside of Torch, so that
    Torch cannot differentiate it again."""
    for node in _nodes(outputs):
        if isinstance(node, BackwardCFunction):
            node.register_hook(_require_recorded)


def _require_recorded(made: Sequence[torch.Tensor | None], along: Sequence[torch.Tensor | None]) -> None:
    if not any(x is not None and x.requires_grad for x in along):
        return
    if any(x is not None and not x.requires_grad and bool(x.any()) for x in made):
        raise RuntimeError(
            "a torch.autograd.Function computes its backward outside of Torch, so that first derivatives by jax.grad "
            "and jax.vjp go through it, and no others"
        )


def _nodes(outputs: Sequence[torch.Tensor]) -> Iterator[Node]:
    """The operations that outputs come from."""
    left = [y.grad_fn for y in outputs if y.grad_fn is not None]
    seen = set(left)
    while left:
        node = left.pop()
        yield node
        following = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= following
        left += following
